// Writer: threads that write large replies, so that copying a megabyte into the page cache does not hold up JS.
//
// A job's memory belongs to JS and is pinned there until its completion was taken: the Connection keeps a reference to
// it under the job's id. Jobs not yet begun at Stop() are dropped without a completion.
#pragma once

#include <sys/uio.h>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "completions.h"
#include "wakeup.h"

namespace hawser {

struct ReplyHeader {
  uint32_t length;
  int32_t error;
  uint64_t unique;
};
static_assert(sizeof(ReplyHeader) == 16, "fuse_out_header is 16 bytes");

struct WriteJob {
  uint32_t id;
  ReplyHeader header;
  std::vector<iovec> chunks;  // chunks[0] is left free for the header
};

class Writer {
 public:
  Writer(int fd, unsigned threads, std::shared_ptr<Wakeup> wakeup);
  ~Writer();

  void Start();
  void Stop();
  void Add(WriteJob job);
  Completions& completions() { return completions_; }

 private:
  void Run();

  const int fd_;
  const unsigned threadCount_;
  std::shared_ptr<Wakeup> wakeup_;
  std::vector<std::thread> threads_;
  Completions completions_;

  std::mutex mutex_;  // guards everything below
  std::condition_variable jobAdded_;
  std::deque<WriteJob> jobs_;
  bool stopping_ = false;
};

}  // namespace hawser
