#include "process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cerrno>
#include <string>
#include <vector>

#include "errors.h"

namespace hawser {

namespace {

std::vector<std::string> StringsAt(const Napi::CallbackInfo& info, size_t index) {
  if (!info[index].IsArray()) throw Napi::TypeError::New(info.Env(), "an array of strings is expected");
  const Napi::Array array = info[index].As<Napi::Array>();
  std::vector<std::string> strings;
  for (uint32_t i = 0; i < array.Length(); i++) strings.push_back(array.Get(i).ToString().Utf8Value());
  return strings;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// execve(path, argv, env): env as "NAME=value" strings. Returns only by throwing.
//
// The new program gets standard input, output and error as a program expects them: inherited and blocking (libuv makes
// pipes non-blocking). Every other descriptor that Node opened is close-on-exec. Signals that libuv or a library left
// blocked or ignored would be inherited as well; they go back to their defaults.
Napi::Value Execve(const Napi::CallbackInfo& info) {
  const std::string path = info[0].ToString().Utf8Value();
  std::vector<std::string> arguments = StringsAt(info, 1), environment = StringsAt(info, 2);
  std::vector<char*> argumentPointers = Pointers(arguments), environmentPointers = Pointers(environment);
  int statusFlags[3];
  int descriptorFlags[3];
  for (int fd = 0; fd < 3; fd++) {
    descriptorFlags[fd] = fcntl(fd, F_GETFD);
    if (descriptorFlags[fd] >= 0) fcntl(fd, F_SETFD, descriptorFlags[fd] & ~FD_CLOEXEC);
    statusFlags[fd] = fcntl(fd, F_GETFL);
    if (statusFlags[fd] >= 0) fcntl(fd, F_SETFL, statusFlags[fd] & ~O_NONBLOCK);
  }
  sigset_t none, before;
  sigemptyset(&none);
  pthread_sigmask(SIG_SETMASK, &none, &before);
  const sighandler_t pipeBefore = signal(SIGPIPE, SIG_DFL);
  execve(path.c_str(), argumentPointers.data(), environmentPointers.data());
  const int error = errno;
  signal(SIGPIPE, pipeBefore);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  for (int fd = 0; fd < 3; fd++) {
    if (descriptorFlags[fd] >= 0) fcntl(fd, F_SETFD, descriptorFlags[fd]);
    if (statusFlags[fd] >= 0) fcntl(fd, F_SETFL, statusFlags[fd]);
  }
  throw ErrnoError(info.Env(), "execve", error, path);
}

// setRlimitNofile(): raises the soft limit of open files to the hard one, and returns it.
Napi::Value SetRlimitNofile(const Napi::CallbackInfo& info) {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) throw ErrnoError(info.Env(), "getrlimit", errno);
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) < 0) throw ErrnoError(info.Env(), "setrlimit", errno);
  return Napi::Number::New(info.Env(), static_cast<double>(limit.rlim_cur));
}

}  // namespace

void DefineProcess(Napi::Env env, Napi::Object exports) {
  exports.Set("execve", Napi::Function::New(env, Execve, "execve"));
  exports.Set("setRlimitNofile", Napi::Function::New(env, SetRlimitNofile, "setRlimitNofile"));
}

}  // namespace hawser
