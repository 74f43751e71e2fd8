#include "sim_backend/scheduler.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/units/check.hpp"
#include "sim_backend/blocking.hpp"

namespace ferry {

namespace {

/// Of the processor's caches, in bytes.
constexpr std::size_t line_size = 64;
/// What a task touches of its stack when it goes on: the frames that it returns to, and calls anew.
constexpr std::size_t stack_above = 12 * line_size;
constexpr std::size_t stack_below = 8 * line_size;

void fetch_memory(const Nearby& nearby) {
  const auto* const from = static_cast<const std::byte*>(nearby.from);
  for (std::size_t i = 0; i < nearby.size; i += line_size) __builtin_prefetch(from + i);
}

}  // namespace

// --- SimTask ---

SimTask::SimTask(Scheduler& scheduler, std::string name)
    : scheduler_(scheduler), name_(std::move(name)) {}

SimTask::~SimTask() {
  if (!done_) scheduler_.join(*this);
}

void SimTask::join() {
  if (!done_) scheduler_.join(*this);
  if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
}

void SimTask::cancel() { scheduler_.cancel(*this); }

/// Its own lines were fetched when it was among those that come soon.
void SimTask::Timer::fetch() const {
  if (task.nearby_[0].from == nullptr) return;
  fetch_memory({task.fiber_state_, 2 * line_size});
  for (const Nearby& nearby : task.nearby_) fetch_memory(nearby);
}

void SimTask::Timer::fire() {
  if (task.nearby_[0].from != nullptr) task.scheduler_.look_ahead();
  if (Scheduler::blocked(task)) {
    task.scheduler_.wake(task, Wake::timed_out);
  } else {
    task.scheduler_.make_ready(task);
  }
}

// --- WaitList ---

void WaitList::append(SimTask& task) {
  task.list_ = this;
  task.previous_ = last_;
  task.next_ = nullptr;
  (last_ == nullptr ? first_ : last_->next_) = &task;
  last_ = &task;
}

void WaitList::remove(SimTask& task) {
  (task.previous_ == nullptr ? first_ : task.previous_->next_) = task.next_;
  (task.next_ == nullptr ? last_ : task.next_->previous_) = task.previous_;
  task.list_ = nullptr;
}

// --- Scheduler: tasks ---

Scheduler::~Scheduler() = default;

std::unique_ptr<SimTask> Scheduler::spawn(std::string name, std::function<void()> body) {
  std::unique_ptr<SimTask> task(new SimTask(*this, std::move(name)));
  if (idle_fibers_.empty()) {
    fibers_.push_back(std::make_unique<Fiber>(stacks_.take()));
    idle_fibers_.push_back(fibers_.back().get());
  }
  task->fiber_ = idle_fibers_.back();
  idle_fibers_.pop_back();
  task->fiber_state_ = &task->fiber_->state();
  task->fiber_->assign([raw = task.get(), work = std::move(body)] {
    try {
      work();
    } catch (...) {  // kept for join; nothing waits in here
      raw->thrown_ = std::current_exception();
    }
    raw->scheduler_.settle();
    raw->done_ = true;
  });
  ++live_tasks_;
  ++tasks_spawned_;
  task->all_next_ = all_;
  if (all_ != nullptr) all_->all_previous_ = task.get();
  all_ = task.get();
  make_ready_at(*task, local_now());
  return task;
}

Wake Scheduler::block(const char* what, TimePoint deadline, Cancellable cancellable,
                      WaitList* list) {
  return block_here(what, deadline, cancellable, list);
}

void Scheduler::wake(SimTask& task, Wake why) {
  check(blocked(task), "a task was woken that does not wait");
  if (task.list_ != nullptr) task.list_->remove(task);
  if (task.timer_.scheduled()) unschedule(task.timer_);
  task.wake_ = why;
  task.waits_for_ = nullptr;
  make_ready_at(task, std::max(task.not_before_, local_now()));
}

void Scheduler::settle() {
  SimTask& task = current();
  if (task.lag_ == Duration::zero()) return;
  check(!watching_, "who looks for a task must not block");
  schedule(task.timer_, now_ + task.lag_);
  task.lag_ = Duration::zero();
  task.fiber_state_->leave();
}

void Scheduler::make_ready_at(SimTask& task, TimePoint time) {
  if (time > now_) {
    schedule(task.timer_, time);
  } else {
    make_ready(task);
  }
}

void Scheduler::make_ready(SimTask& task) { ready_.push_back({next_sequence_++, &task}); }

void Scheduler::join(SimTask& task) {
  check(&task != current_, "a task cannot wait for its own end");
  check(task.joiner_ == nullptr, "two tasks wait for the end of the same task");
  task.joiner_ = &current();
  block("the end of a task", TimePoint::never(), Cancellable::no);
}

void Scheduler::cancel(SimTask& task) {
  if (task.done_) return;
  task.cancelled_ = true;
  if (blocked(task) && task.cancellable_ && task.deferrals_ == 0) wake(task, Wake::cancelled);
}

void Scheduler::defer_cancellation(int change) {
  SimTask& task = current();
  task.deferrals_ += change;
  check(task.deferrals_ >= 0, "cancellation was allowed again more often than it was deferred");
}

void Scheduler::finished(SimTask& task) {
  idle_fibers_.push_back(task.fiber_);
  task.fiber_ = nullptr;
  if (--live_tasks_ == 0) interrupt();
  (task.all_previous_ == nullptr ? all_ : task.all_previous_->all_next_) = task.all_next_;
  if (task.all_next_ != nullptr) task.all_next_->all_previous_ = task.all_previous_;
  if (task.joiner_ != nullptr) wake(*task.joiner_, Wake::ready);
}

std::string Scheduler::blocked_tasks() const {
  constexpr std::size_t shown = 10;
  std::vector<const SimTask*> oldest_first;
  for (const SimTask* task = all_; task != nullptr; task = task->all_next_) {
    oldest_first.push_back(task);
  }
  std::string text;
  for (std::size_t i = 0; i < oldest_first.size() && i < shown; ++i) {
    const SimTask& task = *oldest_first[oldest_first.size() - 1 - i];
    text += fmt::format("{}'{}' waits for {}", i == 0 ? "" : ", ", task.name_,
                        blocked(task) ? task.waits_for_ : "nothing");
  }
  if (oldest_first.size() > shown) {
    text += fmt::format(" and {} more", oldest_first.size() - shown);
  }
  return text;
}

void Scheduler::expect(const std::array<Nearby, 3>& nearby) {
  SimTask& task = current();
  task.nearby_ = nearby;
  const auto* const frame = static_cast<const std::byte*>(__builtin_frame_address(0));
  task.nearby_[2] = {frame - stack_below, stack_below + stack_above};
}

// --- Scheduler: time ---

/// Tasks' memory is more than the processor's caches hold, and each lies elsewhere. So what the
/// next event will touch is fetched while the present one is dealt with, and of some after it the
/// task itself, which says where the rest is. Only after tasks that say what they will look at: for
/// others, which do little at a time, it takes more than it saves.
void Scheduler::look_ahead() const {
  constexpr int soon = 4;
  if (events_.empty()) return;
  events_.front().event->fetch();
  events_.look_beyond_front(soon, [](const Event& event) {
    // A task's timer stands in the middle of it.
    fetch_memory({reinterpret_cast<const std::byte*>(&event) - 2 * line_size, 5 * line_size});
  });
}

bool Scheduler::something_due() const { return !ready_.empty() || next_event() <= now_; }

bool Scheduler::end_standstill() {
  for (StandstillListener* const listener : listeners_) listener->stands_still();
  return !ready_.empty() || !events_.empty();
}

// With some hundreds of ranks what one needs is no longer in the nearest caches when its turn
// comes. It is asked for one event ahead: who waits and for what, what looks for it and what that
// will touch, and the stack from where it stopped upwards, which its returns read.
inline void Scheduler::fetch_next() const {
  constexpr std::ptrdiff_t line = 64;
  const EventQueue::Entry& next = events_.front();
  const auto* const event = reinterpret_cast<const std::byte*>(next.event);
  __builtin_prefetch(event - line, 1);
  __builtin_prefetch(event, 1);
  if (next.event->fetch_always_) next.event->fetch();
  const auto* const stack = static_cast<const std::byte*>(next.stack);
  if (stack == nullptr) return;
  for (std::ptrdiff_t i = -1; i < 4; ++i) __builtin_prefetch(stack + i * line, 1);
}

void Scheduler::run_until(TimePoint limit) {
  interrupted_ = false;
  for (;;) {
    if (!events_.empty()) {
      const EventQueue::Entry& next = events_.front();
      const TimePoint at = TimePoint::at(Duration::nanoseconds(next.at));
      if (ready_.empty() ? at <= now_ || (at < limit && !interrupted_)
                         : at <= now_ && next.sequence < ready_.front().sequence) {
        now_ = std::max(now_, at);
        Event& event = *events_.take_front().event;
        event.place_ = EventQueue::none;
        if (!events_.empty()) fetch_next();
        ++events_fired_;
        event.fire();
        continue;
      }
    }
    if (ready_.empty()) return;
    SimTask& task = *ready_.front().task;
    ready_.pop_front();
    current_ = &task;
    if (task.watcher_ != nullptr) {
      watching_ = true;
      const bool goes_on = task.watcher_->goes_on();
      watching_ = false;
      if (!goes_on) {
        current_ = nullptr;
        continue;
      }
    }
    ++task_switches_;
    Fiber::State& fiber = *task.fiber_state_;
    fiber.enter();
    current_ = nullptr;
    // A task that is not done blocks in a list of its own, so it still exists. One that is may
    // still wait for what its work owned.
    if (task.done_ && fiber.work == nullptr) finished(task);
  }
}

void Scheduler::advance_to(TimePoint time) {
  check(time >= now_ && ready_.empty(), "time moves forward once nothing is due");
  now_ = time;
}

void Scheduler::schedule(Event& event, TimePoint at, const void* stack) {
  check(!event.scheduled(), "an event was scheduled twice");
  if (at < now_) at = now_;
  event.place_ =
      events_.push({at.since_start().count_nanoseconds(), next_sequence_++, &event, stack});
}

void Scheduler::unschedule(Event& event) {
  check(event.scheduled(), "an event was taken back that is not scheduled");
  events_.remove(std::exchange(event.place_, EventQueue::none));
}

void Scheduler::ReadyQueue::grow() {
  std::vector<Ready> larger(std::max<std::size_t>(16, 2 * ring_.size()));
  for (std::size_t i = first_; i != end_; ++i) {
    larger[i - first_] = ring_[i & last_place_];
  }
  end_ -= first_;
  first_ = 0;
  ring_ = std::move(larger);
  last_place_ = ring_.size() - 1;
}

}  // namespace ferry
