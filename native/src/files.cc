#include "files.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <cerrno>

#include "async.h"
#include "errors.h"

namespace hawser {

namespace {

int FdAt(const Napi::CallbackInfo& info) {
  if (!info[0].IsNumber()) throw Napi::TypeError::New(info.Env(), "a file descriptor is expected");
  return info[0].As<Napi::Number>().Int32Value();
}

// setLease(fd, "read" | "none"): true when it holds now; false while somebody has the file open for writing.
Napi::Value SetLease(const Napi::CallbackInfo& info) {
  const std::string type = info[1].ToString().Utf8Value();
  if (type != "read" && type != "none") throw Napi::TypeError::New(info.Env(), "a lease is 'read' or 'none'");
  if (fcntl(FdAt(info), F_SETLEASE, type == "read" ? F_RDLCK : F_UNLCK) == 0) {
    return Napi::Boolean::New(info.Env(), true);
  }
  if (errno == EAGAIN) return Napi::Boolean::New(info.Env(), false);
  throw ErrnoError(info.Env(), "fcntl", errno);
}

// flockExclusive(fd): true when the lock is ours; false when another open file has it. Released by closing the file.
Napi::Value FlockExclusive(const Napi::CallbackInfo& info) {
  if (flock(FdAt(info), LOCK_EX | LOCK_NB) == 0) return Napi::Boolean::New(info.Env(), true);
  if (errno == EWOULDBLOCK) return Napi::Boolean::New(info.Env(), false);
  throw ErrnoError(info.Env(), "flock", errno);
}

Napi::Value FallocateAsync(Napi::Env env, int fd, int mode, int64_t offset, int64_t length) {
  return RunAsync(env, [=]() -> CallResult {
    int result;
    do {
      result = fallocate(fd, mode, offset, length);
    } while (result < 0 && errno == EINTR);
    if (result < 0) return {0, errno, "fallocate", ""};
    return {};
  });
}

// fallocate(fd, mode, offset, length)
Napi::Value Fallocate(const Napi::CallbackInfo& info) {
  return FallocateAsync(info.Env(), FdAt(info), info[1].ToNumber().Int32Value(), info[2].ToNumber().Int64Value(),
                        info[3].ToNumber().Int64Value());
}

// punchHole(fd, offset, length): frees the range; the file's size stays.
Napi::Value PunchHole(const Napi::CallbackInfo& info) {
  return FallocateAsync(info.Env(), FdAt(info), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        info[1].ToNumber().Int64Value(), info[2].ToNumber().Int64Value());
}

// EXT4_TOPDIR_FL of the kernel's fs/ext4/ext4.h: the folders below are unrelated.
constexpr int kTopFolder = 0x00020000;

// spreadFolders(path): asks the file system to place the folders made in this one apart from each other. True where it
// knows how.
Napi::Value SpreadFolders(const Napi::CallbackInfo& info) {
  const std::string path = info[0].ToString().Utf8Value();
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) throw ErrnoError(info.Env(), "open", errno, path);
  int flags = 0;
  bool spread = ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0;
  if (spread && (flags & kTopFolder) == 0) {
    flags |= kTopFolder;
    spread = ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
  }
  close(fd);
  return Napi::Boolean::New(info.Env(), spread);
}

// -1 where there is no more: ENXIO past the last data, or past the end.
Napi::Value Seek(const Napi::CallbackInfo& info, int whence) {
  const off_t found = lseek(FdAt(info), info[1].ToNumber().Int64Value(), whence);
  if (found < 0 && errno != ENXIO) throw ErrnoError(info.Env(), "lseek", errno);
  return Napi::Number::New(info.Env(), static_cast<double>(found));
}

// lseekData(fd, offset), lseekHole(fd, offset)
Napi::Value LseekData(const Napi::CallbackInfo& info) { return Seek(info, SEEK_DATA); }
Napi::Value LseekHole(const Napi::CallbackInfo& info) { return Seek(info, SEEK_HOLE); }

}  // namespace

void DefineFiles(Napi::Env env, Napi::Object exports) {
  exports.Set("setLease", Napi::Function::New(env, SetLease, "setLease"));
  exports.Set("flockExclusive", Napi::Function::New(env, FlockExclusive, "flockExclusive"));
  exports.Set("fallocate", Napi::Function::New(env, Fallocate, "fallocate"));
  exports.Set("punchHole", Napi::Function::New(env, PunchHole, "punchHole"));
  exports.Set("spreadFolders", Napi::Function::New(env, SpreadFolders, "spreadFolders"));
  exports.Set("lseekData", Napi::Function::New(env, LseekData, "lseekData"));
  exports.Set("lseekHole", Napi::Function::New(env, LseekHole, "lseekHole"));
}

}  // namespace hawser
