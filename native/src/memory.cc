#include "memory.h"

#include <cstdint>

#include "arena.h"
#include "errors.h"

namespace hawser {

namespace {

// bytesToPage(bytes): how far behind the first byte the next page begins.
Napi::Value BytesToPage(const Napi::CallbackInfo& info) {
  const auto address = reinterpret_cast<uintptr_t>(RequireBytes(info.Env(), info[0]).data);
  return Napi::Number::New(info.Env(), static_cast<double>((kPageBytes - address % kPageBytes) % kPageBytes));
}

}  // namespace

void DefineMemory(Napi::Env env, Napi::Object exports) {
  exports.Set("bytesToPage", Napi::Function::New(env, BytesToPage, "bytesToPage"));
}

}  // namespace hawser
