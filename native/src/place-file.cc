// Creating, writing, dating and renaming are one visit to the thread pool: for a small file the hops between threads cost
// as much as the system calls. A larger one takes two, before and after its content.
//
// The partial name is the same for every run, so that a run that was killed leaves nothing behind for good. Two processes
// may therefore meet at it: whoever holds the lock owns the file, and looks after taking it whether the name still leads
// there, because the one before may have renamed it.

#include "place-file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include "async.h"
#include "errors.h"
#include "write-all.h"

namespace hawser {

namespace {

constexpr int kAgain = -2;

CallResult Failed(const char* syscall, int error) {
  CallResult result;
  result.error = error;
  result.syscall = syscall;
  return result;
}

// The partial file, locked; kAgain when it was somebody's who has just renamed it.
CallResult Locked(const std::string& partial) {
  int fd;
  do {
    fd = open(partial.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return Failed("open", errno);
  CallResult result;
  result.value = fd;
  // A file system without locks has no second writer we could know of.
  if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
    close(fd);
    return Failed("flock", EBUSY);
  }
  struct stat opened, named;
  const bool ours = fstat(fd, &opened) == 0 && stat(partial.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
                    opened.st_dev == named.st_dev;
  if (ours && (opened.st_size == 0 || ftruncate(fd, 0) == 0)) return result;
  const int error = errno;
  close(fd);
  if (ours) return Failed("ftruncate", error);
  result.value = kAgain;
  return result;
}

// The partial file, locked and empty.
CallResult Open(const std::string& partial, const std::string& target) {
  struct stat there;
  if (lstat(target.c_str(), &there) == 0 && !S_ISREG(there.st_mode) && !S_ISLNK(there.st_mode)) {
    // A device or pipe would be replaced by a file.
    return Failed("open", S_ISDIR(there.st_mode) ? EISDIR : ENXIO);
  }
  CallResult opened;
  do {
    opened = Locked(partial);
  } while (opened.error == 0 && opened.value == kAgain);
  return opened;
}

void Date(int fd, double mtimeSeconds) {
  const double whole = std::floor(mtimeSeconds);
  struct timespec times[2];
  times[0].tv_nsec = UTIME_OMIT;
  times[0].tv_sec = 0;
  times[1].tv_sec = static_cast<time_t>(whole);
  times[1].tv_nsec = static_cast<long>((mtimeSeconds - whole) * 1e6 + 0.5) * 1000;
  if (times[1].tv_nsec > 999'999'999) times[1].tv_nsec = 999'999'999;
  // Who may write a file and not date it still has its content.
  futimens(fd, times);
}

// Dates the file and gives it its name, unless something failed before; then and if that fails it is gone.
CallResult Finish(int fd, const std::string& partial, const std::string& target, double mtimeSeconds, CallResult before) {
  CallResult result = std::move(before);
  if (result.error == 0) {
    Date(fd, mtimeSeconds);
    if (rename(partial.c_str(), target.c_str()) < 0) result = Failed("rename", errno);
  }
  if (result.error != 0) unlink(partial.c_str());
  // Some file systems say only now that there was no room.
  if (close(fd) < 0 && result.error == 0 && errno != EINTR) result = Failed("close", errno);
  return result;
}

CallResult Write(int fd, const Bytes& source, bool direct) {
  const bool around = direct && MayBeDirect(source, 0) && fcntl(fd, F_SETFL, O_DIRECT) == 0;
  const char* syscall = WriteAll(fd, source, 0, around);
  return syscall ? Failed(syscall, errno) : CallResult();
}

// placeFile(partial, target, source, mtimeSeconds, direct)
Napi::Value Place(const Napi::CallbackInfo& info) {
  const std::string partial = info[0].ToString(), target = info[1].ToString();
  const Bytes source = RequireBytes(info.Env(), info[2]);
  const double mtimeSeconds = info[3].ToNumber();
  const bool direct = info[4].ToBoolean();
  // Keeps the memory until the call has ended, which is on the JS thread again.
  auto held = std::make_shared<Napi::ObjectReference>(Napi::Persistent(info[2].As<Napi::Object>()));
  return RunAsync(info.Env(), [=]() -> CallResult {
    (void)held;
    CallResult opened = Open(partial, target);
    if (opened.error != 0) return opened;
    const int fd = static_cast<int>(opened.value);
    return Finish(fd, partial, target, mtimeSeconds, Write(fd, source, direct));
  });
}

// openPartial(partial, target)
Napi::Value OpenPartial(const Napi::CallbackInfo& info) {
  const std::string partial = info[0].ToString(), target = info[1].ToString();
  return RunAsync(info.Env(), [=] { return Open(partial, target); });
}

// finishPartial(fd, partial, target, mtimeSeconds)
Napi::Value FinishPartial(const Napi::CallbackInfo& info) {
  const int fd = info[0].ToNumber();
  const std::string partial = info[1].ToString(), target = info[2].ToString();
  const double mtimeSeconds = info[3].ToNumber();
  return RunAsync(info.Env(), [=] { return Finish(fd, partial, target, mtimeSeconds, CallResult()); });
}

}  // namespace

void DefinePlaceFile(Napi::Env env, Napi::Object exports) {
  exports.Set("placeFile", Napi::Function::New(env, Place, "placeFile"));
  exports.Set("openPartial", Napi::Function::New(env, OpenPartial, "openPartial"));
  exports.Set("finishPartial", Napi::Function::New(env, FinishPartial, "finishPartial"));
}

}  // namespace hawser
