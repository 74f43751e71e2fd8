// The ports `Clock` and `Executor` on the scheduler.
#pragma once

#include "core/ports/clock.hpp"
#include "core/ports/executor.hpp"
#include "sim_backend/scheduler.hpp"

namespace ferry {

class SimClock final : public Clock {
 public:
  explicit SimClock(Scheduler& scheduler) : scheduler_(scheduler) {}
  [[nodiscard]] TimePoint now() const override { return scheduler_.local_now(); }
  Wake sleep_until(TimePoint deadline) override;

 private:
  Scheduler& scheduler_;
};

class SimExecutor final : public Executor {
 public:
  explicit SimExecutor(Scheduler& scheduler) : scheduler_(scheduler) {}
  [[nodiscard]] std::unique_ptr<Task> spawn(std::string name, std::function<void()> body) override;
  [[nodiscard]] std::unique_ptr<Mutex> make_mutex() override;
  [[nodiscard]] std::unique_ptr<Condition> make_condition() override;
  [[nodiscard]] bool cancelled() const override { return scheduler_.cancelled(); }
  void defer_cancellation(int change) override { scheduler_.defer_cancellation(change); }
  void will_touch(const Fetchable* memory) override { scheduler_.will_touch(memory); }
  void listen_for_standstill(StandstillListener& listener) override {
    scheduler_.listen_for_standstill(listener);
  }
  void stop_listening(StandstillListener& listener) override {
    scheduler_.stop_listening(listener);
  }

 private:
  Scheduler& scheduler_;
};

}  // namespace ferry
