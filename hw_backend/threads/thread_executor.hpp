// Tasks as threads. Every wait of a task ends in its `Parker`, so that one place knows how to end
// it: by a notification, by the deadline, or by cancellation. Nothing polls.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>

#include "core/ports/executor.hpp"

namespace ferry {

/// The machine's steady clock since the world began, times a speed, plus where it started.
class ThreadClock {
 public:
  using RealTime = std::chrono::steady_clock::time_point;

  /// `start`: what it shows when it is made.
  explicit ThreadClock(double speed, TimePoint start = TimePoint::start());
  [[nodiscard]] TimePoint now() const;
  /// The real time at which `now()` reaches `deadline`; none if that is more than 100 years away.
  [[nodiscard]] std::optional<RealTime> real_time(TimePoint deadline) const;

 private:
  double speed_;
  Duration offset_;  ///< what it showed when it was made
  RealTime start_ = std::chrono::steady_clock::now();
};

/// Something else than its parker that a task sleeps on.
class Sleep {
 public:
  virtual ~Sleep() = default;
  /// Ends it, soon. From any thread, while the parker knows it; takes no lock of a parker.
  virtual void interrupt() = 0;
};

/// Where one task waits. Only that task parks; any thread may unpark or cancel it.
class Parker {
 public:
  explicit Parker(const ThreadClock& clock) : clock_(clock) {}
  /// Blocks until unparked (also if that was earlier), cancelled or `deadline`. May end as `ready`
  /// because of an old unpark: look at what was waited for.
  Wake park(TimePoint deadline);
  void unpark();
  void cancel();
  void defer_cancellation(int change);
  [[nodiscard]] bool cancelled() const;
  /// Whether a wait of this task ends as cancelled. Only by that task.
  [[nodiscard]] bool ends_waits() const { return cancelled_.load() && deferred_ == 0; }
  /// The task is about to sleep on `sleep`: until `null` is said, its cancellation interrupts that.
  /// Only by that task; look at `ends_waits` afterwards.
  void sleeps_on(Sleep* sleep);
  [[nodiscard]] const ThreadClock& clock() const { return clock_; }

 private:
  const ThreadClock& clock_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool unparked_ = false;
  Sleep* sleep_ = nullptr;
  /// Written under the mutex; read without it by `cancelled`, which tasks ask at every wait.
  std::atomic<bool> cancelled_ = false;
  int deferred_ = 0;
};

/// Of the calling thread; null: it is no task.
[[nodiscard]] Parker* parker_of_this_thread();

class ThreadExecutor final : public Executor {
 public:
  explicit ThreadExecutor(const ThreadClock& clock);
  ~ThreadExecutor() override;
  /// Throws std::system_error if the machine refuses another thread.
  [[nodiscard]] std::unique_ptr<Task> spawn(std::string name, std::function<void()> body) override;
  [[nodiscard]] std::unique_ptr<Mutex> make_mutex() override;
  [[nodiscard]] std::unique_ptr<Condition> make_condition() override;
  [[nodiscard]] bool cancelled() const override;
  void defer_cancellation(int change) override;
  /// Whether a wait of the calling task would end at once.
  [[nodiscard]] bool would_be_cancelled() const;

  /// Runs `body` in the calling thread, which is a task of this world meanwhile.
  void adopt(const std::function<void()>& body);
  /// Blocks the calling thread, which need not be a task, until every spawned body has returned.
  void wait_for_tasks();

 private:
  struct LiveTasks;
  const ThreadClock& clock_;
  std::shared_ptr<LiveTasks> live_;
};

/// The `Clock` port of a threads world.
class ThreadSleeper final : public Clock {
 public:
  explicit ThreadSleeper(const ThreadClock& clock) : clock_(clock) {}
  [[nodiscard]] TimePoint now() const override { return clock_.now(); }
  Wake sleep_until(TimePoint deadline) override;

 private:
  const ThreadClock& clock_;
};

}  // namespace ferry
