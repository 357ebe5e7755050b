// Async: a blocking system call on libuv's thread pool, as a promise.
#pragma once

#include <napi.h>
#include <cstdint>
#include <functional>
#include <string>

namespace hawser {

// What a call gave: a value, or the errno and name of what failed.
struct CallResult {
  int64_t value = 0;
  int error = 0;
  std::string syscall;
  std::string detail;
};

// Runs `call` off the JS thread. The promise resolves with its value, or rejects with an errno error.
Napi::Value RunAsync(Napi::Env env, std::function<CallResult()> call);

}  // namespace hawser
