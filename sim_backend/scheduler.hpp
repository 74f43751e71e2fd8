// Tasks as fibers, and the queue of what happens next. Everything runs on one thread; what happens
// at the same instant happens in the order in which it was asked for, so that runs repeat exactly.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/ports/executor.hpp"
#include "core/ports/fetchable.hpp"
#include "core/units/check.hpp"
#include "core/units/fetch_lines.hpp"
#include "sim_backend/event_queue.hpp"
#include "sim_backend/fiber.hpp"
#include "sim_backend/stacks.hpp"

namespace ferry {

class Scheduler;
class WaitList;

/// Something that happens at a point in time. It stays where it is while it is scheduled.
class Event {
 public:
  Event() = default;
  virtual ~Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  virtual void fire() = 0;
  /// It is one of the next to fire: as `Fetchable::fetch`. False: there is no step after this one.
  virtual bool fetch(int /*step*/) const { return false; }
  [[nodiscard]] bool scheduled() const { return place_ != EventQueue::none; }

 private:
  friend class Scheduler;
  EventQueue::Place place_ = EventQueue::none;  // in the scheduler's queue, while scheduled
  bool fetched_ = false;                        // likewise
};

/// An event that calls a function.
class CallbackEvent final : public Event {
 public:
  explicit CallbackEvent(std::function<void()> callback) : callback_(std::move(callback)) {}
  void fire() override { callback_(); }

 private:
  std::function<void()> callback_;
};

enum class Cancellable : bool { no, yes };

/// Stands in for a task whose wait has ended, so that it need not be continued if it would only
/// wait again.
class Watcher {
 public:
  virtual ~Watcher() = default;
  /// Whether the task goes on. Else it has blocked again (`Scheduler::block_again`). Called when
  /// the task would have gone on, as the running task, but not on its stack: it must not block, nor
  /// throw.
  [[nodiscard]] virtual bool goes_on() = 0;
};

/// A task of the simulated world. Destruction joins.
class alignas(64) SimTask final : public Task {
 public:
  ~SimTask() override;
  void join() override;
  void cancel() override;

 private:
  friend class Scheduler;
  friend class WaitList;
  /// Of its deadline; once it was woken, of its own time.
  struct Timer final : Event {
    explicit Timer(SimTask& owner) : task(owner) {}
    void fire() override;
    bool fetch(int step) const override;
    SimTask& task;
  };

  SimTask(Scheduler& scheduler, std::string name);

  // What every switch touches stands together.
  Scheduler& scheduler_;
  Fiber::State* fiber_state_ = nullptr;
  Duration lag_;  // while it runs: how far its own time is ahead of the scheduler's
  bool done_ = false;
  bool cancelled_ = false;
  bool cancellable_ = false;  // while blocked
  Wake wake_ = Wake::ready;   // likewise
  int deferrals_ = 0;

  // While blocked:
  const char* waits_for_ = nullptr;  // null once it was woken
  const void* stack_ = nullptr;
  Watcher* watcher_ = nullptr;
  const Fetchable* touches_ = nullptr;
  TimePoint not_before_;  // it goes on
  Timer timer_{*this};
  WaitList* list_ = nullptr;
  SimTask* previous_ = nullptr;
  SimTask* next_ = nullptr;

  Fiber* fiber_ = nullptr;
  std::string name_;
  std::exception_ptr thrown_;
  SimTask* joiner_ = nullptr;  // who waits for this task to end
  SimTask* all_previous_ = nullptr;
  SimTask* all_next_ = nullptr;
};

/// Tasks in the order in which they began to wait.
class WaitList {
 public:
  WaitList() = default;
  WaitList(const WaitList&) = delete;
  WaitList& operator=(const WaitList&) = delete;
  [[nodiscard]] bool empty() const { return first_ == nullptr; }
  [[nodiscard]] SimTask* first() const { return first_; }
  [[nodiscard]] bool more_than_one() const { return first_ != last_; }

 private:
  friend class Scheduler;
  void append(SimTask& task);
  void remove(SimTask& task);
  SimTask* first_ = nullptr;
  SimTask* last_ = nullptr;
};

class Scheduler {
 public:
  Scheduler() = default;
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// The time of all events that have happened. Tasks may be ahead of it.
  [[nodiscard]] TimePoint now() const { return now_; }
  /// The running task's own time; outside any task, `now`.
  [[nodiscard]] TimePoint local_now() const {
    return current_ == nullptr ? now_ : now_ + current_->lag_;
  }

  // --- For tasks and what they call ---

  /// The body starts at the present instant, after what is due already.
  [[nodiscard]] std::unique_ptr<SimTask> spawn(std::string name, std::function<void()> body);
  /// Blocks the running task, in `list` if there is one, until `wake`, the deadline or (if allowed)
  /// its cancellation. At once `cancelled` if it is cancelled already. `what` is for the message
  /// about a deadlock.
  Wake block(const char* what, TimePoint deadline, Cancellable cancellable,
             WaitList* list = nullptr);
  /// The same without a call (blocking.hpp).
  Wake block_here(const char* what, TimePoint deadline, Cancellable cancellable, WaitList* list);
  /// The same, not before a deadline, with a watcher that is asked at each end of the wait.
  Wake watch_here(const char* what, Watcher& watcher, WaitList& list);
  /// From a watcher: the task waits on.
  void block_again(const char* what, WaitList& list) {
    begin_block(current(), what, true);
    list.append(current());
  }
  /// From a watcher: how the wait has ended.
  [[nodiscard]] Wake ended_as() const { return current().wake_; }
  /// Ends the wait of a blocked task. It goes on at the present instant, or when its own time or
  /// that of the task that wakes it is reached.
  void wake(SimTask& task, Wake why);
  /// Adds to the running task's own time, without an event: it runs on, ahead of the others, until
  /// it blocks; then it does not go on before its own time. Thus a task may do what costs a little
  /// very often. Whoever shows others what they can see without waking (a mutex, its end) calls
  /// `settle` first.
  void spend(Duration cost) { current().lag_ += cost; }
  /// Blocks the running task until the others have come to its own time. Not cancellable.
  void settle();
  /// What the running task touches, beside its own stack, whenever it goes on; null: not known.
  void will_touch(const Fetchable* memory) { current().touches_ = memory; }
  [[nodiscard]] static bool blocked(const SimTask& task) { return task.waits_for_ != nullptr; }
  [[nodiscard]] SimTask& current() const {
    check(current_ != nullptr, "only a task can wait; this was called from outside any task");
    return *current_;
  }
  /// Of a blocked task: where it stopped.
  [[nodiscard]] static const void* stack_of(const SimTask& task) { return task.stack_; }
  /// Of a blocked task: when it goes on at the earliest.
  [[nodiscard]] static TimePoint not_before(const SimTask& task) { return task.not_before_; }
  /// Of a blocked task: as `Event::fetch`.
  static bool fetch(const SimTask& task, int step) {
    if (step == 0) {
      if (task.watcher_ != nullptr) {
        fetch_lines(task.watcher_, 4);  // and what it looks for, beside it on the stack
      } else {
        fetch_lines(task.fiber_state_, 1);
      }
      if (task.touches_ != nullptr) fetch_lines(task.touches_, 1);
    } else if (task.touches_ != nullptr) {
      task.touches_->fetch(step - 1);
    }
    return task.touches_ != nullptr && step <= Fetchable::last_step;
  }
  /// Whether the caller runs in a task at all.
  [[nodiscard]] bool in_task() const { return current_ != nullptr; }
  [[nodiscard]] bool cancelled() const { return current().cancelled_; }
  /// Whether a cancellable wait of the running task would end at once.
  [[nodiscard]] bool would_be_cancelled() const {
    return current().cancelled_ && current().deferrals_ == 0;
  }
  void defer_cancellation(int change);

  /// `event` must not be scheduled; a time in the past counts as now. `stack`: of the task that
  /// will go on then (`stack_of`), if that is known; it is fetched shortly before.
  void schedule(Event& event, TimePoint at, const void* stack = nullptr);
  void unschedule(Event& event);
  /// Schedules it, or brings it forward to `at`.
  void schedule_no_later(Event& event, TimePoint at, const void* stack) {
    if (!event.scheduled()) return schedule(event, at, stack);
    if (events_.at(event.place_).at <= at.since_start().count_nanoseconds()) return;
    const std::int64_t time = std::max(at, now_).since_start().count_nanoseconds();
    events_.bring_forward(event.place_, time, next_sequence_++);
  }

  // --- For whoever drives the world ---

  /// Runs all that is due by now.
  void run_due() { run_until(now_); }
  /// Runs all that is due by now, and goes on to what is due before `limit`; not beyond a point in
  /// time at which it was interrupted or the last task ended.
  void run_until(TimePoint limit);
  /// Whoever drives the world has to look at something before the clock moves on.
  void interrupt() { interrupted_ = true; }
  /// When the next event is due; `never()` if there is none.
  [[nodiscard]] TimePoint next_event() const {
    return events_.empty() ? TimePoint::never()
                           : TimePoint::at(Duration::nanoseconds(events_.front().at));
  }
  /// Moves the clock forward, never beyond the next event.
  void advance_to(TimePoint time);
  [[nodiscard]] bool something_due() const;
  /// Nothing is left to happen while tasks wait: whether a listener has changed that.
  [[nodiscard]] bool end_standstill();
  void listen_for_standstill(StandstillListener& listener) { listeners_.push_back(&listener); }
  void stop_listening(StandstillListener& listener) { std::erase(listeners_, &listener); }
  [[nodiscard]] std::uint64_t live_tasks() const { return live_tasks_; }
  /// "'a' waits for a task, 'b' waits for a condition and 3 more", for the message about a
  /// deadlock.
  [[nodiscard]] std::string blocked_tasks() const;

  [[nodiscard]] std::uint64_t tasks_spawned() const { return tasks_spawned_; }
  [[nodiscard]] std::uint64_t task_switches() const { return task_switches_; }
  [[nodiscard]] std::uint64_t events_fired() const { return events_fired_; }

 private:
  friend class SimTask;
  struct Ready {
    std::uint64_t sequence;
    SimTask* task;
  };
  /// First in, first out.
  class ReadyQueue {
   public:
    [[nodiscard]] bool empty() const { return first_ == end_; }
    [[nodiscard]] const Ready& front() const { return ring_[first_ & last_place_]; }
    void pop_front() { ++first_; }
    void push_back(const Ready& ready) {
      if (end_ - first_ == ring_.size()) grow();
      ring_[end_++ & last_place_] = ready;
    }

   private:
    void grow();
    std::vector<Ready> ring_;  // a power of two of places
    std::size_t first_ = 0;
    std::size_t end_ = 0;
    std::size_t last_place_ = 0;  // of the ring
  };
  void begin_block(SimTask& task, const char* what, bool may_cancel) {
    task.waits_for_ = what;
    task.cancellable_ = may_cancel;
    task.not_before_ = now_ + task.lag_;
    task.lag_ = Duration::zero();
  }
  /// What few tasks need stays in the caches: to fetch it makes ping-pong of 64 ranks a fifth
  /// slower.
  static constexpr std::uint64_t few_tasks = 128;
  void fetch_soon();
  void forget_fetched(Event& event) {
    if (!event.fetched_) return;
    event.fetched_ = false;
    --fetched_;
  }
  void join(SimTask& task);
  void cancel(SimTask& task);
  void make_ready(SimTask& task);
  /// At `time`, if that is to come. Its timer must be free.
  void make_ready_at(SimTask& task, TimePoint time);
  void finished(SimTask& task);

  TimePoint now_;
  std::uint64_t next_sequence_ = 0;
  EventQueue events_;
  ReadyQueue ready_;
  SimTask* current_ = nullptr;
  std::size_t fetched_ = 0;  // events that are, and have not fired
  bool interrupted_ = false;
  bool watching_ = false;   // what runs is a watcher, not the task
  SimTask* all_ = nullptr;  // tasks that have not ended, the newest first

  StackPool stacks_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_fibers_;

  std::vector<StandstillListener*> listeners_;
  std::uint64_t live_tasks_ = 0;
  std::uint64_t tasks_spawned_ = 0;
  std::uint64_t task_switches_ = 0;
  std::uint64_t events_fired_ = 0;
};

}  // namespace ferry
