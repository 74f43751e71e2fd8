#include "hw_backend/libvirt/domain_events.hpp"

#include <gtest/gtest.h>

#include <thread>

#include "hw_backend/threads/thread_executor.hpp"

namespace ferry {
namespace {

class DomainEventsTest : public testing::Test {
 protected:
  void as_task(const std::function<void(EventBoard&)>& body) {
    EventBoard board(executor_, sleeper_);
    executor_.adopt([&] { body(board); });
    executor_.wait_for_tasks();
  }
  static DomainEvent event_of(const std::string& domain, const std::string& alias) {
    DomainEvent event;
    event.kind = DomainEvent::Kind::device_removed;
    event.domain = domain;
    event.alias = alias;
    return event;
  }
  [[nodiscard]] TimePoint soon() const { return clock_.now() + Duration::milliseconds(5); }

  ThreadClock clock_{1.0};
  ThreadExecutor executor_{clock_};
  ThreadSleeper sleeper_{clock_};
};

TEST_F(DomainEventsTest, an_inbox_gets_what_its_domain_is_told_in_order) {
  as_task([&](EventBoard& board) {
    const auto inbox = board.subscribe("hpc-07");
    board.post(event_of("hpc-08", "ua-vf0"));
    board.post(event_of("hpc-07", "ua-vf0"));
    board.post(event_of("hpc-07", "ua-shm0"));
    DomainEvent event;
    ASSERT_EQ(inbox->next(TimePoint::never(), event), Wake::ready);
    EXPECT_EQ(event.alias, "ua-vf0");
    ASSERT_EQ(inbox->next(TimePoint::never(), event), Wake::ready);
    EXPECT_EQ(event.alias, "ua-shm0");
    EXPECT_EQ(inbox->next(soon(), event), Wake::timed_out);
  });
}

TEST_F(DomainEventsTest, a_lost_connection_is_told_to_everybody) {
  as_task([&](EventBoard& board) {
    const auto first = board.subscribe("hpc-07");
    const auto second = board.subscribe("hpc-08");
    DomainEvent lost;
    lost.kind = DomainEvent::Kind::connection_lost;
    board.post(lost);
    for (const auto& inbox : {first, second}) {
      DomainEvent event;
      ASSERT_EQ(inbox->next(TimePoint::never(), event), Wake::ready);
      EXPECT_EQ(event.kind, DomainEvent::Kind::connection_lost);
    }
  });
}

TEST_F(DomainEventsTest, another_thread_wakes_the_task_that_waits) {
  as_task([&](EventBoard& board) {
    const auto inbox = board.subscribe("hpc-07");
    std::thread loop([&] { board.post(event_of("hpc-07", "ua-vf0")); });
    DomainEvent event;
    EXPECT_EQ(inbox->next(TimePoint::never(), event), Wake::ready);
    loop.join();
  });
}

TEST_F(DomainEventsTest, the_wait_of_a_cancelled_task_ends) {
  as_task([&](EventBoard& board) {
    const auto inbox = board.subscribe("hpc-07");
    const auto task = executor_.spawn("waits", [&] {
      DomainEvent event;
      EXPECT_EQ(inbox->next(TimePoint::never(), event), Wake::cancelled);
    });
    task->cancel();
    task->join();
  });
}

TEST_F(DomainEventsTest, nothing_is_kept_for_an_inbox_that_has_gone) {
  as_task([&](EventBoard& board) {
    board.subscribe("hpc-07").reset();
    board.post(event_of("hpc-07", "ua-vf0"));
    const auto inbox = board.subscribe("hpc-07");
    DomainEvent event;
    EXPECT_EQ(inbox->next(soon(), event), Wake::timed_out);
  });
}

TEST_F(DomainEventsTest, an_inbox_that_nobody_empties_keeps_the_latest) {
  as_task([&](EventBoard& board) {
    const auto inbox = board.subscribe("hpc-07");
    constexpr int posted = 5000;
    for (int i = 0; i < posted; ++i) board.post(event_of("hpc-07", std::to_string(i)));
    DomainEvent event;
    int taken = 0;
    while (inbox->next(clock_.now(), event) == Wake::ready) ++taken;
    EXPECT_LT(taken, posted);
    EXPECT_EQ(event.alias, "4999");
  });
}

}  // namespace
}  // namespace ferry
