// Wakeup: how the threads call the JS thread, once for any number of events.
//
// Signal() from any thread leads to one later call of the function given to Open() on the JS thread. Signals between
// that call's start and the one before it are folded into it.
//
// Lifetime: held by shared_ptr by every thread, so that a thread that could not be joined may still call Signal();
// after Close() that does nothing.
#pragma once

#include <napi.h>
#include <atomic>
#include <functional>
#include <mutex>

namespace hawser {

class Wakeup {
 public:
  // On the JS thread. `onWake` is called there until Close().
  void Open(Napi::Env env, std::function<void(Napi::Env)> onWake);
  void Signal();
  // On the JS thread; may be called twice.
  void Close();

 private:
  static void Call(napi_env env, napi_value function, void* context, void* data);

  std::atomic<bool> pending_{false};
  std::mutex mutex_;  // guards open_ and the use of function_ against Close()
  bool open_ = false;
  napi_threadsafe_function function_ = nullptr;
  std::function<void(Napi::Env)> onWake_;  // JS thread only
};

}  // namespace hawser
