#include "wakeup.h"

namespace hawser {

void Wakeup::Open(Napi::Env env, std::function<void(Napi::Env)> onWake) {
  onWake_ = std::move(onWake);
  Napi::String name = Napi::String::New(env, "hawser.connection");
  napi_status status =
      napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, Call, &function_);
  if (status != napi_ok) throw Napi::Error::New(env, "the wake-up function cannot be made");
  open_ = true;
}

void Wakeup::Signal() {
  if (pending_.exchange(true)) return;
  std::lock_guard<std::mutex> lock(mutex_);
  if (open_) napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking);
}

void Wakeup::Close() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!open_) return;
  open_ = false;
  napi_release_threadsafe_function(function_, napi_tsfn_abort);
}

// Without an environment the call is only a notice that the queue is being emptied; `context` may be gone by then.
void Wakeup::Call(napi_env env, napi_value, void* context, void*) {
  if (env == nullptr) return;
  auto* self = static_cast<Wakeup*>(context);
  self->pending_.store(false);
  self->onWake_(Napi::Env(env));
}

}  // namespace hawser
