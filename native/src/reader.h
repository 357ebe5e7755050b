// Reader: one thread that reads requests from /dev/fuse into slots.
//
// A slot is free, in the reader's hand, ready (read, not yet given to JS), or with JS. The reader takes a slot before it
// reads, and waits when none is free; JS keeps only the slots of WRITEs under way and leaves some free always, so that
// an INTERRUPT is read even while every request waits.
//
// The descriptor is non-blocking: the thread reads until EAGAIN, then polls it together with an eventfd through which
// Stop() ends the thread whatever the kernel does.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "arena.h"
#include "open-table.h"
#include "wakeup.h"

namespace hawser {

class Reader {
 public:
  Reader(int fd, std::shared_ptr<Arena> arena, std::shared_ptr<Wakeup> wakeup, std::shared_ptr<OpenTable> opens);
  ~Reader();

  void Start();
  // Ends and joins the thread; may be called twice.
  void Stop();

  // Moves up to `room` ready slots to JS. Sets `more` when some are left.
  size_t Take(uint32_t* slots, size_t room, bool* more);
  // Gives back slots that JS held. Returns false, changing nothing, when one of them is not with JS.
  bool GiveBack(const uint32_t* slots, size_t count);
  // The errno that ended the reading, once; 0 while it goes on. ENODEV: unmounted.
  int TakeEnd();
  bool HasEnd();

 private:
  enum class SlotState : uint8_t { kFree, kReader, kReady, kJs };

  void Run();
  bool TakeFreeSlot(uint32_t* slot);
  // Answers a request that needs no JS. Returns false when it does.
  bool AnswerAtOnce(const uint8_t* request, size_t length) const;
  bool AnswerOpen(const uint8_t* request, size_t length) const;
  bool AnswerRelease(const uint8_t* request, size_t length) const;
  bool Reply(uint64_t unique, int error, const OpenAnswer* answer) const;
  void WaitReadable();

  const int fd_;
  int stopFd_;
  std::shared_ptr<Arena> arena_;
  std::shared_ptr<Wakeup> wakeup_;
  std::shared_ptr<OpenTable> opens_;
  std::thread thread_;

  std::mutex mutex_;  // guards everything below
  std::condition_variable slotFreed_;
  std::vector<uint32_t> free_;
  std::vector<uint32_t> ready_;
  SlotState states_[kSlotCount];
  bool stopping_ = false;
  int end_ = 0;
};

}  // namespace hawser
