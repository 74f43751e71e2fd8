// Where messages of a rank wait until it asks for them.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <mutex>

#include "core/ports/bootstrap.hpp"

namespace ferry {

/// Used by any thread.
class Mailbox {
 public:
  /// False: it was full, and the message is lost.
  bool put(BootstrapTopic topic, BootstrapMessage message);
  [[nodiscard]] std::optional<BootstrapMessage> take(BootstrapTopic topic);
  void notify_of(BootstrapTopic topic, WaitSet* wait_set);

 private:
  struct Box {
    std::atomic<std::size_t> waiting{0};
    std::mutex mutex;
    std::deque<BootstrapMessage> messages;
    WaitSet* wait_set = nullptr;
  };
  std::array<Box, bootstrap_topic_count> boxes_;
};

}  // namespace ferry
