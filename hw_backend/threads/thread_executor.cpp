#include "hw_backend/threads/thread_executor.hpp"

#include <pthread.h>

#include <cmath>
#include <deque>
#include <exception>
#include <thread>
#include <utility>

#include "core/units/check.hpp"

namespace ferry {
namespace {

using std::chrono::nanoseconds;

/// Beyond this, a deadline is not handed to the system: its own arithmetic would overflow.
constexpr long double longest_wait_nanoseconds = 100.0L * 365 * 24 * 3600 * 1e9L;

/// Of the task that runs in this thread.
thread_local Parker* current_parker = nullptr;

Parker& current() {
  check(current_parker != nullptr,
        "only a task of the world waits on its ports: this thread is none");
  return *current_parker;
}

/// Makes the thread a task for as long as it lives.
class TaskScope {
 public:
  explicit TaskScope(Parker& parker) : outer_(std::exchange(current_parker, &parker)) {}
  ~TaskScope() { current_parker = outer_; }
  TaskScope(const TaskScope&) = delete;
  TaskScope& operator=(const TaskScope&) = delete;

 private:
  Parker* outer_;
};

class ThreadMutex final : public Mutex {
 public:
  void lock() override { mutex_.lock(); }
  void unlock() override { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class ThreadCondition final : public Condition {
 public:
  Wake wait_until(Mutex& mutex, TimePoint deadline) override {
    Parker& parker = current();
    Waiter self{&parker};
    {
      const std::lock_guard guard(waiters_mutex_);
      waiters_.push_back(&self);
    }
    mutex.unlock();
    const Wake wake = wait(self, deadline);
    if (wake == Wake::timed_out && deadline <= parker.clock().now()) {
      // A caller that loops with a deadline in the past must let whoever wants the mutex have it;
      // a mere yield returns at once on an idle machine, before the other thread has woken.
      std::this_thread::sleep_for(std::chrono::microseconds(1));
    }
    mutex.lock();
    return wake;
  }

  void notify_one() override {
    const std::lock_guard guard(waiters_mutex_);
    notify_first();
  }

  void notify_all() override {
    const std::lock_guard guard(waiters_mutex_);
    while (!waiters_.empty()) notify_first();
  }

 private:
  struct Waiter {
    Parker* parker;
    bool notified = false;
  };

  Wake wait(Waiter& self, TimePoint deadline) {
    for (;;) {
      const Wake wake = self.parker->park(deadline);
      const std::lock_guard guard(waiters_mutex_);
      if (self.notified) {
        if (wake != Wake::cancelled) return Wake::ready;
        notify_first();  // a cancelled task does not act on the notification: another one must
        return wake;
      }
      if (wake != Wake::ready) {
        std::erase(waiters_, &self);
        return wake;
      }
    }
  }

  /// The waiter stays alive meanwhile: it leaves `wait` only through `waiters_mutex_`.
  void notify_first() {
    if (waiters_.empty()) return;
    Waiter* const first = waiters_.front();
    waiters_.pop_front();
    first->notified = true;
    first->parker->unpark();
  }

  std::mutex waiters_mutex_;
  std::deque<Waiter*> waiters_;
};

/// What a task's thread and its handle share.
struct TaskState {
  explicit TaskState(const ThreadClock& clock) : parker(clock) {}
  Parker parker;
  std::exception_ptr error;  ///< written before the thread ends, read after it was joined
};

class ThreadTask final : public Task {
 public:
  ThreadTask(std::shared_ptr<TaskState> state, std::thread thread)
      : state_(std::move(state)), thread_(std::move(thread)) {}
  ~ThreadTask() override { end(); }

  void join() override {
    if (std::exception_ptr error = end()) std::rethrow_exception(std::move(error));
  }
  void cancel() override { state_->parker.cancel(); }

 private:
  /// Joins; what the task threw, to the first caller.
  std::exception_ptr end() {
    const std::lock_guard guard(join_mutex_);
    if (thread_.joinable()) {
      check(thread_.get_id() != std::this_thread::get_id(), "a task does not join itself");
      thread_.join();
    }
    return std::exchange(state_->error, nullptr);
  }

  std::shared_ptr<TaskState> state_;
  std::mutex join_mutex_;
  std::thread thread_;
};

void name_this_thread(const std::string& name) {
  constexpr std::size_t longest = 15;  // of Linux, which refuses longer names
  pthread_setname_np(pthread_self(), name.substr(0, longest).c_str());
}

}  // namespace

ThreadClock::ThreadClock(double speed, TimePoint start)
    : speed_(speed), offset_(start.since_start()) {}

TimePoint ThreadClock::now() const {
  const auto real = std::chrono::steady_clock::now() - start_;
  const auto real_nanoseconds =
      static_cast<long double>(std::chrono::duration_cast<nanoseconds>(real).count());
  return TimePoint::at(offset_ + Duration::nanoseconds(static_cast<std::int64_t>(
                                     std::floor(real_nanoseconds * speed_))));
}

std::optional<ThreadClock::RealTime> ThreadClock::real_time(TimePoint deadline) const {
  const long double real_nanoseconds =
      (static_cast<long double>(deadline.since_start().count_nanoseconds()) -
       static_cast<long double>(offset_.count_nanoseconds())) /
      speed_;
  if (real_nanoseconds > longest_wait_nanoseconds) return std::nullopt;
  return start_ + nanoseconds(static_cast<std::int64_t>(std::ceil(real_nanoseconds)));
}

Wake Parker::park(TimePoint deadline) {
  const std::optional<ThreadClock::RealTime> real_deadline = clock_.real_time(deadline);
  std::unique_lock guard(mutex_);
  for (;;) {
    if (ends_waits()) return Wake::cancelled;
    if (std::exchange(unparked_, false)) return Wake::ready;
    if (clock_.now() >= deadline) return Wake::timed_out;
    if (real_deadline) {
      wake_.wait_until(guard, *real_deadline);
    } else {
      wake_.wait(guard);
    }
  }
}

void Parker::unpark() {
  const std::lock_guard guard(mutex_);
  unparked_ = true;
  wake_.notify_one();
}

void Parker::cancel() {
  const std::lock_guard guard(mutex_);
  cancelled_ = true;
  wake_.notify_one();
  if (sleep_ != nullptr) sleep_->interrupt();
}

void Parker::defer_cancellation(int change) {
  const std::lock_guard guard(mutex_);
  deferred_ += change;
  check(deferred_ >= 0, "cancellation is deferred as often as it is allowed again");
}

bool Parker::cancelled() const { return cancelled_.load(); }

void Parker::sleeps_on(Sleep* sleep) {
  const std::lock_guard guard(mutex_);
  sleep_ = sleep;
}

Parker* parker_of_this_thread() { return current_parker; }

struct ThreadExecutor::LiveTasks {
  std::mutex mutex;
  std::condition_variable none_left;
  std::size_t count = 0;

  void change(int by) {
    const std::lock_guard guard(mutex);
    count += static_cast<std::size_t>(by);
    if (count == 0) none_left.notify_all();
  }
};

ThreadExecutor::ThreadExecutor(const ThreadClock& clock)
    : clock_(clock), live_(std::make_shared<LiveTasks>()) {}
ThreadExecutor::~ThreadExecutor() {
  const std::lock_guard guard(live_->mutex);
  check(live_->count == 0, "every task has ended before its executor goes");
}

std::unique_ptr<Task> ThreadExecutor::spawn(std::string name, std::function<void()> body) {
  auto state = std::make_shared<TaskState>(clock_);
  live_->change(+1);
  auto run = [state, live = live_, name = std::move(name), body = std::move(body)]() mutable {
    name_this_thread(name);
    {
      const TaskScope scope(state->parker);
      try {
        body();
      } catch (...) {
        state->error = std::current_exception();
      }
      body = nullptr;  // what it captured goes while the thread is still a task
    }
    live->change(-1);
  };
  std::thread thread;
  try {
    thread = std::thread(std::move(run));
  } catch (...) {
    live_->change(-1);
    throw;
  }
  return std::make_unique<ThreadTask>(std::move(state), std::move(thread));
}

std::unique_ptr<Mutex> ThreadExecutor::make_mutex() { return std::make_unique<ThreadMutex>(); }
std::unique_ptr<Condition> ThreadExecutor::make_condition() {
  return std::make_unique<ThreadCondition>();
}
bool ThreadExecutor::cancelled() const { return current().cancelled(); }
bool ThreadExecutor::would_be_cancelled() const { return current().ends_waits(); }
void ThreadExecutor::defer_cancellation(int change) { current().defer_cancellation(change); }

void ThreadExecutor::adopt(const std::function<void()>& body) {
  Parker parker(clock_);
  const TaskScope scope(parker);
  body();
}

void ThreadExecutor::wait_for_tasks() {
  std::unique_lock guard(live_->mutex);
  live_->none_left.wait(guard, [this] { return live_->count == 0; });
}

Wake ThreadSleeper::sleep_until(TimePoint deadline) {
  Parker& parker = current();
  for (;;) {
    const Wake wake = parker.park(deadline);
    if (wake != Wake::ready) return wake;
  }
}

}  // namespace ferry
