#include "sim_backend/sim_executor.hpp"

#include <utility>

#include "core/units/check.hpp"

namespace ferry {
namespace {

class SimMutex final : public Mutex {
 public:
  explicit SimMutex(Scheduler& scheduler) : scheduler_(scheduler) {}

  void lock() override {
    // Others see what is written under it. Who drives the world, and is no task, has no time of its
    // own.
    if (scheduler_.in_task()) scheduler_.settle();
    if (!held_) {
      held_ = true;
      return;
    }
    // The one who unlocks hands it over: `held_` stays.
    scheduler_.block("a mutex", TimePoint::never(), Cancellable::no, &waiting_);
  }

  void unlock() override {
    check(held_, "a mutex was unlocked that nobody holds");
    if (waiting_.empty()) {
      held_ = false;
    } else {
      scheduler_.wake(*waiting_.first(), Wake::ready);
    }
  }

 private:
  Scheduler& scheduler_;
  WaitList waiting_;
  bool held_ = false;
};

class SimCondition final : public Condition {
 public:
  explicit SimCondition(Scheduler& scheduler) : scheduler_(scheduler) {}

  Wake wait_until(Mutex& mutex, TimePoint deadline) override {
    mutex.unlock();
    const Wake wake = scheduler_.block("a condition", deadline, Cancellable::yes, &waiting_);
    mutex.lock();
    return wake;
  }
  void notify_one() override {
    if (!waiting_.empty()) scheduler_.wake(*waiting_.first(), Wake::ready);
  }
  void notify_all() override {
    while (!waiting_.empty()) scheduler_.wake(*waiting_.first(), Wake::ready);
  }

 private:
  Scheduler& scheduler_;
  WaitList waiting_;
};

}  // namespace

Wake SimClock::sleep_until(TimePoint deadline) {
  // A deadline that has passed still gives the others their turn.
  return scheduler_.block("a point in time", deadline, Cancellable::yes);
}

std::unique_ptr<Task> SimExecutor::spawn(std::string name, std::function<void()> body) {
  return scheduler_.spawn(std::move(name), std::move(body));
}

std::unique_ptr<Mutex> SimExecutor::make_mutex() { return std::make_unique<SimMutex>(scheduler_); }

std::unique_ptr<Condition> SimExecutor::make_condition() {
  return std::make_unique<SimCondition>(scheduler_);
}

}  // namespace ferry
