#include "reader.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <system_error>

namespace hawser {

namespace {

// fuse_in_header and fuse_out_header; request and reply of the one are told apart by `unique`.
struct InHeader {
  uint32_t length;
  uint32_t opcode;
  uint64_t unique;
  uint64_t nodeId;
  uint32_t uid, gid, pid, padding;
};
struct OutHeader {
  uint32_t length;
  int32_t error;
  uint64_t unique;
};

struct OpenIn {
  uint32_t flags;
  uint32_t openFlags;
};

constexpr uint32_t kOpen = 14;
constexpr uint32_t kRelease = 18;
constexpr uint32_t kGetxattr = 22;
constexpr uint32_t kIoctl = 39;

uint64_t UniqueOf(const uint8_t* request) {
  uint64_t unique;
  memcpy(&unique, request + offsetof(InHeader, unique), sizeof unique);
  return unique;
}

uint64_t NodeIdOf(const uint8_t* request) {
  uint64_t nodeId;
  memcpy(&nodeId, request + offsetof(InHeader, nodeId), sizeof nodeId);
  return nodeId;
}

// fuse_getxattr_in (8 bytes), then the name.
bool IsCapability(const uint8_t* arguments, size_t length) {
  static constexpr char kName[] = "security.capability";
  return length >= 8 + sizeof kName && memcmp(arguments + 8, kName, sizeof kName) == 0;
}

}  // namespace

Reader::Reader(int fd, std::shared_ptr<Arena> arena, std::shared_ptr<Wakeup> wakeup, std::shared_ptr<OpenTable> opens)
    : fd_(fd), arena_(std::move(arena)), wakeup_(std::move(wakeup)), opens_(std::move(opens)) {
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

// Two kinds of requests need no JS: what has one answer whatever the file (ioctl(2), which every open() of Python asks for:
// is it a terminal?, and the capabilities that the kernel looks for at the first write to an inode), and opens of files
// that are in the table. To wake JS for each would cost a small file a fifth of its time, and half where it is cached.
bool Reader::AnswerAtOnce(const uint8_t* request, size_t length) const {
  if (length < sizeof(InHeader)) return false;
  uint32_t opcode;
  memcpy(&opcode, request + offsetof(InHeader, opcode), sizeof opcode);
  switch (opcode) {
    case kOpen:
      return AnswerOpen(request, length);
    case kRelease:
      return AnswerRelease(request, length);
    case kIoctl:
      return Reply(UniqueOf(request), ENOSYS, nullptr);
    case kGetxattr:
      return IsCapability(request + sizeof(InHeader), length - sizeof(InHeader)) &&
             Reply(UniqueOf(request), EOPNOTSUPP, nullptr);
    default:
      return false;
  }
}

bool Reader::AnswerOpen(const uint8_t* request, size_t length) const {
  OpenIn in;
  OpenAnswer answer;
  if (length < sizeof(InHeader) + sizeof in) return false;
  memcpy(&in, request + sizeof(InHeader), sizeof in);
  const uint64_t nodeId = NodeIdOf(request);
  if (!opens_->Open(nodeId, in.flags, in.openFlags, &answer)) return false;
  if (Reply(UniqueOf(request), 0, &answer)) return true;
  opens_->Release(nodeId, answer.handle);
  return false;
}

bool Reader::AnswerRelease(const uint8_t* request, size_t length) const {
  uint64_t handle;
  if (length < sizeof(InHeader) + sizeof handle) return false;
  memcpy(&handle, request + sizeof(InHeader), sizeof handle);
  if (!opens_->Release(NodeIdOf(request), handle)) return false;
  // Whatever becomes of the answer, the open has ended.
  Reply(UniqueOf(request), 0, nullptr);
  return true;
}

bool Reader::Reply(uint64_t unique, int error, const OpenAnswer* answer) const {
  struct {
    OutHeader header;
    OpenAnswer answer;
  } out = {{sizeof(OutHeader), -error, unique}, {}};
  if (answer != nullptr) {
    out.header.length = sizeof out;
    out.answer = *answer;
  }
  // ENOENT: the caller has been killed meanwhile, and nobody waits. Who has opened a file waits in any case.
  return write(fd_, &out, out.header.length) == static_cast<ssize_t>(out.header.length) ||
         (errno == ENOENT && answer == nullptr);
}

void Reader::Run() {
  pthread_setname_np(pthread_self(), "hawser-reader");
  uint32_t slot;
  while (TakeFreeSlot(&slot)) {
    for (;;) {
      ssize_t length = read(fd_, arena_->request(slot), kRequestBytes);
      if (length > 0 && AnswerAtOnce(arena_->request(slot), static_cast<size_t>(length))) continue;
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
