// Notifier: one thread that sends notifications to the kernel.
//
// It is a thread of its own because the kernel may block it: INVAL_ENTRY waits for the folder's lock, which is held
// until a LOOKUP under way in that folder is answered, by JS.
//
// Lifetime: the thread shares ownership of its state. Stop() joins it when it ends within kPatienceMs; else the kernel
// still holds it, and it is left to end by itself as soon as the connection is aborted: joining would wait for an
// answer that nobody is left to give.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "completions.h"
#include "wakeup.h"

namespace hawser {

class Notifier {
 public:
  Notifier(int fd, std::shared_ptr<Wakeup> wakeup);
  ~Notifier();

  void Start();
  void Stop();
  // A whole message, header included.
  void Add(uint32_t id, std::vector<uint8_t> message);
  Completions& completions() { return state_->completions; }

 private:
  static constexpr int kPatienceMs = 1000;

  struct Message {
    uint32_t id;
    std::vector<uint8_t> bytes;
  };

  struct State {
    int fd;
    std::shared_ptr<Wakeup> wakeup;
    Completions completions;
    std::mutex mutex;  // guards everything below
    std::condition_variable changed;
    std::deque<Message> messages;
    bool stopping = false;
    bool ended = false;
  };

  static void Run(const std::shared_ptr<State>& state);

  std::shared_ptr<State> state_;
  std::thread thread_;
};

}  // namespace hawser
