#include "sim_backend/scheduler.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/units/check.hpp"
#include "core/units/fetch_lines.hpp"
#include "sim_backend/blocking.hpp"

namespace ferry {

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

bool SimTask::Timer::fetch(int step) const { return Scheduler::fetch(task, step); }

void SimTask::Timer::fire() {
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

// --- Scheduler: time ---

bool Scheduler::something_due() const { return !ready_.empty() || next_event() <= now_; }

bool Scheduler::end_standstill() {
  for (StandstillListener* const listener : listeners_) listener->stands_still();
  return !ready_.empty() || !events_.empty();
}

// What many tasks need is not in the nearest caches when their turns come. It is asked for some
// events ahead, for several of them at once and step by step, so that hardly anything is waited for
// (group prefetching: Chen, Ailamaki, Gibbons and Mowry, "Improving hash join performance through
// prefetching", ICDE 2004).
[[gnu::noinline]] void Scheduler::fetch_soon() {
  constexpr int most = 16;
  std::array<const Event*, most> soon;  // NOLINT(cppcoreguidelines-pro-type-member-init)
  std::size_t count = 0;
  events_.look_at_next(most, [&](const EventQueue::Entry& next) {
    next.event->fetched_ = true;
    // Timers stand in the middle of their tasks.
    ask_for_lines(reinterpret_cast<const std::byte*>(next.event) - cache_line, 1);
    if (next.stack != nullptr) {
      fetch_lines(next.stack, 4);
      ask_for_lines(static_cast<const std::byte*>(next.stack) - cache_line, 1);
    }
    soon[count++] = next.event;
  });
  fetched_ = count;
  for (int step = 0; count != 0; ++step) {
    std::size_t left = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const Event* const event = soon[i];
      if (event->fetch(step)) soon[left++] = event;
    }
    count = left;
  }
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
        forget_fetched(event);
        if (fetched_ == 0 && live_tasks_ >= few_tasks) fetch_soon();
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
  forget_fetched(event);
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
