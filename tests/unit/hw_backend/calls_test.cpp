#include "hw_backend/libvirt/calls.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <stdexcept>

namespace ferry {
namespace {

/// The test's thread as a task of a world with a real clock.
class CallsTest : public testing::Test {
 protected:
  void as_task(const std::function<void(Calls&)>& body) {
    executor_.adopt([&] {
      Calls calls(clock_, executor_);
      body(calls);
    });
    executor_.wait_for_tasks();
  }
  [[nodiscard]] TimePoint in(Duration time) const { return clock_.now() + time; }

  ThreadClock clock_{1.0};
  ThreadExecutor executor_{clock_};
};

TEST_F(CallsTest, a_call_gives_its_result) {
  as_task([](Calls& calls) {
    const Result<int> result =
        calls.run<int>("call", TimePoint::never(), []() -> Result<int> { return 7; });
    ASSERT_TRUE(result.has_value());
    EXPECT_EQ(*result, 7);
    const Result<> failed = calls.run<void>("call", TimePoint::never(), []() -> Result<> {
      return failure(FailureKind::refused, "no");
    });
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error().reason, "no");
  });
}

TEST_F(CallsTest, a_call_that_hangs_is_left_behind_at_the_deadline_and_joined_in_the_end) {
  std::promise<void> go_on;
  std::atomic<bool> ended = false;
  as_task([&](Calls& calls) {
    auto gate = std::make_shared<std::future<void>>(go_on.get_future());
    const Result<> result = calls.run<void>("attach of vm0", in(Duration::milliseconds(5)),
                                            [gate, &ended]() -> Result<> {
                                              gate->wait();
                                              ended = true;
                                              return {};
                                            });
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().kind, FailureKind::timed_out);
    EXPECT_EQ(result.error().reason, "attach of vm0 passed its deadline");
    EXPECT_FALSE(ended);
    go_on.set_value();
  });
  EXPECT_TRUE(ended);
}

TEST_F(CallsTest, cancellation_of_the_waiting_task_ends_its_wait) {
  std::promise<void> go_on;
  as_task([&](Calls& calls) {
    auto gate = std::make_shared<std::future<void>>(go_on.get_future());
    const auto task = executor_.spawn("waits", [&calls, gate] {
      const Result<> result = calls.run<void>("call", TimePoint::never(), [gate]() -> Result<> {
        gate->wait();
        return {};
      });
      ASSERT_FALSE(result.has_value());
      EXPECT_EQ(result.error().kind, FailureKind::cancelled);
    });
    task->cancel();
    task->join();
    go_on.set_value();
  });
}

TEST_F(CallsTest, calls_of_a_group_run_at_the_same_time_and_fail_alone) {
  as_task([&](Calls& calls) {
    auto first = std::make_shared<std::promise<int>>();
    auto second = std::make_shared<std::promise<int>>();
    // Each waits for the other: one after the other they would never end.
    std::vector<std::function<Result<int>()>> bodies = {
        [first, second]() -> Result<int> {
          first->set_value(1);
          return second->get_future().get();
        },
        [first, second]() -> Result<int> {
          second->set_value(2);
          return first->get_future().get();
        },
        []() -> Result<int> { return failure(FailureKind::failed, "third"); }};
    const auto results = calls.run_all<int>("group", TimePoint::never(), std::move(bodies));
    ASSERT_EQ(results.size(), 3U);
    EXPECT_EQ(results[0].value_or(0), 2);
    EXPECT_EQ(results[1].value_or(0), 1);
    EXPECT_FALSE(results[2].has_value());
  });
}

TEST_F(CallsTest, what_a_call_throws_is_thrown_where_it_is_awaited) {
  as_task([](Calls& calls) {
    EXPECT_THROW((void)calls.run<void>("call", TimePoint::never(),
                                       []() -> Result<> { throw std::runtime_error("broken"); }),
                 std::runtime_error);
  });
}

TEST_F(CallsTest, a_call_that_was_started_runs_though_nobody_waits) {
  std::promise<void> done;
  as_task([&](Calls& calls) {
    calls.start("migration", [&done] { done.set_value(); });
    done.get_future().wait();
  });
}

}  // namespace
}  // namespace ferry
