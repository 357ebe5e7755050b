#include "open-table.h"

#include <fcntl.h>

namespace hawser {

namespace {

// What changes how an open for reading is to be answered: O_DIRECT goes around the page cache, O_TRUNC writes.
constexpr uint32_t kAsksForMore = O_ACCMODE | O_DIRECT | O_TRUNC | O_CREAT | O_APPEND;

}  // namespace

void OpenTable::Begin(uint64_t nodeId, const OpenAnswer& answer) {
  std::lock_guard<std::mutex> lock(mutex_);
  files_[nodeId] = {answer, 0, false};
}

uint32_t OpenTable::End(uint64_t nodeId) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = files_.find(nodeId);
  if (found == files_.end()) return 0;
  const uint32_t opens = found->second.opens;
  now_ -= opens;
  files_.erase(found);
  return opens;
}

OpenTable::Use OpenTable::TakeUse(uint64_t nodeId) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = files_.find(nodeId);
  if (found == files_.end()) return Use::kNone;
  File& file = found->second;
  const Use use = file.opens > 0 ? Use::kOpen : file.used ? Use::kUsed : Use::kNone;
  file.used = false;
  return use;
}

bool OpenTable::Open(uint64_t nodeId, uint32_t flags, uint32_t openFlags, OpenAnswer* answer) {
  if ((flags & kAsksForMore) != O_RDONLY || openFlags != 0) return false;
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = files_.find(nodeId);
  if (found == files_.end()) return false;
  File& file = found->second;
  file.opens++;
  file.used = true;
  now_++;
  total_++;
  *answer = file.answer;
  return true;
}

bool OpenTable::Release(uint64_t nodeId, uint64_t handle) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = files_.find(nodeId);
  if (found == files_.end()) return false;
  File& file = found->second;
  if (file.answer.handle != handle || file.opens == 0) return false;
  file.opens--;
  now_--;
  return true;
}

}  // namespace hawser
