// Completions: what threads report back to JS, as (id, result) pairs. A result is 0 or an errno.
#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <vector>

namespace hawser {

struct Completion {
  uint32_t id;
  int32_t result;
};

class Completions {
 public:
  void Add(Completion completion) {
    std::lock_guard<std::mutex> lock(mutex_);
    done_.push_back(completion);
  }

  size_t Take(Completion* out, size_t room, bool* more) {
    std::lock_guard<std::mutex> lock(mutex_);
    const size_t count = std::min(room, done_.size());
    std::copy_n(done_.begin(), count, out);
    done_.erase(done_.begin(), done_.begin() + static_cast<ptrdiff_t>(count));
    *more = !done_.empty();
    return count;
  }

 private:
  std::mutex mutex_;
  std::vector<Completion> done_;
};

}  // namespace hawser
