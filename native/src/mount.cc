#include "mount.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "async.h"
#include "errors.h"

extern char** environ;

namespace hawser {

namespace {

// A descriptor that closes itself unless it is released.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() { Reset(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  int Release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  void Reset() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

CallResult Failed(const char* syscall, int error, std::string detail = "") {
  return {0, error, syscall, std::move(detail)};
}

// Reads one descriptor from the socket; -1 when the other side closed without sending one.
int ReceiveDescriptor(int socket) {
  char byte;
  iovec iov = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message = {};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t received;
  do {
    received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received <= 0) return -1;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) return -1;
  int fd;
  memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return fd;
}

std::string ReadAll(int fd) {
  std::string text;
  char buffer[1024];
  for (;;) {
    const ssize_t count = read(fd, buffer, sizeof buffer);
    if (count > 0) {
      text.append(buffer, static_cast<size_t>(count));
    } else if (count == 0 || errno != EINTR) {
      break;
    }
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

// fusermount(1) mounts and hands the descriptor over the socket that _FUSE_COMMFD names.
CallResult RunFusermount(const std::string& program, const std::string& options, const std::string& target) {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0) return Failed("socketpair", errno);
  Descriptor ours(sockets[0]), theirs(sockets[1]);
  int pipes[2];
  if (pipe2(pipes, O_CLOEXEC) < 0) return Failed("pipe2", errno);
  Descriptor errors(pipes[0]), errorsOfChild(pipes[1]);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, errorsOfChild.get(), 2);
  posix_spawn_file_actions_adddup2(&actions, theirs.get(), 3);
  std::vector<char*> environment;
  for (char** entry = environ; *entry != nullptr; entry++) {
    if (strncmp(*entry, "_FUSE_COMMFD=", 13) != 0) environment.push_back(*entry);
  }
  char commfd[] = "_FUSE_COMMFD=3";
  environment.push_back(commfd);
  environment.push_back(nullptr);
  const char* arguments[] = {program.c_str(), "-o", options.c_str(), "--", target.c_str(), nullptr};
  pid_t pid;
  const int error =
      posix_spawn(&pid, program.c_str(), &actions, nullptr, const_cast<char**>(arguments), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return Failed("posix_spawn", error, program);
  theirs.Reset();
  errorsOfChild.Reset();

  Descriptor device(ReceiveDescriptor(ours.get()));
  const std::string said = ReadAll(errors.get());
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (device.get() < 0) return Failed("fusermount", EPERM, said);
  return {device.Release(), 0, "", ""};
}

std::string StringAt(const Napi::CallbackInfo& info, size_t index) { return info[index].ToString().Utf8Value(); }

// openDevice(path): a descriptor of /dev/fuse.
Napi::Value OpenDevice(const Napi::CallbackInfo& info) {
  const int fd = open(StringAt(info, 0).c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) throw ErrnoError(info.Env(), "open", errno);
  return Napi::Number::New(info.Env(), fd);
}

// mount(source, target, type, flags, data)
Napi::Value Mount(const Napi::CallbackInfo& info) {
  const std::string source = StringAt(info, 0), target = StringAt(info, 1), type = StringAt(info, 2);
  const unsigned long flags = info[3].ToNumber().Uint32Value();
  const std::string data = StringAt(info, 4);
  return RunAsync(info.Env(), [=]() -> CallResult {
    if (mount(source.c_str(), target.c_str(), type.c_str(), flags, data.c_str()) < 0) return Failed("mount", errno);
    return {};
  });
}

// unmount(target, flags)
Napi::Value Unmount(const Napi::CallbackInfo& info) {
  const std::string target = StringAt(info, 0);
  const int flags = info[1].ToNumber().Int32Value();
  return RunAsync(info.Env(), [=]() -> CallResult {
    if (umount2(target.c_str(), flags) < 0) return Failed("umount2", errno);
    return {};
  });
}

// fusermount(program, options, target): the mounted descriptor.
Napi::Value Fusermount(const Napi::CallbackInfo& info) {
  const std::string program = StringAt(info, 0), options = StringAt(info, 1), target = StringAt(info, 2);
  return RunAsync(info.Env(), [=] { return RunFusermount(program, options, target); });
}

}  // namespace

void DefineMount(Napi::Env env, Napi::Object exports) {
  exports.Set("openDevice", Napi::Function::New(env, OpenDevice, "openDevice"));
  exports.Set("mount", Napi::Function::New(env, Mount, "mount"));
  exports.Set("unmount", Napi::Function::New(env, Unmount, "unmount"));
  exports.Set("fusermount", Napi::Function::New(env, Fusermount, "fusermount"));
}

}  // namespace hawser
