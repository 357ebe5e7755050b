#include "reader.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <system_error>

namespace hawser {

Reader::Reader(int fd, std::shared_ptr<Arena> arena, std::shared_ptr<Wakeup> wakeup)
    : fd_(fd), arena_(std::move(arena)), wakeup_(std::move(wakeup)) {
  stopFd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (stopFd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
  free_.reserve(kSlotCount);
  ready_.reserve(kSlotCount);
  for (uint32_t slot = kSlotCount; slot-- > 0;) {
    free_.push_back(slot);
    states_[slot] = SlotState::kFree;
  }
}

Reader::~Reader() {
  Stop();
  close(stopFd_);
}

void Reader::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Reader::Stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  slotFreed_.notify_all();
  const uint64_t one = 1;
  [[maybe_unused]] ssize_t written = write(stopFd_, &one, sizeof one);
  if (thread_.joinable()) thread_.join();
}

bool Reader::TakeFreeSlot(uint32_t* slot) {
  std::unique_lock<std::mutex> lock(mutex_);
  slotFreed_.wait(lock, [this] { return stopping_ || !free_.empty(); });
  if (stopping_) return false;
  *slot = free_.back();
  free_.pop_back();
  states_[*slot] = SlotState::kReader;
  return true;
}

void Reader::WaitReadable() {
  pollfd fds[2] = {{fd_, POLLIN, 0}, {stopFd_, POLLIN, 0}};
  poll(fds, 2, -1);
}

void Reader::Run() {
  pthread_setname_np(pthread_self(), "hawser-reader");
  uint32_t slot;
  while (TakeFreeSlot(&slot)) {
    for (;;) {
      ssize_t length = read(fd_, arena_->request(slot), kRequestBytes);
      if (length > 0) break;
      // ENOENT: the request was withdrawn between being found and being copied.
      if (length < 0 && (errno == EINTR || errno == ENOENT)) continue;
      if (length < 0 && errno == EAGAIN) {
        WaitReadable();
        std::lock_guard<std::mutex> lock(mutex_);
        if (stopping_) return;
        continue;
      }
      {
        std::lock_guard<std::mutex> lock(mutex_);
        end_ = length < 0 ? errno : ENODEV;
      }
      wakeup_->Signal();
      return;
    }
    {
      std::lock_guard<std::mutex> lock(mutex_);
      states_[slot] = SlotState::kReady;
      ready_.push_back(slot);
    }
    wakeup_->Signal();
  }
}

size_t Reader::Take(uint32_t* slots, size_t room, bool* more) {
  std::lock_guard<std::mutex> lock(mutex_);
  const size_t count = std::min(room, ready_.size());
  for (size_t i = 0; i < count; i++) {
    slots[i] = ready_[i];
    states_[ready_[i]] = SlotState::kJs;
  }
  ready_.erase(ready_.begin(), ready_.begin() + static_cast<ptrdiff_t>(count));
  *more = !ready_.empty();
  return count;
}

bool Reader::GiveBack(const uint32_t* slots, size_t count) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (size_t i = 0; i < count; i++) {
    if (slots[i] >= kSlotCount || states_[slots[i]] != SlotState::kJs) return false;
  }
  const bool wasEmpty = free_.empty();
  for (size_t i = 0; i < count; i++) {
    states_[slots[i]] = SlotState::kFree;
    free_.push_back(slots[i]);
  }
  if (wasEmpty && count > 0) slotFreed_.notify_one();
  return true;
}

int Reader::TakeEnd() {
  std::lock_guard<std::mutex> lock(mutex_);
  const int end = end_;
  end_ = 0;
  return end;
}

bool Reader::HasEnd() {
  std::lock_guard<std::mutex> lock(mutex_);
  return end_ != 0;
}

}  // namespace hawser
