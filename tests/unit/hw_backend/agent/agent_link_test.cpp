// When a link takes its agent, or the VM, for lost. Time passes as a script has it, so that hours
// of silence take no time.
#include "hw_backend/agent/agent_link.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "hw_backend/threads/thread_executor.hpp"

namespace ferry::agent {
namespace {

constexpr VmId vm{0};

TimePoint at(double seconds) { return TimePoint::at(Duration::seconds(seconds)); }

class ScriptedClock final : public Clock {
 public:
  [[nodiscard]] TimePoint now() const override {
    return TimePoint::at(Duration::nanoseconds(now_.load()));
  }
  Wake sleep_until(TimePoint deadline) override {
    set(deadline);
    return Wake::timed_out;
  }
  void set(TimePoint now) { now_.store(now.since_start().count_nanoseconds()); }

 private:
  std::atomic<std::int64_t> now_ = 0;
};

/// What happens in a test.
struct Script {
  TimePoint end;
  std::function<bool(TimePoint)> speaks = [](TimePoint) { return false; };  ///< the agent
  std::function<VmInspection(TimePoint)> vm;
  /// How long the controller stands still.
  std::function<Duration(TimePoint)> stall = [](TimePoint) { return Duration::zero(); };
};

/// An agent that does as the script says: each wait for it ends at once, at its deadline.
class ScriptedControl final : public Control {
 public:
  ScriptedControl(ScriptedClock& clock, const Script& script, std::future<void> beginning,
                  std::promise<void>& over)
      : clock_(clock), script_(script), beginning_(std::move(beginning)), over_(over) {}
  bool send(std::span<const std::byte> /*message*/) override { return true; }
  Received receive(TimePoint deadline) override {
    if (beginning_.valid()) beginning_.get();
    if (deadline > script_.end) {
      over_.set_value();
      return {Wake::cancelled, {}};
    }
    clock_.set(deadline + script_.stall(deadline));
    if (!script_.speaks(deadline)) return {Wake::timed_out, {}};
    return {Wake::ready, encode({1, Pong{1}})};  // to a ping that it was not sent
  }
  void notify() override {}
  [[nodiscard]] std::uint64_t openings() const override { return 1; }

 private:
  ScriptedClock& clock_;
  const Script& script_;
  std::future<void> beginning_;
  std::promise<void>& over_;
};

VmInspection running() {
  VmInspection seen;
  seen.running = true;
  return seen;
}

VmInspection paused_while_it_moves() {
  VmInspection seen;
  seen.moving = true;
  return seen;
}

class SilentAgent : public testing::Test {
 protected:
  /// Why a running job with a rank in the VM was ended meanwhile; empty: it was not.
  std::string run(const Script& script) {
    std::string reason;
    executor_.adopt([&] {
      JobSpec spec;
      spec.name = "job";
      spec.vms = {vm};
      RemoteJobOptions options;
      options.key = "job";
      RemoteJob job(executor_, clock_, {JobId{0}, spec, nullptr, {}}, options, {{vm, "vm0"}},
                    [](VmId) {});
      JobReport report;
      report.key = "job";
      report.ranks = {0};
      job.take(vm, report);
      job.start();
      std::promise<void> begin;
      std::promise<void> over;
      {
        AgentLink link(executor_, clock_, vm, "vm0",
                       std::make_unique<ScriptedControl>(clock_, script, begin.get_future(), over),
                       1, Duration::seconds(120), [&] { return script.vm(clock_.now()); });
        link.add(job);
        begin.set_value();
        over.get_future().wait();
      }
      job.give_up(vm, "");
      mpi::WorkloadLog log(1);
      std::vector<std::string> complaints;
      const Result<> joined = job.join(log, complaints);
      ASSERT_FALSE(joined);
      reason = joined.error().reason;
    });
    return reason;
  }

  ThreadClock real_clock_{1.0};
  ThreadExecutor executor_{real_clock_};
  ScriptedClock clock_;
};

TEST_F(SilentAgent, leaves_its_vm_alone_while_that_moves_with_its_guest_paused) {
  Script script{.end = at(3'600), .vm = [](TimePoint) { return paused_while_it_moves(); }};
  EXPECT_EQ(run(script), "");
}

TEST_F(SilentAgent, of_a_vm_that_runs_nowhere_ends_the_job_after_a_second_look) {
  const auto nowhere = [](TimePoint) { return VmInspection(); };
  EXPECT_EQ(run({.end = at(24), .vm = nowhere}), "");
  clock_.set({});
  EXPECT_EQ(run({.end = at(27), .vm = nowhere}), "vm0 runs nowhere any more");
}

TEST_F(SilentAgent, of_a_vm_that_is_nowhere_for_a_moment_is_waited_for) {
  Script script{.end = at(60),
                .vm = [](TimePoint now) { return now < at(22) ? VmInspection() : running(); }};
  EXPECT_EQ(run(script), "");
}

/// It is seen nowhere once in each of two silences.
TEST_F(SilentAgent, that_speaks_between_two_looks_is_looked_for_anew) {
  Script script{.end = at(48),
                .speaks = [](TimePoint now) { return now > at(23) && now < at(24); },
                .vm = [](TimePoint) { return VmInspection(); }};
  EXPECT_EQ(run(script), "");
  clock_.set({});
  script.end = at(51);
  EXPECT_EQ(run(script), "vm0 runs nowhere any more");
}

TEST_F(SilentAgent, of_a_vm_that_runs_ends_the_job_when_patience_is_over) {
  Script script{.end = at(119), .vm = [](TimePoint) { return running(); }};
  EXPECT_EQ(run(script), "");
  clock_.set({});
  script.end = at(126);
  EXPECT_EQ(run(script), "vm0's agent has not answered for 120 s");
}

TEST_F(SilentAgent, has_its_time_from_its_last_word_on) {
  Script script{.end = at(219),
                .speaks = [](TimePoint now) { return now > at(99) && now < at(100); },
                .vm = [](TimePoint) { return running(); }};
  EXPECT_EQ(run(script), "");
  clock_.set({});
  script.end = at(226);
  EXPECT_EQ(run(script), "vm0's agent has not answered for 120 s");
}

/// Its time begins when the VM was last seen to move.
TEST_F(SilentAgent, has_its_time_again_when_its_vm_has_moved) {
  Script script{.end = at(600 + 99), .vm = [](TimePoint now) {
                  return now > at(60) && now < at(600) ? paused_while_it_moves() : running();
                }};
  EXPECT_EQ(run(script), "");
  clock_.set({});
  script.end = at(600 + 126);
  EXPECT_EQ(run(script), "vm0's agent has not answered for 120 s");
}

TEST_F(SilentAgent, is_not_held_to_what_a_controller_did_not_hear_that_stood_still) {
  Script script{.end = at(3'600 + 100),
                .vm = [](TimePoint) { return running(); },
                .stall =
                    [](TimePoint now) {
                      return now == at(10) ? Duration::seconds(3'600) : Duration::zero();
                    }};
  EXPECT_EQ(run(script), "");
}

}  // namespace
}  // namespace ferry::agent
