// What was written a moment ago lies in the page cache: there a read costs its copy, and handing it to another thread
// several times as much. RWF_NOWAIT tells the one from the other, so that no thread that must not wait ever does.

#include "cached-read.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>
#include <cerrno>

#include "errors.h"

namespace hawser {

namespace {

// readCached(fd, target, start, length, position): how many bytes were placed, 0 at the end of the file, or -1 when the
// next one is not in memory. A file system that cannot tell is taken for memory.
Napi::Value ReadCached(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsNumber()) throw Napi::TypeError::New(env, "a file descriptor is expected");
  const int fd = info[0].As<Napi::Number>().Int32Value();
  const Bytes target = RequireBytes(env, info[1]);
  const int64_t start = info[2].ToNumber().Int64Value();
  const int64_t length = info[3].ToNumber().Int64Value();
  const int64_t position = info[4].ToNumber().Int64Value();
  if (start < 0 || length < 0 || start > static_cast<int64_t>(target.length) ||
      length > static_cast<int64_t>(target.length) - start) {
    throw Napi::RangeError::New(env, "the range lies outside the memory");
  }
  struct iovec place = {target.data + start, static_cast<size_t>(length)};
  ssize_t count;
  do {
    count = preadv2(fd, &place, 1, position, RWF_NOWAIT);
    if (count < 0 && errno == EOPNOTSUPP) count = pread(fd, place.iov_base, place.iov_len, position);
  } while (count < 0 && errno == EINTR);
  if (count < 0 && errno == EAGAIN) return Napi::Number::New(env, -1);
  if (count < 0) throw ErrnoError(env, "preadv2", errno);
  return Napi::Number::New(env, static_cast<double>(count));
}

}  // namespace

void DefineCachedRead(Napi::Env env, Napi::Object exports) {
  exports.Set("readCached", Napi::Function::New(env, ReadCached, "readCached"));
}

}  // namespace hawser
