// Creating, writing, dating and renaming are one visit to the thread pool: for a small file the hops between threads cost
// as much as the system calls.
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
#include <string>

#include "errors.h"
#include "write-all.h"

namespace hawser {

namespace {

class PlaceFile : public Napi::AsyncWorker {
 public:
  explicit PlaceFile(const Napi::CallbackInfo& info)
      : Napi::AsyncWorker(info.Env()),
        deferred_(Napi::Promise::Deferred::New(info.Env())),
        partial_(info[0].ToString().Utf8Value()),
        target_(info[1].ToString().Utf8Value()),
        source_(RequireBytes(info.Env(), info[2])),
        mtimeSeconds_(info[3].ToNumber().DoubleValue()),
        direct_(info[4].ToBoolean()),
        sourceHeld_(Napi::Persistent(info[2].As<Napi::Object>())) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override {
    struct stat there;
    if (lstat(target_.c_str(), &there) == 0 && !S_ISREG(there.st_mode) && !S_ISLNK(there.st_mode)) {
      // A device or pipe would be replaced by a file.
      return Failed("open", S_ISDIR(there.st_mode) ? EISDIR : ENXIO);
    }
    int fd;
    do {
      fd = Locked();
    } while (fd == kAgain);
    if (fd < 0) return;
    if (ftruncate(fd, 0) < 0) Failed("ftruncate", errno);
    if (error_ == 0) Write(fd);
    if (error_ == 0) Date(fd);
    if (error_ == 0 && rename(partial_.c_str(), target_.c_str()) < 0) Failed("rename", errno);
    if (error_ != 0) unlink(partial_.c_str());
    // Some file systems say only now that there was no room.
    if (close(fd) < 0 && error_ == 0 && errno != EINTR) Failed("close", errno);
  }

  void OnOK() override {
    Napi::HandleScope scope(Env());
    if (error_ == 0) {
      deferred_.Resolve(Env().Undefined());
    } else {
      deferred_.Reject(ErrnoError(Env(), syscall_, error_).Value());
    }
  }

 private:
  static constexpr int kAgain = -2;

  // The partial file, locked; -1 when it cannot be had, kAgain when it was somebody's who has just renamed it.
  int Locked() {
    int fd;
    do {
      fd = open(partial_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
      Failed("open", errno);
      return -1;
    }
    // A file system without locks has no second writer we could know of.
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
      close(fd);
      Failed("flock", EBUSY);
      return -1;
    }
    struct stat opened, named;
    const bool ours = fstat(fd, &opened) == 0 && stat(partial_.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
                      opened.st_dev == named.st_dev;
    if (ours) return fd;
    close(fd);
    return kAgain;
  }

  void Write(int fd) {
    const bool direct = direct_ && MayBeDirect(source_, 0) && fcntl(fd, F_SETFL, O_DIRECT) == 0;
    if (const char* syscall = WriteAll(fd, source_, 0, direct)) Failed(syscall, errno);
  }

  void Date(int fd) {
    const double whole = std::floor(mtimeSeconds_);
    struct timespec times[2];
    times[0].tv_nsec = UTIME_OMIT;
    times[0].tv_sec = 0;
    times[1].tv_sec = static_cast<time_t>(whole);
    times[1].tv_nsec = static_cast<long>((mtimeSeconds_ - whole) * 1e6 + 0.5) * 1000;
    if (times[1].tv_nsec > 999'999'999) times[1].tv_nsec = 999'999'999;
    // Who may write a file and not date it still has its content.
    futimens(fd, times);
  }

  void Failed(const char* syscall, int error) {
    error_ = error;
    syscall_ = syscall;
  }

  Napi::Promise::Deferred deferred_;
  const std::string partial_;
  const std::string target_;
  const Bytes source_;
  const double mtimeSeconds_;
  const bool direct_;
  Napi::ObjectReference sourceHeld_;
  int error_ = 0;
  const char* syscall_ = "";
};

// placeFile(partial, target, source, mtimeSeconds, direct)
Napi::Value Place(const Napi::CallbackInfo& info) {
  auto* place = new PlaceFile(info);  // deletes itself when done
  Napi::Promise promise = place->promise();
  place->Queue();
  return promise;
}

}  // namespace

void DefinePlaceFile(Napi::Env env, Napi::Object exports) {
  exports.Set("placeFile", Napi::Function::New(env, Place, "placeFile"));
}

}  // namespace hawser
