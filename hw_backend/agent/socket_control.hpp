// A control link over a Unix socket, or another stream with a descriptor.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "core/ports/control.hpp"
#include "core/ports/executor.hpp"
#include "hw_backend/agent/agent_channel.hpp"
#include "hw_backend/agent/control_inbox.hpp"

namespace ferry::agent {

/// A thread of its own reads and writes, and opens the stream again when it has broken.
class SocketControl final : public Control {
 public:
  /// `open` gives a descriptor that does not block, or -1: then it is called again soon.
  SocketControl(Executor& executor, std::function<int()> open);
  ~SocketControl() override;
  bool send(std::span<const std::byte> message) override;
  Received receive(TimePoint deadline) override { return inbox_.next(deadline); }
  void notify() override { inbox_.notify(); }
  [[nodiscard]] std::uint64_t openings() const override { return inbox_.openings(); }

 private:
  void serve();
  void serve_stream(int file);
  void wake();

  std::function<int()> open_;
  ControlInbox inbox_;
  std::mutex mutex_;
  FramedStream stream_;  ///< under the mutex
  bool is_open_ = false;
  std::atomic<bool> stopping_ = false;
  int wake_ = -1;  ///< an eventfd
  std::thread thread_;
};

/// For `SocketControl`: connects to the socket at `path`.
[[nodiscard]] std::function<int()> connecting_to(std::string path);
/// For tests of both ends: listens at `path`, which is made anew and goes with it, and takes whoever
/// comes.
[[nodiscard]] std::function<int()> listening_at(std::string path);

}  // namespace ferry::agent
