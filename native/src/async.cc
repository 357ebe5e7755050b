#include "async.h"

#include "errors.h"

namespace hawser {

namespace {

class Work : public Napi::AsyncWorker {
 public:
  Work(Napi::Env env, std::function<CallResult()> call)
      : Napi::AsyncWorker(env), deferred_(Napi::Promise::Deferred::New(env)), call_(std::move(call)) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override { result_ = call_(); }

  void OnOK() override {
    Napi::HandleScope scope(Env());
    if (result_.error == 0) {
      deferred_.Resolve(Napi::Number::New(Env(), static_cast<double>(result_.value)));
    } else {
      deferred_.Reject(ErrnoError(Env(), result_.syscall, result_.error, result_.detail).Value());
    }
  }

 private:
  Napi::Promise::Deferred deferred_;
  std::function<CallResult()> call_;
  CallResult result_;
};

}  // namespace

Napi::Value RunAsync(Napi::Env env, std::function<CallResult()> call) {
  auto* work = new Work(env, std::move(call));  // deletes itself when done
  Napi::Promise promise = work->promise();
  work->Queue();
  return promise;
}

}  // namespace hawser
