#include "writer.h"

#include <pthread.h>
#include <cerrno>

namespace hawser {

Writer::Writer(int fd, unsigned threads, std::shared_ptr<Wakeup> wakeup)
    : fd_(fd), threadCount_(threads), wakeup_(std::move(wakeup)) {}

Writer::~Writer() { Stop(); }

void Writer::Start() {
  for (unsigned i = 0; i < threadCount_; i++) threads_.emplace_back([this] { Run(); });
}

void Writer::Stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    jobs_.clear();
  }
  jobAdded_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Writer::Add(WriteJob job) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) return;
    jobs_.push_back(std::move(job));
  }
  jobAdded_.notify_one();
}

void Writer::Run() {
  pthread_setname_np(pthread_self(), "hawser-writer");
  for (;;) {
    WriteJob job;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      jobAdded_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      if (stopping_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job.chunks[0] = {&job.header, sizeof job.header};
    ssize_t written;
    do {
      written = writev(fd_, job.chunks.data(), static_cast<int>(job.chunks.size()));
    } while (written < 0 && errno == EINTR);
    completions_.Add({job.id, written < 0 ? errno : 0});
    wakeup_->Signal();
  }
}

}  // namespace hawser
