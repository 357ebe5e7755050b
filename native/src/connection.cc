#include "connection.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>
#include <cerrno>
#include <climits>
#include <system_error>

#include "errors.h"

namespace hawser {

namespace {

// Newer than many distributions' linux/fuse.h.
struct BackingMap {
  int32_t fd;
  uint32_t flags;
  uint64_t padding;
};
constexpr unsigned long kBackingOpen = _IOW(229, 1, BackingMap);
constexpr unsigned long kBackingClose = _IOW(229, 2, uint32_t);

uint32_t Uint32At(const Napi::CallbackInfo& info, size_t index) {
  uint32_t value = 0;
  napi_get_value_uint32(info.Env(), info[index], &value);
  return value;
}

// A node id or a handle: a whole number below 2^53.
uint64_t IdAt(const Napi::CallbackInfo& info, size_t index) {
  int64_t value = 0;
  napi_get_value_int64(info.Env(), info[index], &value);
  return static_cast<uint64_t>(value);
}

uint64_t UniqueAt(const Napi::CallbackInfo& info, size_t index) {
  return static_cast<uint64_t>(Uint32At(info, index)) | static_cast<uint64_t>(Uint32At(info, index + 1)) << 32;
}

// Fills iov[1...] with the first `length` bytes of `chunks`. Returns the iovec count, header included.
size_t FillChunks(Napi::Env env, napi_value chunks, size_t length, iovec* iov, size_t room) {
  uint32_t count = 0;
  if (napi_get_array_length(env, chunks, &count) != napi_ok) throw Napi::TypeError::New(env, "chunks must be an array");
  size_t used = 1;
  size_t left = length;
  for (uint32_t i = 0; i < count && left > 0; i++) {
    napi_value element;
    napi_get_element(env, chunks, i, &element);
    const Bytes bytes = RequireBytes(env, element);
    if (bytes.length == 0) continue;
    if (used == room) throw Napi::RangeError::New(env, "too many chunks in one reply");
    iov[used++] = {bytes.data, std::min(bytes.length, left)};
    left -= iov[used - 1].iov_len;
  }
  if (left > 0) throw Napi::RangeError::New(env, "the chunks are shorter than the length given");
  return used;
}

// An ArrayBuffer-backed typed array whose memory JS owns; `memory` stays valid while the reference lives.
template <typename Array>
Napi::ObjectReference NewArray(Napi::Env env, size_t length, void** memory) {
  Array array = Array::New(env, length);
  *memory = array.Data();
  return Napi::Persistent(array.template As<Napi::Object>());
}

}  // namespace

Napi::Function Connection::Define(Napi::Env env) {
  Napi::Function constructor = DefineClass(
      env, "Connection",
      {
          InstanceAccessor<&Connection::Fd>("fd"),
          InstanceAccessor<&Connection::ArenaBuffer>("arena"),
          InstanceAccessor<&Connection::Batch>("batch"),
          InstanceAccessor<&Connection::Written>("written"),
          InstanceAccessor<&Connection::Notified>("notified"),
          InstanceAccessor<&Connection::AnsweredNow>("answeredNow"),
          InstanceAccessor<&Connection::AnsweredTotal>("answeredTotal"),
          InstanceMethod<&Connection::Send>("send"),
          InstanceMethod<&Connection::SendChunks>("sendChunks"),
          InstanceMethod<&Connection::QueueChunks>("queueChunks"),
          InstanceMethod<&Connection::GiveBack>("giveBack"),
          InstanceMethod<&Connection::Notify>("notify"),
          InstanceMethod<&Connection::OpenBacking>("openBacking"),
          InstanceMethod<&Connection::CloseBacking>("closeBacking"),
          InstanceMethod<&Connection::AnswerOpens>("answerOpens"),
          InstanceMethod<&Connection::EndAnswering>("endAnswering"),
          InstanceMethod<&Connection::AnsweredUse>("answeredUse"),
          InstanceMethod<&Connection::StopFromJs>("stop"),
          StaticValue("SLOT_COUNT", Napi::Number::New(env, kSlotCount)),
          StaticValue("SLOT_BYTES", Napi::Number::New(env, kSlotBytes)),
          StaticValue("REQUEST_OFFSET", Napi::Number::New(env, kRequestOffset)),
          StaticValue("KEEP", Napi::Number::New(env, kKeep)),
      });
  return constructor;
}

Connection::Connection(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Connection>(info), env_(info.Env()) {
  if (info.Length() < 3 || !info[0].IsNumber() || !info[1].IsNumber() || !info[2].IsFunction()) {
    throw Napi::TypeError::New(env_, "expected (fd, writerThreads, onEvents)");
  }
  const int fd = info[0].As<Napi::Number>().Int32Value();
  const uint32_t writers = info[1].As<Napi::Number>().Uint32Value();
  if (writers < 1 || writers > 8) throw Napi::RangeError::New(env_, "writerThreads must be 1 to 8");
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0) throw ErrnoError(env_, "fcntl", errno);
  if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) throw ErrnoError(env_, "fcntl", errno);

  onEvents_ = Napi::Persistent(info[2].As<Napi::Function>());
  void* memory;
  batchArray_ = NewArray<Napi::Uint32Array>(env_, kSlotCount, &memory);
  batch_ = static_cast<uint32_t*>(memory);
  writtenArray_ = NewArray<Napi::Int32Array>(env_, 2 * kCompletionRoom, &memory);
  written_ = static_cast<Completion*>(memory);
  notifiedArray_ = NewArray<Napi::Int32Array>(env_, 2 * kCompletionRoom, &memory);
  notified_ = static_cast<Completion*>(memory);

  try {
    arena_ = std::make_shared<Arena>();
    auto* owner = new std::shared_ptr<Arena>(arena_);
    Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(
        env_, arena_->data(), Arena::size(), [](Napi::Env, void*, std::shared_ptr<Arena>* held) { delete held; }, owner);
    arenaBuffer_ = Napi::Persistent(buffer.As<Napi::Object>());

    wakeup_ = std::make_shared<Wakeup>();
    opens_ = std::make_shared<OpenTable>();
    reader_ = std::make_unique<Reader>(fd, arena_, wakeup_, opens_);
    writer_ = std::make_unique<Writer>(fd, writers, wakeup_);
    notifier_ = std::make_unique<Notifier>(fd, wakeup_);
    wakeup_->Open(env_, [this](Napi::Env env) { OnWake(env); });
    fd_ = fd;
    napi_add_env_cleanup_hook(env_, OnEnvironmentEnd, this);
    Ref();
    writer_->Start();
    notifier_->Start();
    reader_->Start();
  } catch (const std::system_error& error) {
    Stop();
    throw ErrnoError(env_, error.what(), error.code().value());
  } catch (const std::bad_alloc&) {
    throw ErrnoError(env_, "mmap", ENOMEM);
  }
}

Connection::~Connection() { Stop(); }

void Connection::OnEnvironmentEnd(void* self) { static_cast<Connection*>(self)->Stop(); }

void Connection::Stop() {
  if (fd_ < 0) return;
  reader_->Stop();
  writer_->Stop();
  notifier_->Stop();
  wakeup_->Close();
  close(fd_);
  fd_ = -1;
  for (auto& [id, reference] : pinned_) napi_delete_reference(env_, reference);
  pinned_.clear();
  napi_remove_env_cleanup_hook(env_, OnEnvironmentEnd, this);
  Unref();
}

Napi::Value Connection::StopFromJs(const Napi::CallbackInfo& info) {
  Stop();
  return info.Env().Undefined();
}

// One round a wake-up: what arrived meanwhile gets a wake-up of its own, so that promises and timers get their turn.
void Connection::OnWake(Napi::Env env) {
  Napi::HandleScope scope(env);
  bool more[3];
  const size_t requests = reader_->Take(batch_, kSlotCount, &more[0]);
  const size_t written = writer_->completions().Take(written_, kCompletionRoom, &more[1]);
  const size_t notified = notifier_->completions().Take(notified_, kCompletionRoom, &more[2]);
  const int end = requests == 0 ? reader_->TakeEnd() : 0;
  if (more[0] || more[1] || more[2] || (requests > 0 && end == 0 && reader_->HasEnd())) wakeup_->Signal();
  for (size_t i = 0; i < written; i++) {
    auto found = pinned_.find(written_[i].id);
    if (found == pinned_.end()) continue;
    napi_delete_reference(env, found->second);
    pinned_.erase(found);
  }
  if (requests + written + notified == 0 && end == 0) return;
  napi_value arguments[4];
  napi_create_uint32(env, static_cast<uint32_t>(requests), &arguments[0]);
  napi_create_uint32(env, static_cast<uint32_t>(written), &arguments[1]);
  napi_create_uint32(env, static_cast<uint32_t>(notified), &arguments[2]);
  napi_create_int32(env, end, &arguments[3]);
  napi_value function = onEvents_.Value();
  napi_value receiver;
  napi_get_undefined(env, &receiver);
  const napi_status status = napi_call_function(env, receiver, function, 4, arguments, nullptr);
  if (fd_ >= 0 && requests > 0) {
    size_t kept = 0;
    for (size_t i = 0; i < requests; i++) {
      if (batch_[i] != kKeep) batch_[kept++] = batch_[i];
    }
    reader_->GiveBack(batch_, kept);
  }
  // A throw of onEvents is a bug above us: let it surface as an uncaught exception, slots already returned.
  if (status == napi_pending_exception) {
    napi_value exception;
    napi_get_and_clear_last_exception(env, &exception);
    napi_fatal_exception(env, exception);
  }
}

Napi::Value Connection::Fd(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), fd_); }
Napi::Value Connection::ArenaBuffer(const Napi::CallbackInfo&) { return arenaBuffer_.Value(); }
Napi::Value Connection::Batch(const Napi::CallbackInfo&) { return batchArray_.Value(); }
Napi::Value Connection::Written(const Napi::CallbackInfo&) { return writtenArray_.Value(); }
Napi::Value Connection::Notified(const Napi::CallbackInfo&) { return notifiedArray_.Value(); }

Napi::Value Connection::Send(const Napi::CallbackInfo& info) {
  const Bytes bytes = RequireBytes(info.Env(), info[0]);
  const uint32_t length = Uint32At(info, 1);
  if (length < sizeof(ReplyHeader) || length > bytes.length) {
    throw Napi::RangeError::New(info.Env(), "a reply is at least 16 bytes and at most its buffer");
  }
  if (fd_ < 0) return Napi::Number::New(info.Env(), -EBADF);
  ssize_t written;
  do {
    written = write(fd_, bytes.data, length);
  } while (written < 0 && errno == EINTR);
  return Napi::Number::New(info.Env(), written < 0 ? -errno : 0);
}

Napi::Value Connection::SendChunks(const Napi::CallbackInfo& info) {
  const uint32_t length = Uint32At(info, 3);
  iovec iov[kInlineChunks + 1];
  const size_t count = FillChunks(info.Env(), info[2], length, iov, kInlineChunks + 1);
  if (fd_ < 0) return Napi::Number::New(info.Env(), -EBADF);
  ReplyHeader header = {static_cast<uint32_t>(sizeof(ReplyHeader)) + length, 0, UniqueAt(info, 0)};
  iov[0] = {&header, sizeof header};
  ssize_t written;
  do {
    written = writev(fd_, iov, static_cast<int>(count));
  } while (written < 0 && errno == EINTR);
  return Napi::Number::New(info.Env(), written < 0 ? -errno : 0);
}

Napi::Value Connection::QueueChunks(const Napi::CallbackInfo& info) {
  const uint32_t length = Uint32At(info, 3);
  const uint32_t id = Uint32At(info, 4);
  if (pinned_.count(id) != 0) throw Napi::RangeError::New(info.Env(), "this id is in use");
  uint32_t room = 0;
  napi_get_array_length(info.Env(), info[2], &room);
  WriteJob job;
  job.id = id;
  job.header = {static_cast<uint32_t>(sizeof(ReplyHeader)) + length, 0, UniqueAt(info, 0)};
  job.chunks.resize(std::min<size_t>(room, IOV_MAX - 1) + 1);
  job.chunks.resize(FillChunks(info.Env(), info[2], length, job.chunks.data(), job.chunks.size()));
  if (fd_ < 0) return Napi::Number::New(info.Env(), -EBADF);
  napi_ref reference;
  if (napi_create_reference(info.Env(), info[2], 1, &reference) != napi_ok) {
    throw Napi::Error::New(info.Env(), "the chunks cannot be pinned");
  }
  pinned_.emplace(id, reference);
  writer_->Add(std::move(job));
  return Napi::Number::New(info.Env(), 0);
}

Napi::Value Connection::GiveBack(const Napi::CallbackInfo& info) {
  const uint32_t slot = Uint32At(info, 0);
  if (fd_ < 0) return Napi::Number::New(info.Env(), -EBADF);
  if (!info[0].IsNumber() || !reader_->GiveBack(&slot, 1)) {
    throw Napi::RangeError::New(info.Env(), "this slot is not held");
  }
  return Napi::Number::New(info.Env(), 0);
}

Napi::Value Connection::Notify(const Napi::CallbackInfo& info) {
  const Bytes bytes = RequireBytes(info.Env(), info[0]);
  if (fd_ < 0) return Napi::Number::New(info.Env(), -EBADF);
  notifier_->Add(Uint32At(info, 1), std::vector<uint8_t>(bytes.data, bytes.data + bytes.length));
  return Napi::Number::New(info.Env(), 0);
}

Napi::Value Connection::OpenBacking(const Napi::CallbackInfo& info) {
  if (fd_ < 0) return Napi::Number::New(info.Env(), -EBADF);
  BackingMap map = {info[0].ToNumber().Int32Value(), 0, 0};
  const int id = ioctl(fd_, kBackingOpen, &map);
  return Napi::Number::New(info.Env(), id < 0 ? -errno : id);
}

Napi::Value Connection::CloseBacking(const Napi::CallbackInfo& info) {
  if (fd_ < 0) return Napi::Number::New(info.Env(), -EBADF);
  uint32_t id = Uint32At(info, 0);
  return Napi::Number::New(info.Env(), ioctl(fd_, kBackingClose, &id) < 0 ? -errno : 0);
}

Napi::Value Connection::AnswerOpens(const Napi::CallbackInfo& info) {
  if (info.Length() < 4) throw Napi::TypeError::New(info.Env(), "expected (nodeId, handle, flags, backingId)");
  if (fd_ < 0) return Napi::Number::New(info.Env(), -EBADF);
  opens_->Begin(IdAt(info, 0), {IdAt(info, 1), Uint32At(info, 2), static_cast<int32_t>(Uint32At(info, 3))});
  return Napi::Number::New(info.Env(), 0);
}

Napi::Value Connection::EndAnswering(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), opens_->End(IdAt(info, 0)));
}

Napi::Value Connection::AnsweredUse(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<int>(opens_->TakeUse(IdAt(info, 0))));
}

Napi::Value Connection::AnsweredNow(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), opens_->now());
}

Napi::Value Connection::AnsweredTotal(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(opens_->total()));
}

}  // namespace hawser
