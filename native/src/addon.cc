// The addon: moves bytes and descriptors between the kernel and JS, and knows nothing of files, names or objects.

#include <napi.h>

#include "block-file.h"
#include "cached-read.h"
#include "checksum.h"
#include "connection.h"
#include "errors.h"
#include "files.h"
#include "memory.h"
#include "mount.h"
#include "place-file.h"
#include "process.h"

namespace hawser {

namespace {

// crc32c(bytes, previous): number
Napi::Value Crc32cFromJs(const Napi::CallbackInfo& info) {
  const Bytes bytes = RequireBytes(info.Env(), info[0]);
  uint32_t previous = 0;
  napi_get_value_uint32(info.Env(), info[1], &previous);
  return Napi::Number::New(info.Env(), Crc32c(bytes.data, bytes.length, previous));
}

// crc64nvme(bytes, previous): bigint
Napi::Value Crc64NvmeFromJs(const Napi::CallbackInfo& info) {
  const Bytes bytes = RequireBytes(info.Env(), info[0]);
  uint64_t previous = 0;
  bool lossless;
  napi_get_value_bigint_uint64(info.Env(), info[1], &previous, &lossless);
  return Napi::BigInt::New(info.Env(), Crc64Nvme(bytes.data, bytes.length, previous));
}

Napi::Object Initialize(Napi::Env env, Napi::Object exports) {
  exports.Set("Connection", Connection::Define(env));
  exports.Set("crc32c", Napi::Function::New(env, Crc32cFromJs, "crc32c"));
  exports.Set("crc64nvme", Napi::Function::New(env, Crc64NvmeFromJs, "crc64nvme"));
  DefineMount(env, exports);
  DefineFiles(env, exports);
  DefineBlockFile(env, exports);
  DefineCachedRead(env, exports);
  DefineMemory(env, exports);
  DefinePlaceFile(env, exports);
  DefineProcess(env, exports);
  return exports;
}

NODE_API_MODULE(NODE_GYP_MODULE_NAME, Initialize)

}  // namespace

}  // namespace hawser
