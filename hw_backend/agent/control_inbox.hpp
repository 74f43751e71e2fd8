// What has come for a task that receives, from a thread that is no task.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "core/ports/control.hpp"
#include "core/ports/executor.hpp"

namespace ferry::agent {

class ControlInbox {
 public:
  explicit ControlInbox(Executor& executor)
      : mutex_(executor.make_mutex()), filled_(executor.make_condition()) {}

  [[nodiscard]] Control::Received next(TimePoint deadline);
  /// False: it is full, and the message was dropped.
  bool put(std::vector<std::byte> message);
  /// The present call of `next`, or the next one, ends with an empty message.
  void notify();
  void opened();
  [[nodiscard]] std::uint64_t openings() const;

 private:
  static constexpr std::size_t most_messages = 4096;
  std::unique_ptr<Mutex> mutex_;
  std::unique_ptr<Condition> filled_;
  std::deque<std::vector<std::byte>> messages_;
  bool notified_ = false;
  std::uint64_t openings_ = 0;
};

}  // namespace ferry::agent
