// What one rank waits on: arrivals at its endpoint, and being told of something else.
#pragma once

#include "core/ports/clock.hpp"

namespace ferry {

/// What a task looks for while it waits.
class Look {
 public:
  virtual ~Look() = default;
  /// Whether the task is to go on. Acts for the task, and never blocks: a world may call it without
  /// continuing the task.
  [[nodiscard]] virtual bool look() = 0;
};

/// Tasks of one rank wait here; any number of them, and all are woken.
class WaitSet {
 public:
  virtual ~WaitSet() = default;
  /// Blocks the calling task until an endpoint of this set has an arrival or room again, or
  /// `notify` was called since the last `wait` returned; `timed_out` at the deadline, `cancelled`:
  /// also when the VM of these endpoints runs nowhere any more, as a rank ends with its guest.
  /// May return `ready` for nothing: look again. On hardware it spins a little, then sleeps; in
  /// simulation it is an event.
  virtual Wake wait(TimePoint deadline) = 0;
  /// Waits again and again, and looks each time that `wait` would have returned `ready`, until that
  /// is true. `ready`, then, or `cancelled`. What the look throws passes through. In simulation the
  /// waits that end in vain take no switch to the task.
  virtual Wake wait_until(Look& look) {
    for (;;) {
      const Wake wake = wait(TimePoint::never());
      if (wake != Wake::ready || look.look()) return wake;
    }
  }
  /// Wakes who waits, or who waits next. From any task; never blocks.
  virtual void notify() = 0;
  /// Lets time pass after a look that found nothing, so that an application that polls ends: in
  /// simulation the cost of a poll, on hardware next to nothing.
  virtual void pause() = 0;
};

}  // namespace ferry
