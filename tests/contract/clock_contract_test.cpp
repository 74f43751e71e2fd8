// What `Clock` promises.
#include "tests/contract/contract.hpp"

namespace ferry {
namespace {

class ClockContract : public Contract {};
FERRY_FOR_EVERY_WORLD(ClockContract);

TEST_P(ClockContract, time_never_goes_back) {
  run([](World& world) {
    TimePoint last = world.clock.now();
    EXPECT_GE(last, TimePoint::start());
    for (int i = 0; i < 1000; ++i) {
      const TimePoint now = world.clock.now();
      ASSERT_GE(now, last);
      last = now;
    }
  });
}

TEST_P(ClockContract, a_sleep_ends_as_timed_out_and_is_not_shorter_than_asked) {
  run([](World& world) {
    for (const Duration time : {Duration::nanoseconds(1), Duration::microseconds(7), ms(30)}) {
      const TimePoint deadline = after(world, time);
      EXPECT_EQ(world.clock.sleep_until(deadline), Wake::timed_out);
      EXPECT_GE(world.clock.now(), deadline);
    }
  });
}

TEST_P(ClockContract, a_deadline_that_has_passed_ends_a_sleep_as_timed_out) {
  run([](World& world) {
    sleep(world, ms(10));
    EXPECT_EQ(world.clock.sleep_until(TimePoint::start()), Wake::timed_out);
    EXPECT_EQ(world.clock.sleep_until(world.clock.now()), Wake::timed_out);
    EXPECT_EQ(world.clock.sleep_until(TimePoint::start() - ms(1)), Wake::timed_out);
  });
}

TEST_P(ClockContract, tasks_sleep_at_the_same_time) {
  run([](World& world) {
    const TimePoint start = world.clock.now();
    std::vector<std::unique_ptr<Task>> tasks;
    for (int i = 0; i < 8; ++i) {
      tasks.push_back(world.executor.spawn("sleeper", [&world, start, i] {
        const TimePoint deadline = start + ms(500 + i);
        EXPECT_EQ(world.clock.sleep_until(deadline), Wake::timed_out);
        EXPECT_GE(world.clock.now(), deadline);
      }));
    }
    for (const auto& task : tasks) task->join();
    EXPECT_LT(world.clock.now() - start, ms(8 * 500));  // which is what they take one after another
  });
}

}  // namespace
}  // namespace ferry
