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
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checksum.h"
#include "errors.h"
#include "write-all.h"

namespace hawser {

namespace {

// Where the checksum of each block goes: CRC32C or CRC64NVME.
struct Checksums {
  uint32_t* crc32c = nullptr;
  uint64_t* crc64nvme = nullptr;

  void Sum(size_t block, const uint8_t* data, size_t length) const {
    if (crc32c != nullptr) {
      crc32c[block] = Crc32c(data, length, 0);
    } else {
      crc64nvme[block] = Crc64Nvme(data, length, 0);
    }
  }
};

// A run of blocks to be written to one file.
struct Job {
  std::string path;
  Bytes source{};
  int64_t offset = 0;
  uint32_t blockBytes = 0;
  // >= 0: the file is created with this length.
  int64_t fileBytes = -1;
  bool direct = false;
  bool keepOpen = false;
  Checksums crcs;
  // What came of it: the descriptor that was kept open or -1, or the errno and name of what failed.
  int kept = -1;
  int error = 0;
  const char* syscall = "";

  void Run() {
    for (size_t at = 0, block = 0; at < source.length; at += blockBytes, block++) {
      crcs.Sum(block, source.data + at, std::min<size_t>(blockBytes, source.length - at));
    }
    const bool create = fileBytes >= 0;
    const int flags = (keepOpen ? O_RDWR : O_WRONLY) | O_CLOEXEC | (create ? O_CREAT | O_EXCL : 0);
    int fd = Open(flags | (IsAligned() ? O_DIRECT : 0));
    // A file system without O_DIRECT may have created the file before it says so.
    if (fd < 0 && errno == EINVAL && IsAligned()) {
      direct = false;
      fd = Open(flags & ~O_EXCL);
    }
    if (fd < 0) return Failed("open");
    // At its full length from the start: writes within a file may run beside each other.
    if (create && static_cast<int64_t>(offset + source.length) != fileBytes && ftruncate(fd, fileBytes) < 0) {
      Failed("ftruncate");
    }
    if (error == 0) {
      if (const char* name = WriteAll(fd, source, offset, IsAligned())) Failed(name);
    }
    if (error == 0 && keepOpen) {
      kept = fd;
      return;
    }
    // Nobody else has seen it yet.
    if (error != 0 && create) unlink(path.c_str());
    close(fd);
  }

  // The descriptor, or an Error.
  Napi::Value Result(Napi::Env env) const {
    if (error == 0) return Napi::Number::New(env, kept);
    return ErrnoError(env, syscall, error).Value();
  }

 private:
  bool IsAligned() const { return direct && MayBeDirect(source, offset); }

  int Open(int flags) const {
    int fd;
    do {
      fd = open(path.c_str(), flags, 0600);
    } while (fd < 0 && errno == EINTR);
    return fd;
  }

  void Failed(const char* name) {
    error = errno;
    syscall = name;
  }
};

Checksums ChecksumsFor(Napi::Env env, const Job& job, const Napi::Value& value) {
  const napi_typedarray_type type =
      value.IsTypedArray() ? value.As<Napi::TypedArray>().TypedArrayType() : napi_int8_array;
  if (type != napi_uint32_array && type != napi_biguint64_array) {
    throw Napi::TypeError::New(env, "a Uint32Array or BigUint64Array is expected for the checksums");
  }
  const size_t room = value.As<Napi::TypedArray>().ElementLength();
  if (job.blockBytes == 0 || room < (job.source.length + job.blockBytes - 1) / job.blockBytes) {
    throw Napi::RangeError::New(env, "there is no room for the checksum of each block");
  }
  Checksums crcs;
  if (type == napi_uint32_array) {
    crcs.crc32c = value.As<Napi::Uint32Array>().Data();
  } else {
    crcs.crc64nvme = value.As<Napi::BigUint64Array>().Data();
  }
  return crcs;
}

// Carries out jobs, one after the other, in one visit to the thread pool.
class Work : public Napi::AsyncWorker {
 public:
  explicit Work(Napi::Env env) : Napi::AsyncWorker(env), deferred_(Napi::Promise::Deferred::New(env)) {}

  // `held` are the arrays that the job points into.
  void Add(Job job, const Napi::Value& source, const Napi::Value& crcs) {
    jobs_.push_back(std::move(job));
    held_.push_back(Napi::Persistent(source.As<Napi::Object>()));
    held_.push_back(Napi::Persistent(crcs.As<Napi::Object>()));
  }

  // The promise is for an array of what came of each.
  Napi::Promise StartAll() {
    Napi::Promise promise = deferred_.Promise();
    Queue();
    return promise;
  }

  // There is one job; the promise is for what comes of it.
  Napi::Promise StartOne() {
    single_ = true;
    return StartAll();
  }

 protected:
  void Execute() override {
    for (Job& job : jobs_) job.Run();
  }

  void OnOK() override {
    Napi::HandleScope scope(Env());
    if (single_) {
      const Napi::Value result = jobs_[0].Result(Env());
      if (jobs_[0].error == 0) {
        deferred_.Resolve(result);
      } else {
        deferred_.Reject(result);
      }
      return;
    }
    Napi::Array results = Napi::Array::New(Env(), jobs_.size());
    for (uint32_t i = 0; i < jobs_.size(); i++) results.Set(i, jobs_[i].Result(Env()));
    deferred_.Resolve(results);
  }

 private:
  Napi::Promise::Deferred deferred_;
  std::vector<Job> jobs_;
  std::vector<Napi::ObjectReference> held_;
  bool single_ = false;
};

// writeBlocks(path, source, offset, blockBytes, crcs, fileBytes, direct, keepOpen): fileBytes >= 0 creates the file.
// The sums are CRC32C in a Uint32Array, CRC64NVME in a BigUint64Array.
// Resolves with the descriptor that was kept open, or -1.
Napi::Value WriteBlocks(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Job job;
  job.path = info[0].ToString().Utf8Value();
  job.source = RequireBytes(env, info[1]);
  job.offset = info[2].ToNumber().Int64Value();
  job.blockBytes = info[3].ToNumber().Uint32Value();
  job.fileBytes = info[5].ToNumber().Int64Value();
  job.direct = info[6].ToBoolean();
  job.keepOpen = info[7].ToBoolean();
  job.crcs = ChecksumsFor(env, job, info[4]);
  auto* work = new Work(env);  // deletes itself when done
  work->Add(std::move(job), info[1], info[4]);
  return work->StartOne();
}

// createFiles(paths, sources, blockBytes, crcs): whole new files, left open for reading and writing. Resolves with an
// array of their descriptors, with an Error in the place of one that could not be made.
Napi::Value CreateFiles(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsArray() || !info[1].IsArray() || !info[3].IsArray()) {
    throw Napi::TypeError::New(env, "expected (paths, sources, blockBytes, crcs)");
  }
  const auto paths = info[0].As<Napi::Array>();
  const auto sources = info[1].As<Napi::Array>();
  const auto crcs = info[3].As<Napi::Array>();
  if (sources.Length() != paths.Length() || crcs.Length() != paths.Length()) {
    throw Napi::RangeError::New(env, "each file needs a path, its bytes and room for checksums");
  }
  auto work = std::make_unique<Work>(env);
  for (uint32_t i = 0; i < paths.Length(); i++) {
    Job job;
    const Napi::Value source = sources[i];
    const Napi::Value sums = crcs[i];
    job.path = static_cast<Napi::Value>(paths[i]).ToString().Utf8Value();
    job.source = RequireBytes(env, source);
    job.blockBytes = info[2].ToNumber().Uint32Value();
    job.fileBytes = static_cast<int64_t>(job.source.length);
    job.keepOpen = true;
    job.crcs = ChecksumsFor(env, job, sums);
    work->Add(std::move(job), source, sums);
  }
  return work.release()->StartAll();  // deletes itself when done
}

// Opens files, one after the other, in one visit to the thread pool.
class Opening : public Napi::AsyncWorker {
 public:
  Opening(Napi::Env env, std::vector<std::string> paths)
      : Napi::AsyncWorker(env),
        deferred_(Napi::Promise::Deferred::New(env)),
        paths_(std::move(paths)),
        results_(paths_.size(), -1) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override {
    for (size_t i = 0; i < paths_.size(); i++) {
      do {
        results_[i] = open(paths_[i].c_str(), O_RDONLY | O_CLOEXEC);
      } while (results_[i] < 0 && errno == EINTR);
      if (results_[i] < 0) results_[i] = -errno;
    }
  }

  void OnOK() override {
    Napi::HandleScope scope(Env());
    Napi::Array results = Napi::Array::New(Env(), results_.size());
    for (uint32_t i = 0; i < results_.size(); i++) results.Set(i, Napi::Number::New(Env(), results_[i]));
    deferred_.Resolve(results);
  }

 private:
  Napi::Promise::Deferred deferred_;
  const std::vector<std::string> paths_;
  std::vector<int> results_;
};

// openFiles(paths): resolves with their descriptors, for reading, or -errno in the place of one.
Napi::Value OpenFiles(const Napi::CallbackInfo& info) {
  if (!info[0].IsArray()) throw Napi::TypeError::New(info.Env(), "expected an array of paths");
  const auto array = info[0].As<Napi::Array>();
  std::vector<std::string> paths;
  paths.reserve(array.Length());
  for (uint32_t i = 0; i < array.Length(); i++) {
    paths.push_back(static_cast<Napi::Value>(array[i]).ToString().Utf8Value());
  }
  auto* opening = new Opening(info.Env(), std::move(paths));  // deletes itself when done
  Napi::Promise promise = opening->promise();
  opening->Queue();
  return promise;
}

}  // namespace

void DefineBlockFile(Napi::Env env, Napi::Object exports) {
  exports.Set("writeBlocks", Napi::Function::New(env, WriteBlocks, "writeBlocks"));
  exports.Set("openFiles", Napi::Function::New(env, OpenFiles, "openFiles"));
  exports.Set("createFiles", Napi::Function::New(env, CreateFiles, "createFiles"));
}

}  // namespace hawser
