// A place that one task at a time may hold, given in the order of asking. Unlike a `Mutex` it is
// held over blocking calls; waiting for it has a deadline and ends when the task is cancelled.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "core/ports/executor.hpp"

namespace ferry {

class FifoGate {
 public:
  explicit FifoGate(Executor& executor);
  /// Blocks. `ready`: the caller holds the place and must `leave`; otherwise it has left the queue.
  Wake enter(TimePoint deadline);
  void leave();

 private:
  std::unique_ptr<Mutex> mutex_;
  std::unique_ptr<Condition> first_changed_;
  std::deque<std::uint64_t> queue_;  ///< tickets; the first one holds the place
  std::uint64_t next_ticket_ = 0;
};

}  // namespace ferry
