// Tasks and what they wait on. In simulation a task is a fiber, in the real world a thread.
// Blocking on a port is the only way to wait; every wait has a deadline and ends when its task is
// cancelled.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/ports/clock.hpp"
#include "core/ports/fetchable.hpp"

namespace ferry {

/// Mutual exclusion between tasks. Held only over code that does not block on anything else.
class Mutex {
 public:
  virtual ~Mutex() = default;
  virtual void lock() = 0;  ///< blocks; not cancellable: holders never wait
  virtual void unlock() = 0;
};

class Condition {
 public:
  virtual ~Condition() = default;
  /// Releases `mutex`, waits, takes `mutex` again. May return `ready` without a notification: test
  /// the condition in a loop. A deadline in the past returns `timed_out` after giving others a
  /// turn.
  virtual Wake wait_until(Mutex& mutex, TimePoint deadline) = 0;
  virtual void notify_one() = 0;
  virtual void notify_all() = 0;
};

/// A spawned task. Destruction joins and drops what the task threw: call `join` to see it. Never
/// join (or otherwise wait) inside a catch handler or a destructor that runs during unwinding.
class Task {
 public:
  virtual ~Task() = default;
  virtual void join() = 0;    ///< blocks until the body has returned; rethrows what it threw, once
  virtual void cancel() = 0;  ///< every present and later wait of the task returns `cancelled`
};

/// Who can do something about tasks that all wait for each other, or say more of them than their
/// names do.
class StandstillListener {
 public:
  virtual ~StandstillListener() = default;
  /// Nothing will ever happen again, and tasks wait. It may wake or cancel some; if nobody does,
  /// the world ends with an error. Outside any task; never blocks.
  virtual void stands_still() = 0;
};

class Executor {
 public:
  virtual ~Executor() = default;
  /// `name` is for diagnostics. The body starts at the present instant, after the caller blocks or
  /// at once, as the world likes; in simulation in the order of spawning.
  [[nodiscard]] virtual std::unique_ptr<Task> spawn(std::string name,
                                                    std::function<void()> body) = 0;
  [[nodiscard]] virtual std::unique_ptr<Mutex> make_mutex() = 0;
  [[nodiscard]] virtual std::unique_ptr<Condition> make_condition() = 0;
  /// Whether the calling task was cancelled.
  [[nodiscard]] virtual bool cancelled() const = 0;
  /// Defers cancellation of the calling task while the count is above zero (used by rollback, which
  /// must wait for devices although the move was cancelled). Use `Uncancellable`.
  virtual void defer_cancellation(int change) = 0;
  /// What the calling task touches whenever it goes on, from now on; null: nothing that is known.
  /// Worlds whose tasks are threads leave that to the processor.
  virtual void will_touch(const Fetchable* /*memory*/) {}
  /// Tells `listener` when the world stands still. Worlds where something may come from outside at
  /// any time never do, and never tell.
  virtual void listen_for_standstill(StandstillListener& /*listener*/) {}
  virtual void stop_listening(StandstillListener& /*listener*/) {}
};

/// Scope in which waits of the calling task are not ended by its cancellation.
class Uncancellable {
 public:
  explicit Uncancellable(Executor& executor) : executor_(executor) {
    executor_.defer_cancellation(+1);
  }
  ~Uncancellable() { executor_.defer_cancellation(-1); }
  Uncancellable(const Uncancellable&) = delete;
  Uncancellable& operator=(const Uncancellable&) = delete;

 private:
  Executor& executor_;
};

/// Scope in which a `Mutex` is held.
class Lock {
 public:
  explicit Lock(Mutex& mutex) : mutex_(mutex) { mutex_.lock(); }
  ~Lock() { mutex_.unlock(); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace ferry
