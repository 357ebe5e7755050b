// Errors as Node shows them: an Error whose `code` is the errno's name and whose `errno` and `syscall` are set.
#pragma once

#include <napi.h>
#include <uv.h>
#include <cstring>
#include <string>

namespace hawser {

inline Napi::Error ErrnoError(Napi::Env env, const std::string& syscall, int error, const std::string& detail = "") {
  const char* name = uv_err_name(-error);
  std::string message = std::string(name) + ": " + uv_strerror(-error) + ", " + syscall;
  if (!detail.empty()) message += ": " + detail;
  Napi::Error result = Napi::Error::New(env, message);
  result.Set("code", Napi::String::New(env, name));
  result.Set("errno", Napi::Number::New(env, error));
  result.Set("syscall", Napi::String::New(env, syscall));
  if (!detail.empty()) result.Set("detail", Napi::String::New(env, detail));
  return result;
}

// The memory of a Uint8Array. SharedArrayBuffer-backed arrays are taken too: only the data pointer is asked for.
struct Bytes {
  uint8_t* data = nullptr;
  size_t length = 0;
};

inline bool GetBytes(napi_env env, napi_value value, Bytes* out) {
  napi_typedarray_type type;
  void* data = nullptr;
  size_t length = 0;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) != napi_ok) return false;
  if (type != napi_uint8_array) return false;
  out->data = static_cast<uint8_t*>(data);
  out->length = length;
  return true;
}

inline Bytes RequireBytes(Napi::Env env, napi_value value) {
  Bytes bytes;
  if (!GetBytes(env, value, &bytes)) throw Napi::TypeError::New(env, "a Uint8Array is expected");
  return bytes;
}

}  // namespace hawser
