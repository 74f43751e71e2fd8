// What `Executor` promises of tasks, mutexes and conditions.
#include <stdexcept>

#include "tests/contract/contract.hpp"

namespace ferry {
namespace {

class TaskContract : public Contract {};
class MutexContract : public Contract {};
class ConditionContract : public Contract {};
FERRY_FOR_EVERY_WORLD(TaskContract);
FERRY_FOR_EVERY_WORLD(MutexContract);
FERRY_FOR_EVERY_WORLD(ConditionContract);

TEST_P(TaskContract, a_task_has_ended_when_join_returns) {
  run([](World& world) {
    bool ended = false;
    const auto task = world.executor.spawn("task", [&] {
      sleep(world, ms(20));
      ended = true;
    });
    task->join();
    EXPECT_TRUE(ended);
    task->join();  // again is harmless
  });
}

TEST_P(TaskContract, join_rethrows_what_the_task_threw_once) {
  run([](World& world) {
    const auto task = world.executor.spawn("task", [&] {
      sleep(world, ms(5));
      throw std::runtime_error("from the task");
    });
    std::string caught;
    try {
      task->join();
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
    EXPECT_EQ(caught, "from the task");
    EXPECT_NO_THROW(task->join());
  });
}

TEST_P(TaskContract, the_destructor_joins_and_drops_what_the_task_threw) {
  run([](World& world) {
    bool ended = false;
    {
      const auto task = world.executor.spawn("task", [&] {
        sleep(world, ms(20));
        ended = true;
        throw std::runtime_error("that nobody asks for");
      });
    }
    EXPECT_TRUE(ended);
  });
}

TEST_P(TaskContract, tasks_that_throw_at_the_same_time_keep_their_own_errors) {
  run([](World& world) {
    std::vector<std::unique_ptr<Task>> tasks;
    for (int i = 0; i < 4; ++i) {
      tasks.push_back(world.executor.spawn("task", [&world, i] {
        sleep(world, ms(5));
        throw std::runtime_error(std::to_string(i));
      }));
    }
    for (int i = 0; i < 4; ++i) {
      std::string caught;
      try {
        tasks[static_cast<std::size_t>(i)]->join();
      } catch (const std::runtime_error& error) {
        caught = error.what();
      }
      EXPECT_EQ(caught, std::to_string(i));
    }
  });
}

TEST_P(TaskContract, a_task_spawns_tasks) {
  run([](World& world) {
    int ended = 0;
    const auto outer = world.executor.spawn("outer", [&] {
      const auto inner = world.executor.spawn("inner", [&] {
        sleep(world, ms(5));
        ++ended;
      });
      inner->join();
      ++ended;
    });
    outer->join();
    EXPECT_EQ(ended, 2);
  });
}

TEST_P(MutexContract, one_task_at_a_time_holds_it) {
  run([](World& world) {
    const auto mutex = world.executor.make_mutex();
    const auto turn = world.executor.make_condition();
    volatile int count = 0;  // so that an increment is a read and a write
    std::vector<std::unique_ptr<Task>> tasks;
    for (int i = 0; i < 4; ++i) {
      tasks.push_back(world.executor.spawn("counter", [&] {
        for (int turns = 0; turns < 2000; ++turns) {
          const Lock lock(*mutex);
          count = count + 1;
        }
      }));
    }
    for (const auto& task : tasks) task->join();
    EXPECT_EQ(count, 4 * 2000);
  });
}

TEST_P(ConditionContract, a_wait_ends_at_its_deadline) {
  run([](World& world) {
    const auto mutex = world.executor.make_mutex();
    const auto condition = world.executor.make_condition();
    const Lock lock(*mutex);
    const TimePoint deadline = after(world, ms(20));
    Wake wake = Wake::ready;
    while (wake == Wake::ready) wake = condition->wait_until(*mutex, deadline);
    EXPECT_EQ(wake, Wake::timed_out);
    EXPECT_GE(world.clock.now(), deadline);
  });
}

TEST_P(ConditionContract, a_wait_gives_the_mutex_away_and_takes_it_again) {
  run([](World& world) {
    const auto mutex = world.executor.make_mutex();
    const auto condition = world.executor.make_condition();
    bool held = false;  // by a task that is between its lock and its unlock
    bool told = false;
    const auto task = world.executor.spawn("teller", [&] {
      const Lock lock(*mutex);
      EXPECT_FALSE(held);
      told = true;
      condition->notify_one();
    });
    const Lock lock(*mutex);
    while (!told) {
      held = false;
      ASSERT_EQ(condition->wait_until(*mutex, TimePoint::never()), Wake::ready);
      held = true;
    }
    held = false;
  });
}

TEST_P(ConditionContract, notify_one_wakes_a_waiter_for_each_call) {
  run([](World& world) {
    const auto mutex = world.executor.make_mutex();
    const auto condition = world.executor.make_condition();
    int waiting = 0;
    int tokens = 0;
    int taken = 0;
    std::vector<std::unique_ptr<Task>> tasks;
    for (int i = 0; i < 3; ++i) {
      tasks.push_back(world.executor.spawn("waiter", [&] {
        const Lock lock(*mutex);
        ++waiting;
        while (tokens == 0) {
          ASSERT_EQ(condition->wait_until(*mutex, TimePoint::never()), Wake::ready);
        }
        --tokens;
        ++taken;
      }));
    }
    for (int expected = 1; expected <= 3; ++expected) {
      for (;;) {  // until all wait, or have taken
        {
          const Lock lock(*mutex);
          if (waiting == 3) break;
        }
        sleep(world, ms(1));
      }
      {
        const Lock lock(*mutex);
        ++tokens;
        condition->notify_one();
      }
      for (;;) {
        {
          const Lock lock(*mutex);
          ASSERT_LE(taken, expected);
          if (taken == expected) break;
        }
        sleep(world, ms(1));
      }
    }
  });
}

TEST_P(ConditionContract, notify_all_wakes_every_waiter) {
  run([](World& world) {
    const auto mutex = world.executor.make_mutex();
    const auto condition = world.executor.make_condition();
    bool open = false;
    std::vector<std::unique_ptr<Task>> tasks;
    for (int i = 0; i < 5; ++i) {
      tasks.push_back(world.executor.spawn("waiter", [&] {
        const Lock lock(*mutex);
        while (!open) {
          ASSERT_EQ(condition->wait_until(*mutex, TimePoint::never()), Wake::ready);
        }
      }));
    }
    sleep(world, ms(20));
    {
      const Lock lock(*mutex);
      open = true;
      condition->notify_all();
    }
    for (const auto& task : tasks) task->join();  // hangs if one was forgotten
  });
}

TEST_P(ConditionContract, a_notification_is_not_lost_to_a_waiter_that_is_cancelled) {
  run([](World& world) {
    const auto mutex = world.executor.make_mutex();
    const auto condition = world.executor.make_condition();
    bool token = false;
    const auto wait_for_token = [&] {
      const Lock lock(*mutex);
      while (!token) {
        if (condition->wait_until(*mutex, TimePoint::never()) == Wake::cancelled) return;
      }
      condition->notify_one();  // the token stays: the next one may have it too
    };
    for (int i = 0; i < 20; ++i) {
      token = false;
      const auto first = world.executor.spawn("first", wait_for_token);
      sleep(world, ms(5));
      const auto second = world.executor.spawn("second", wait_for_token);
      sleep(world, ms(5));
      {
        const Lock lock(*mutex);
        token = true;
        if (i % 2 == 0) first->cancel();
        condition->notify_one();
        if (i % 2 == 1) first->cancel();
      }
      second->join();  // hangs if the first one kept the notification to itself
    }
  });
}

TEST_P(ConditionContract, a_deadline_in_the_past_gives_others_a_turn) {
  run([](World& world) {
    const auto mutex = world.executor.make_mutex();
    const auto condition = world.executor.make_condition();
    bool done = false;
    const auto other = world.executor.spawn("other", [&] {
      const Lock lock(*mutex);
      done = true;
    });
    const Lock lock(*mutex);
    while (!done) {  // without end if the other task never has its turn
      ASSERT_EQ(condition->wait_until(*mutex, TimePoint::start()), Wake::timed_out);
    }
  });
}

}  // namespace
}  // namespace ferry
