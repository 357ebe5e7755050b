// Opening, writing, checksumming and closing are one visit to the thread pool: for a small file the hops between threads
// cost as much as the system calls.
//
// Large writes go around the page cache (O_DIRECT) where the caller asks for it and memory and file system allow it: the
// bytes are not copied, and what others keep in the page cache stays there.

#include "block-file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <cstdint>
#include <string>

#include "checksum.h"
#include "errors.h"
#include "write-all.h"

namespace hawser {

namespace {

class BlockWrite : public Napi::AsyncWorker {
 public:
  BlockWrite(const Napi::CallbackInfo& info)
      : Napi::AsyncWorker(info.Env()),
        deferred_(Napi::Promise::Deferred::New(info.Env())),
        path_(info[0].ToString().Utf8Value()),
        source_(RequireBytes(info.Env(), info[1])),
        offset_(info[2].ToNumber().Int64Value()),
        blockBytes_(info[3].ToNumber().Uint32Value()),
        fileBytes_(info[5].ToNumber().Int64Value()),
        direct_(info[6].ToBoolean()),
        keepOpen_(info[7].ToBoolean()) {
    const napi_typedarray_type type = info[4].IsTypedArray() ? info[4].As<Napi::TypedArray>().TypedArrayType() : napi_int8_array;
    if (type != napi_uint32_array && type != napi_biguint64_array) {
      throw Napi::TypeError::New(info.Env(), "a Uint32Array or BigUint64Array is expected for the checksums");
    }
    const size_t room = info[4].As<Napi::TypedArray>().ElementLength();
    if (blockBytes_ == 0 || room < (source_.length + blockBytes_ - 1) / blockBytes_) {
      throw Napi::RangeError::New(info.Env(), "there is no room for the checksum of each block");
    }
    if (type == napi_uint32_array) {
      crcs_ = info[4].As<Napi::Uint32Array>().Data();
    } else {
      crcs64_ = info[4].As<Napi::BigUint64Array>().Data();
    }
    sourceHeld_ = Napi::Persistent(info[1].As<Napi::Object>());
    crcsHeld_ = Napi::Persistent(info[4].As<Napi::Object>());
  }

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override {
    for (size_t at = 0, block = 0; at < source_.length; at += blockBytes_, block++) {
      const size_t length = std::min<size_t>(blockBytes_, source_.length - at);
      if (crcs_ != nullptr) {
        crcs_[block] = Crc32c(source_.data + at, length, 0);
      } else {
        crcs64_[block] = Crc64Nvme(source_.data + at, length, 0);
      }
    }
    const bool create = fileBytes_ >= 0;
    const int flags = (keepOpen_ ? O_RDWR : O_WRONLY) | O_CLOEXEC | (create ? O_CREAT | O_EXCL : 0);
    int fd = Open(flags | (IsAligned() ? O_DIRECT : 0));
    // A file system without O_DIRECT may have created the file before it says so.
    if (fd < 0 && errno == EINVAL && IsAligned()) {
      direct_ = false;
      fd = Open(flags & ~O_EXCL);
    }
    if (fd < 0) return Failed("open");
    // At its full length from the start: writes within a file may run beside each other.
    if (create && static_cast<int64_t>(offset_ + source_.length) != fileBytes_ && ftruncate(fd, fileBytes_) < 0) {
      Failed("ftruncate");
    }
    if (error_ == 0) {
      if (const char* syscall = WriteAll(fd, source_, offset_, IsAligned())) Failed(syscall);
    }
    if (error_ == 0 && keepOpen_) {
      kept_ = fd;
      return;
    }
    // Nobody else has seen it yet.
    if (error_ != 0 && create) unlink(path_.c_str());
    close(fd);
  }

  void OnOK() override {
    Napi::HandleScope scope(Env());
    if (error_ == 0) {
      deferred_.Resolve(Napi::Number::New(Env(), kept_));
    } else {
      deferred_.Reject(ErrnoError(Env(), syscall_, error_).Value());
    }
  }

 private:
  bool IsAligned() const { return direct_ && MayBeDirect(source_, offset_); }

  int Open(int flags) const {
    int fd;
    do {
      fd = open(path_.c_str(), flags, 0600);
    } while (fd < 0 && errno == EINTR);
    return fd;
  }

  void Failed(const char* syscall) {
    error_ = errno;
    syscall_ = syscall;
  }

  Napi::Promise::Deferred deferred_;
  const std::string path_;
  const Bytes source_;
  const int64_t offset_;
  const uint32_t blockBytes_;
  const int64_t fileBytes_;
  bool direct_;
  const bool keepOpen_;
  int kept_ = -1;
  uint32_t* crcs_ = nullptr;
  uint64_t* crcs64_ = nullptr;
  Napi::ObjectReference sourceHeld_;
  Napi::ObjectReference crcsHeld_;
  int error_ = 0;
  const char* syscall_ = "";
};

// writeBlocks(path, source, offset, blockBytes, crcs, fileBytes, direct, keepOpen): fileBytes >= 0 creates the file.
// The sums are CRC32C in a Uint32Array, CRC64NVME in a BigUint64Array.
// Resolves with the descriptor that was kept open, or -1.
Napi::Value WriteBlocks(const Napi::CallbackInfo& info) {
  auto* write = new BlockWrite(info);  // deletes itself when done
  Napi::Promise promise = write->promise();
  write->Queue();
  return promise;
}

}  // namespace

void DefineBlockFile(Napi::Env env, Napi::Object exports) {
  exports.Set("writeBlocks", Napi::Function::New(env, WriteBlocks, "writeBlocks"));
}

}  // namespace hawser
