#include "memory.h"

#include <sys/mman.h>
#include <cerrno>
#include <cstdint>
#include <memory>

#include "arena.h"
#include "async.h"
#include "errors.h"

namespace hawser {

namespace {

// bytesToPage(bytes): how far behind the first byte the next page begins.
Napi::Value BytesToPage(const Napi::CallbackInfo& info) {
  const auto address = reinterpret_cast<uintptr_t>(RequireBytes(info.Env(), info[0]).data);
  return Napi::Number::New(info.Env(), static_cast<double>((kPageBytes - address % kPageBytes) % kPageBytes));
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

// populate(bytes): gets from the system every page that begins in the memory. What they hold stays as it is.
Napi::Value Populate(const Napi::CallbackInfo& info) {
  const Bytes bytes = RequireBytes(info.Env(), info[0]);
  auto held = std::make_shared<Napi::ObjectReference>(Napi::Persistent(info[0].As<Napi::Object>()));
  return RunAsync(info.Env(), [bytes, held]() -> CallResult {
    const auto from = (reinterpret_cast<uintptr_t>(bytes.data) + kPageBytes - 1) / kPageBytes * kPageBytes;
    const auto to = (reinterpret_cast<uintptr_t>(bytes.data) + bytes.length) / kPageBytes * kPageBytes;
    if (from >= to) return {};
    if (madvise(reinterpret_cast<void*>(from), to - from, MADV_POPULATE_WRITE) == 0) return {};
    return {.error = errno, .syscall = "madvise"};
  });
}

}  // namespace

void DefineMemory(Napi::Env env, Napi::Object exports) {
  exports.Set("bytesToPage", Napi::Function::New(env, BytesToPage, "bytesToPage"));
  exports.Set("populate", Napi::Function::New(env, Populate, "populate"));
}

}  // namespace hawser
