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
constexpr std::uint32_t lines_above = 12;
constexpr std::uint32_t lines_below = 4;

void fetch_lines(const std::byte* from, std::uint32_t lines) {
  for (std::uint32_t i = 0; i < lines; ++i) __builtin_prefetch(from + line_size * i);
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

void SimTask::Timer::fire() {
  if (task.nearby_[0].from != nullptr) task.scheduler_.look_ahead();
  if (Scheduler::blocked(task)) {
    task.scheduler_.wake(task, Wake::timed_out);
  } else {
    task.scheduler_.make_ready(task);
  }
}

/// The task's own lines were fetched when it was among the first five.
void SimTask::Timer::fetch() const {
  if (task.state_ == nullptr || task.frame_ == nullptr) return;
  fetch_lines(reinterpret_cast<const std::byte*>(task.state_), 2);
  fetch_lines(task.frame_ - line_size * lines_below, lines_below + lines_above);
  for (const Nearby& nearby : task.nearby_) fetch_lines(nearby.from, nearby.lines);
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
  task->state_ = &task->fiber_->state();
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
  schedule(task.timer_, now_ + task.lag_);
  task.lag_ = Duration::zero();
  task.state_->leave();
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
  task.state_ = nullptr;
  --live_tasks_;
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
  return !ready_.empty() || !heap_.empty();
}

void Scheduler::run_due() {
  const std::int64_t now = now_.since_start().count_nanoseconds();
  for (;;) {
    const bool event_due = !heap_.empty() && heap_[0].at <= now;
    if (event_due && (ready_.empty() || heap_[0].sequence < ready_.front().sequence)) {
      Event& event = *slots_[heap_[0].slot].event;
      remove_at(0);
      ++events_fired_;
      event.fire();
    } else if (!ready_.empty()) {
      SimTask& task = *ready_.front().task;
      ready_.pop_front();
      ++task_switches_;
      current_ = &task;
      Fiber::State& state = *task.state_;
      state.enter();
      current_ = nullptr;
      // A task that is not done blocks in a list of its own, so it still exists.
      if (state.work == nullptr) finished(task);
    } else {
      return;
    }
  }
}

/// Tasks' memory is more than the processor's caches hold, and each lies elsewhere. So what the
/// next event will touch is fetched while the present one is dealt with, and of those after it,
/// which are among the first of the heap, the beginning, which says where the rest is. Only tasks
/// that say what they will look at ask for it: for others, which do little at a time, it takes more
/// than it saves.
void Scheduler::look_ahead() const {
  if (heap_.empty()) return;
  slots_[heap_[0].slot].event->fetch();
  const std::size_t end = std::min<std::size_t>(5, heap_.size());
  for (std::size_t i = 1; i < end; ++i) {
    // A task's timer stands at its end.
    const auto* const event = reinterpret_cast<const std::byte*>(slots_[heap_[i].slot].event);
    fetch_lines(event - 2 * line_size, 3);
  }
}

void Scheduler::advance_to(TimePoint time) {
  check(time >= now_ && ready_.empty(), "time moves forward once nothing is due");
  now_ = time;
}

void Scheduler::schedule(Event& event, TimePoint at) {
  check(!event.scheduled(), "an event was scheduled twice");
  if (at < now_) at = now_;
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  event.slot_ = free_slots_.back();
  free_slots_.pop_back();
  slots_[event.slot_].event = &event;
  heap_.push_back({});
  sift_up(heap_.size() - 1, {at.since_start().count_nanoseconds(), next_sequence_++, event.slot_});
}

void Scheduler::unschedule(Event& event) {
  check(event.scheduled(), "an event was taken back that is not scheduled");
  remove_at(slots_[event.slot_].position);
}

void Scheduler::ReadyQueue::grow() {
  std::vector<Ready> larger(std::max<std::size_t>(16, 2 * ring_.size()));
  for (std::size_t i = first_; i != end_; ++i) {
    larger[i - first_] = ring_[i & (ring_.size() - 1)];
  }
  end_ -= first_;
  first_ = 0;
  ring_ = std::move(larger);
}

// A heap in which each entry has four children: as many comparisons as a binary one, half the
// levels.

void Scheduler::remove_at(std::size_t position) {
  const std::uint32_t slot = heap_[position].slot;
  slots_[slot].event->slot_ = Event::none;
  free_slots_.push_back(slot);
  const HeapEntry last = heap_.back();
  heap_.pop_back();
  if (position == heap_.size()) return;
  if (position > 0 && last < heap_[(position - 1) / 4]) {
    sift_up(position, last);
  } else {
    sift_down(position, last);
  }
}

void Scheduler::sift_up(std::size_t position, HeapEntry entry) {
  while (position > 0) {
    const std::size_t parent = (position - 1) / 4;
    if (!(entry < heap_[parent])) break;
    place(position, heap_[parent]);
    position = parent;
  }
  place(position, entry);
}

void Scheduler::sift_down(std::size_t position, HeapEntry entry) {
  for (;;) {
    const std::size_t first = 4 * position + 1;
    if (first >= heap_.size()) break;
    std::size_t least = first;
    for (std::size_t child = first + 1; child < first + 4 && child < heap_.size(); ++child) {
      if (heap_[child] < heap_[least]) least = child;
    }
    if (!(heap_[least] < entry)) break;
    place(position, heap_[least]);
    position = least;
  }
  place(position, entry);
}

}  // namespace ferry
