// Waits on descriptors: nobody sleeps through what happens, and all who wait hear of it.
#include "hw_backend/waiting/event_wait_set.hpp"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <thread>

namespace ferry {
namespace {

/// An eventfd; what was written is there until `take`.
class Counter final : public EventSource {
 public:
  Counter() : file_(eventfd(0, EFD_NONBLOCK)) {}
  ~Counter() override { close(file_); }
  [[nodiscard]] bool look() override {
    ++looks;
    return there > 0 || (later && std::chrono::steady_clock::now() >= *later);
  }
  [[nodiscard]] bool tells_of_room() override { return false; }
  void arm() override {
    ++arms;
    if (reads_late) take();
  }
  void sleep_among(EventFiles* files) override {
    if (files_ != nullptr) close_file();
    files_ = files;
    if (files_ != nullptr) open_file();
  }
  void close_file() { files_->remove(file_); }
  void open_file() { files_->add(file_, this); }
  void disarm() override {
    if (!reads_late) take();
  }
  [[nodiscard]] std::optional<RealTime> look_again_at() const override { return later; }

  void add() {
    ++there;
    const std::uint64_t one = 1;
    static_cast<void>(!write(file_, &one, sizeof one));
  }
  bool reads_late = false;  ///< when it is asked for the next event
  std::atomic<int> there = 0;
  std::atomic<int> looks = 0;
  std::atomic<int> arms = 0;
  std::optional<RealTime> later;

 private:
  void take() {
    std::uint64_t value = 0;
    static_cast<void>(!read(file_, &value, sizeof value));
  }
  int file_;
  EventFiles* files_ = nullptr;
};

struct Waiting : testing::Test {
  ThreadClock clock{1.0};
  EventWaitSet set{clock};
  Counter source;
  Waiting() { set.watch(source); }
  ~Waiting() override { set.forget(source); }
  TimePoint soon() const { return clock.now() + Duration::milliseconds(5); }
};
using EventWaitSetTest = Waiting;

TEST_F(EventWaitSetTest, an_event_ends_a_wait_and_what_is_there_prevents_one) {
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    source.add();
  });
  EXPECT_EQ(set.wait(TimePoint::never()), Wake::ready);
  EXPECT_EQ(set.wait(TimePoint::never()), Wake::ready) << "it was not taken";
  other.join();
  source.there = 0;
  EXPECT_EQ(set.wait(soon()), Wake::timed_out);
}

TEST_F(EventWaitSetTest, a_notification_ends_one_wait) {
  set.notify();
  set.notify();
  EXPECT_EQ(set.wait(TimePoint::never()), Wake::ready);
  EXPECT_EQ(set.wait(soon()), Wake::timed_out);
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    set.notify();
  });
  EXPECT_EQ(set.wait(TimePoint::never()), Wake::ready);
  other.join();
}

TEST_F(EventWaitSetTest, one_event_costs_one_request_for_the_next) {
  for (int i = 0; i < 10; ++i) {
    const std::uint64_t slept = set.sleeps();
    std::thread other([&] {
      while (set.sleeps() == slept) std::this_thread::yield();
      source.add();
    });
    const int before = source.arms;
    EXPECT_EQ(set.wait(TimePoint::never()), Wake::ready);
    EXPECT_EQ(source.arms - before, 1);
    source.there = 0;
    other.join();
  }
}

TEST_F(EventWaitSetTest, an_event_may_stay_where_it_came_until_the_next_is_asked_for) {
  source.reads_late = true;
  for (int i = 0; i < 10; ++i) {
    std::thread other([&, slept = set.sleeps()] {
      while (set.sleeps() == slept) std::this_thread::yield();
      source.add();
    });
    EXPECT_EQ(set.wait(TimePoint::never()), Wake::ready);
    other.join();
    source.there = 0;
    const std::uint64_t slept = set.sleeps();
    EXPECT_EQ(set.wait(soon()), Wake::timed_out);
    EXPECT_LE(set.sleeps() - slept, 3) << "it ends no further sleep";
  }
}

TEST_F(EventWaitSetTest, a_source_sleeps_on_what_it_has_at_the_time) {
  source.close_file();
  std::atomic<bool> open = false;
  std::thread other([&, slept = set.sleeps()] {
    while (set.sleeps() == slept) std::this_thread::yield();
    source.add();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    open = true;
    source.open_file();
  });
  EXPECT_EQ(set.wait(TimePoint::never()), Wake::ready);
  EXPECT_TRUE(open) << "what a source has closed ends no sleep";
  other.join();
}

TEST_F(EventWaitSetTest, times_far_and_near_are_kept) {
  for (const int milliseconds : {1, 9, 10, 11, 25}) {
    const TimePoint end = clock.now() + Duration::milliseconds(milliseconds);
    EXPECT_EQ(set.wait(end), Wake::timed_out);
    EXPECT_GE(clock.now(), end);
  }
}

TEST_F(EventWaitSetTest, a_source_is_looked_at_when_it_asks_to_be) {
  source.later = std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
  EXPECT_EQ(set.wait(TimePoint::never()), Wake::ready);
}

TEST_F(EventWaitSetTest, all_tasks_that_wait_are_woken) {
  std::atomic<int> woken = 0;
  std::vector<std::thread> waiting;
  for (int i = 0; i < 4; ++i) {
    waiting.emplace_back([&] {
      EXPECT_EQ(set.wait(TimePoint::never()), Wake::ready);
      ++woken;
    });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  EXPECT_EQ(woken, 0);
  source.add();
  for (std::thread& each : waiting) each.join();
  EXPECT_EQ(woken, 4);
}

TEST_F(EventWaitSetTest, no_event_is_slept_through) {
  constexpr int rounds = 3000;
  std::thread other([&] {
    for (int i = 0; i < rounds; ++i) {
      while (source.there != 0) std::this_thread::yield();
      source.add();
    }
  });
  for (int i = 0; i < rounds; ++i) {
    while (source.there == 0) ASSERT_EQ(set.wait(TimePoint::never()), Wake::ready);
    source.there = 0;
  }
  other.join();
}

TEST_F(EventWaitSetTest, a_source_can_be_forgotten_while_a_task_sleeps_on_it) {
  auto second = std::make_unique<Counter>();
  set.watch(*second);
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    set.forget(*second);
    second.reset();
    source.add();
  });
  while (source.there == 0) ASSERT_EQ(set.wait(TimePoint::never()), Wake::ready);
  other.join();
}

TEST_F(EventWaitSetTest, a_cancelled_task_stops_waiting) {
  ThreadExecutor executor(clock);
  std::atomic<bool> cancelled = false;
  {
    const auto task = executor.spawn(
        "waits", [&] { cancelled = set.wait(TimePoint::never()) == Wake::cancelled; });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    task->cancel();
    task->join();
  }
  EXPECT_TRUE(cancelled);
}

}  // namespace
}  // namespace ferry
