// `Scheduler::block` without a call, for what blocks as often as messages arrive: see
// fiber_state.hpp.
#pragma once

#include <algorithm>

#include "sim_backend/fiber_state.hpp"
#include "sim_backend/scheduler.hpp"

namespace ferry {

[[gnu::always_inline]] inline Wake Scheduler::block_here(const char* what, TimePoint deadline,
                                                         Cancellable cancellable, WaitList* list) {
  SimTask& task = current();
  const bool may_cancel = cancellable == Cancellable::yes;
  if (may_cancel && task.cancelled_ && task.deferrals_ == 0) return Wake::cancelled;
  check(!watching_, "who looks for a task must not block");
  begin_block(task, what, may_cancel);
  task.stack_ = __builtin_frame_address(0);
  if (deadline != TimePoint::never()) {
    schedule(task.timer_, std::max(deadline, task.not_before_), task.stack_);
  }
  if (list != nullptr) list->append(task);
  task.fiber_state_->leave();
  return task.wake_;
}

[[gnu::always_inline]] inline Wake Scheduler::watch_here(const char* what, Watcher& watcher,
                                                         WaitList& list) {
  SimTask& task = current();
  task.watcher_ = &watcher;
  const Wake wake = block_here(what, TimePoint::never(), Cancellable::yes, &list);
  task.watcher_ = nullptr;
  return wake;
}

}  // namespace ferry
