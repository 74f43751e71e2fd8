#include "sim_backend/scheduler.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/ports/randomness.hpp"
#include "sim_backend/sim_executor.hpp"

namespace ferry {
namespace {

TimePoint at(std::int64_t nanoseconds) { return TimePoint::at(Duration::nanoseconds(nanoseconds)); }

/// Runs `body` as the first task, and all that follows, without an engine.
class SchedulerTest : public testing::Test {
 protected:
  void run(const std::function<void()>& body) {
    const auto first = scheduler.spawn("first", body);
    for (;;) {
      scheduler.run_due();
      if (scheduler.live_tasks() == 0 || scheduler.next_event() == TimePoint::never()) break;
      scheduler.advance_to(scheduler.next_event());
    }
    ASSERT_EQ(scheduler.live_tasks(), 0U) << scheduler.blocked_tasks();
  }
  void say(const std::string& what) {
    log.push_back(std::to_string(scheduler.now().since_start().count_nanoseconds()) + " " + what);
  }

  Scheduler scheduler;
  SimClock clock{scheduler};
  SimExecutor executor{scheduler};
  std::vector<std::string> log;
};

using Log = std::vector<std::string>;

TEST_F(SchedulerTest, what_happens_at_one_instant_happens_in_the_order_in_which_it_was_asked_for) {
  run([&] {
    const auto a = executor.spawn("a", [&] {
      say("a");
      clock.sleep_until(at(5));
      say("a");
    });
    const auto b = executor.spawn("b", [&] {
      clock.sleep_until(at(3));
      say("b");
      clock.sleep_until(at(5));
      say("b");
    });
    say("first");
    a->join();
    b->join();
  });
  EXPECT_EQ(log, (Log{"0 first", "0 a", "3 b", "5 a", "5 b"}));
}

TEST_F(SchedulerTest, events_fire_in_time_order_however_they_were_added_and_taken_back) {
  RandomStream random(7, "events");
  std::vector<std::unique_ptr<CallbackEvent>> events;
  std::vector<std::int64_t> fired;
  std::size_t expected = 0;
  for (int i = 0; i < 5000; ++i) {
    const auto when = static_cast<std::int64_t>(random.next_below(1000));
    events.push_back(std::make_unique<CallbackEvent>([&fired, when] { fired.push_back(when); }));
    scheduler.schedule(*events.back(), at(when));
    ++expected;
    const std::size_t victim = random.next_below(events.size());
    if (i % 3 == 0 && events[victim]->scheduled()) {
      scheduler.unschedule(*events[victim]);
      --expected;
    }
  }
  run([&] { clock.sleep_until(at(2000)); });
  EXPECT_EQ(fired.size(), expected);
  EXPECT_TRUE(std::is_sorted(fired.begin(), fired.end()));
}

TEST_F(SchedulerTest, a_wait_that_ended_leaves_no_timer_behind) {
  run([&] {
    const auto mutex = executor.make_mutex();
    const auto condition = executor.make_condition();
    bool ready = false;
    const auto waiter = executor.spawn("waiter", [&] {
      const Lock lock(*mutex);
      while (!ready) condition->wait_until(*mutex, at(1'000'000));
    });
    clock.sleep_until(at(10));
    ready = true;
    condition->notify_all();
    waiter->join();
  });
  EXPECT_EQ(scheduler.now(), at(10));
  EXPECT_EQ(scheduler.next_event(), TimePoint::never());
}

TEST_F(SchedulerTest, a_deadline_beats_a_notification_that_comes_at_the_same_instant_but_later) {
  run([&] {
    const auto mutex = executor.make_mutex();
    const auto condition = executor.make_condition();
    const auto waiter = executor.spawn("waiter", [&] {
      const Lock lock(*mutex);
      say(condition->wait_until(*mutex, at(10)) == Wake::timed_out ? "timed out" : "notified");
    });
    const auto notifier = executor.spawn("notifier", [&] {
      clock.sleep_until(at(10));
      condition->notify_one();  // nobody waits any more: must not wake the waiter twice
    });
    waiter->join();
    notifier->join();
  });
  EXPECT_EQ(log, (Log{"10 timed out"}));
}

TEST_F(SchedulerTest, a_mutex_is_handed_over_in_the_order_of_waiting) {
  run([&] {
    const auto mutex = executor.make_mutex();
    std::vector<std::unique_ptr<Task>> tasks;
    for (int i = 0; i < 3; ++i) {
      tasks.push_back(executor.spawn("task", [&, i] {
        mutex->lock();
        say("task " + std::to_string(i));
        clock.sleep_until(clock.now() + Duration::nanoseconds(10));
        mutex->unlock();
      }));
    }
    for (const auto& task : tasks) task->join();
  });
  EXPECT_EQ(log, (Log{"0 task 0", "10 task 1", "20 task 2"}));
}

TEST_F(SchedulerTest, cancellation_ends_the_present_and_every_later_wait) {
  run([&] {
    const auto task = executor.spawn("task", [&] {
      EXPECT_EQ(clock.sleep_until(at(100)), Wake::cancelled);
      EXPECT_TRUE(executor.cancelled());
      EXPECT_EQ(clock.sleep_until(at(100)), Wake::cancelled);
      {
        const Uncancellable uncancellable(executor);
        EXPECT_EQ(clock.sleep_until(at(50)), Wake::timed_out);
      }
      EXPECT_EQ(clock.sleep_until(at(100)), Wake::cancelled);
      say("ended");
    });
    clock.sleep_until(at(7));
    task->cancel();
    task->cancel();
    task->join();
    task->cancel();  // of a task that has ended: nothing
  });
  EXPECT_EQ(log, (Log{"50 ended"}));
}

TEST_F(SchedulerTest, join_rethrows_once_what_the_task_threw) {
  run([&] {
    const auto task = executor.spawn("task", [] { throw std::runtime_error("thrown"); });
    EXPECT_THROW(task->join(), std::runtime_error);
    EXPECT_NO_THROW(task->join());
    {
      const auto dropped = executor.spawn("dropped", [] { throw std::runtime_error("dropped"); });
    }
  });
}

TEST_F(SchedulerTest, a_wait_inside_a_handler_keeps_each_tasks_own_exception) {
  // The standard library keeps the exceptions being handled per thread; without a swap at each
  // switch the two tasks end with each other's.
  run([&] {
    const auto thrower = [this](const std::string& name, std::int64_t first, std::int64_t second) {
      return executor.spawn(name, [this, name, first, second] {
        try {
          throw std::runtime_error(name);
        } catch (const std::runtime_error&) {
          clock.sleep_until(at(first));
          try {
            throw;
          } catch (const std::runtime_error& error) {
            clock.sleep_until(at(second));
            say(error.what());
          }
        }
        EXPECT_EQ(std::uncaught_exceptions(), 0);
      });
    };
    const auto a = thrower("a", 10, 40);
    const auto b = thrower("b", 20, 30);
    a->join();
    b->join();
  });
  EXPECT_EQ(log, (Log{"30 b", "40 a"}));
}

TEST_F(SchedulerTest, destructors_that_wait_during_unwinding_do_not_disturb_others) {
  struct WaitsAtTheEnd {
    Clock& clock;
    std::int64_t until;
    ~WaitsAtTheEnd() { clock.sleep_until(at(until)); }
  };
  run([&] {
    const auto unwinding = [this](std::int64_t until) {
      return executor.spawn("unwinding", [this, until] {
        const WaitsAtTheEnd waits{clock, until};
        throw std::runtime_error(std::to_string(until));
      });
    };
    const auto a = unwinding(20);
    const auto b = unwinding(10);
    for (const auto* task : {&a, &b}) {
      try {
        (*task)->join();
        ADD_FAILURE() << "nothing was thrown";
      } catch (const std::runtime_error& error) {
        log.push_back(error.what());
      }
    }
  });
  EXPECT_EQ(log, (Log{"20", "10"}));
}

TEST_F(SchedulerTest, stacks_are_used_again_by_later_tasks) {
  std::vector<const void*> places;
  run([&] {
    for (int i = 0; i < 3; ++i) {
      executor
          .spawn("task",
                 [&places] {
                   int here = 0;
                   places.push_back(&here);
                 })
          ->join();
    }
  });
  EXPECT_EQ(places[0], places[1]);
  EXPECT_EQ(places[0], places[2]);
}

TEST_F(SchedulerTest, names_the_tasks_that_wait_for_ever) {
  const auto mutex = executor.make_mutex();
  const auto condition = executor.make_condition();
  auto first = scheduler.spawn("first", [&] {
    const auto other = executor.spawn("other", [&] {
      const Lock lock(*mutex);
      condition->wait_until(*mutex, TimePoint::never());
    });
    other->join();
  });
  scheduler.run_due();
  EXPECT_EQ(scheduler.blocked_tasks(),
            "'first' waits for the end of a task, 'other' waits for a condition");
  condition->notify_all();
  scheduler.run_due();
  EXPECT_EQ(scheduler.live_tasks(), 0U);
}

TEST_F(SchedulerTest, thousands_of_tasks_take_turns) {
  int turns = 0;
  run([&] {
    std::vector<std::unique_ptr<Task>> tasks;
    for (int i = 0; i < 5'000; ++i) {
      tasks.push_back(executor.spawn("task", [&] {
        for (int k = 1; k <= 3; ++k) {
          clock.sleep_until(at(k));
          ++turns;
        }
      }));
    }
    for (const auto& task : tasks) task->join();
  });
  EXPECT_EQ(turns, 15'000);
}

using SchedulerDeathTest = SchedulerTest;

TEST_F(SchedulerDeathTest, waiting_outside_any_task_is_a_programmers_error) {
  EXPECT_DEATH(clock.sleep_until(at(1)), "only a task can wait");
}

}  // namespace
}  // namespace ferry
