// Connection: what JS holds of one /dev/fuse descriptor.
//
//   new Connection(fd, writerThreads, onEvents)
//
// Lifetime: it owns `fd` from construction on. Its threads run until stop(), which joins them and closes the
// descriptor; while they run the object keeps itself alive. stop() may be called twice, from within onEvents, and is
// called when the environment ends. Afterwards every method answers -EBADF and the arena stays readable.
//
// onEvents(requests, written, notified, end) is called once for a batch:
//   requests   slots now in `batch`; each is given back when onEvents returns, except those that JS overwrote with KEEP
//   written    pairs (id, errno) in `written`: large replies whose memory is free again
//   notified   pairs (id, errno) in `notified`
//   end        0, or once the errno that ended the connection
#pragma once

#include <napi.h>
#include <memory>
#include <unordered_map>

#include "arena.h"
#include "notifier.h"
#include "open-table.h"
#include "reader.h"
#include "wakeup.h"
#include "writer.h"

namespace hawser {

class Connection : public Napi::ObjectWrap<Connection> {
 public:
  static Napi::Function Define(Napi::Env env);
  explicit Connection(const Napi::CallbackInfo& info);
  ~Connection() override;

 private:
  static constexpr uint32_t kKeep = 0xffffffff;
  static constexpr size_t kCompletionRoom = 256;
  static constexpr size_t kInlineChunks = 64;

  Napi::Value Fd(const Napi::CallbackInfo& info);
  Napi::Value ArenaBuffer(const Napi::CallbackInfo& info);
  Napi::Value Batch(const Napi::CallbackInfo& info);
  Napi::Value Written(const Napi::CallbackInfo& info);
  Napi::Value Notified(const Napi::CallbackInfo& info);

  // send(bytes, length): writes one whole reply now. Returns 0 or -errno.
  Napi::Value Send(const Napi::CallbackInfo& info);
  // sendChunks(uniqueLow, uniqueHigh, chunks, lengthBytes): a reply of header + chunks now. Returns 0 or -errno.
  Napi::Value SendChunks(const Napi::CallbackInfo& info);
  // queueChunks(uniqueLow, uniqueHigh, chunks, lengthBytes, id): the same by a writer thread. Returns 0 or -errno.
  Napi::Value QueueChunks(const Napi::CallbackInfo& info);
  // giveBack(slot): a slot that was kept.
  Napi::Value GiveBack(const Napi::CallbackInfo& info);
  // notify(message, id). Returns 0 or -errno.
  Napi::Value Notify(const Napi::CallbackInfo& info);
  // openBacking(fd): the backing id, or -errno.
  Napi::Value OpenBacking(const Napi::CallbackInfo& info);
  // closeBacking(id): 0 or -errno.
  Napi::Value CloseBacking(const Napi::CallbackInfo& info);
  // answerOpens(nodeId, handle, flags, backingId): opens of the node are answered so until endAnswering.
  Napi::Value AnswerOpens(const Napi::CallbackInfo& info);
  // endAnswering(nodeId): how many of them go on.
  Napi::Value EndAnswering(const Napi::CallbackInfo& info);
  // answeredUse(nodeId): 2 while one goes on, 1 when one was answered since this was asked last, 0 otherwise.
  Napi::Value AnsweredUse(const Napi::CallbackInfo& info);
  // Opens so answered: those that go on, and all.
  Napi::Value AnsweredNow(const Napi::CallbackInfo& info);
  Napi::Value AnsweredTotal(const Napi::CallbackInfo& info);
  Napi::Value StopFromJs(const Napi::CallbackInfo& info);

  void OnWake(Napi::Env env);
  void Stop();
  static void OnEnvironmentEnd(void* self);

  Napi::Env env_;
  int fd_ = -1;  // -1 once stopped
  std::shared_ptr<Arena> arena_;
  std::shared_ptr<Wakeup> wakeup_;
  std::shared_ptr<OpenTable> opens_;
  std::unique_ptr<Reader> reader_;
  std::unique_ptr<Writer> writer_;
  std::unique_ptr<Notifier> notifier_;
  Napi::FunctionReference onEvents_;
  Napi::ObjectReference arenaBuffer_, batchArray_, writtenArray_, notifiedArray_;
  uint32_t* batch_ = nullptr;
  Completion* written_ = nullptr;
  Completion* notified_ = nullptr;
  // What pins the memory of replies that writer threads hold, by job id.
  std::unordered_map<uint32_t, napi_ref> pinned_;
};

}  // namespace hawser
