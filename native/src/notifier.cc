#include "notifier.h"

#include <pthread.h>
#include <unistd.h>
#include <cerrno>
#include <chrono>

namespace hawser {

Notifier::Notifier(int fd, std::shared_ptr<Wakeup> wakeup) : state_(std::make_shared<State>()) {
  state_->fd = fd;
  state_->wakeup = std::move(wakeup);
}

Notifier::~Notifier() { Stop(); }

void Notifier::Start() {
  thread_ = std::thread([state = state_] { Run(state); });
}

void Notifier::Stop() {
  if (!thread_.joinable()) return;
  bool ended;
  {
    std::unique_lock<std::mutex> lock(state_->mutex);
    state_->stopping = true;
    state_->messages.clear();
    state_->changed.notify_all();
    ended = state_->changed.wait_for(lock, std::chrono::milliseconds(kPatienceMs), [this] { return state_->ended; });
  }
  if (ended) {
    thread_.join();
  } else {
    thread_.detach();
  }
}

void Notifier::Add(uint32_t id, std::vector<uint8_t> message) {
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    if (state_->stopping) return;
    state_->messages.push_back({id, std::move(message)});
  }
  state_->changed.notify_all();
}

void Notifier::Run(const std::shared_ptr<State>& state) {
  pthread_setname_np(pthread_self(), "hawser-notify");
  for (;;) {
    Message message;
    {
      std::unique_lock<std::mutex> lock(state->mutex);
      state->changed.wait(lock, [&] { return state->stopping || !state->messages.empty(); });
      if (state->stopping) {
        state->ended = true;
        state->changed.notify_all();
        return;
      }
      message = std::move(state->messages.front());
      state->messages.pop_front();
    }
    // Not repeated on EINTR: after a Stop() that gave up on us the descriptor's number may be somebody else's.
    const ssize_t written = write(state->fd, message.bytes.data(), message.bytes.size());
    state->completions.Add({message.id, written < 0 ? errno : 0});
    state->wakeup->Signal();
  }
}

}  // namespace hawser
