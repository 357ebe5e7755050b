// Writing a run of bytes to a file, around the page cache where it can be.
//
// O_DIRECT takes whole pages of memory at whole pages of the file. The tail that is no whole page is written the ordinary
// way, and so is everything on a file system that knows no O_DIRECT. The descriptor's other status flags must be none.
#pragma once

#include <fcntl.h>
#include <unistd.h>
#include <cerrno>
#include <cstdint>

#include "arena.h"
#include "errors.h"

namespace hawser {

// Through the page cache: a longer write makes the kernel take folios of megabytes, whole runs of memory that were not in
// use for long, and a hypervisor provides those one fault at a time. Ten times the CPU of pieces like this was measured.
constexpr size_t kThroughBytes = 256 * 1024;

inline bool MayBeDirect(const Bytes& source, off_t offset) {
  return source.length >= kPageBytes && offset % static_cast<off_t>(kPageBytes) == 0 &&
         reinterpret_cast<uintptr_t>(source.data) % kPageBytes == 0;
}

// Writes all of `source` at `offset`. `direct` says that the descriptor has O_DIRECT, which it then loses.
// Returns null, or the system call that failed, with errno.
inline const char* WriteAll(int fd, const Bytes& source, off_t offset, bool direct) {
  size_t done = 0;
  while (done < source.length) {
    size_t length = source.length - done;
    if (direct) {
      length -= length % kPageBytes;
      if (length == 0 || done % kPageBytes != 0) {
        if (fcntl(fd, F_SETFL, 0) < 0) return "fcntl";
        direct = false;
        continue;
      }
    } else if (length > kThroughBytes) {
      length = kThroughBytes;
    }
    const ssize_t written = pwrite(fd, source.data + done, length, offset + static_cast<off_t>(done));
    if (written >= 0) {
      done += static_cast<size_t>(written);
    } else if (errno == EINVAL && direct) {
      if (fcntl(fd, F_SETFL, 0) < 0) return "fcntl";
      direct = false;
    } else if (errno != EINTR) {
      return "pwrite";
    }
  }
  if (direct && fcntl(fd, F_SETFL, 0) < 0) return "fcntl";
  return nullptr;
}

}  // namespace hawser
