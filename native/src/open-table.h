// OpenTable: files whose opens for reading are answered by the reader thread, without JS.
//
// JS enters a node whose complete backing file the kernel knows; from then on each open of it gets the same answer, and
// its release comes back here. When JS takes the node out again, it is told how many opens are left: their releases are
// its own from there on, under the handle that the answer had.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <unordered_map>

namespace hawser {

// fuse_open_out.
struct OpenAnswer {
  uint64_t handle;
  uint32_t flags;
  int32_t backingId;
};

class OpenTable {
 public:
  enum class Use : uint8_t { kNone, kUsed, kOpen };

  // On the JS thread.
  void Begin(uint64_t nodeId, const OpenAnswer& answer);
  // Returns how many opens of the node go on; 0 when it was not entered.
  uint32_t End(uint64_t nodeId);
  // Whether an open goes on, or was answered since this was asked last.
  Use TakeUse(uint64_t nodeId);
  uint32_t now() const { return now_.load(std::memory_order_relaxed); }
  uint64_t total() const { return total_.load(std::memory_order_relaxed); }

  // On the reader thread. False where JS must answer.
  bool Open(uint64_t nodeId, uint32_t flags, uint32_t openFlags, OpenAnswer* answer);
  bool Release(uint64_t nodeId, uint64_t handle);

 private:
  struct File {
    OpenAnswer answer;
    uint32_t opens;
    bool used;
  };

  std::mutex mutex_;  // guards files_
  std::unordered_map<uint64_t, File> files_;
  std::atomic<uint32_t> now_{0};
  std::atomic<uint64_t> total_{0};
};

}  // namespace hawser
