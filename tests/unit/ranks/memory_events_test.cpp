// Shared memory among what a wait on descriptors waits for.
#include "hw_backend/ranks/memory_events.hpp"

#include <gtest/gtest.h>

#include <thread>

#include "hw_backend/shm/shm_endpoint.hpp"
#include "hw_backend/shm/shm_fabric.hpp"
#include "hw_backend/shm/shm_wait_set.hpp"
#include "tests/device_file.hpp"

namespace ferry::ranks {
namespace {

constexpr LookLimits at_once{Duration::zero(), Duration::zero()};

/// Rank 0 sleeps on descriptors, at once; rank 1 on shared memory alone.
class MemoryEventsTest : public testing::Test {
 protected:
  static PacketHeader tagged(std::int32_t tag) {
    PacketHeader header;
    header.tag = tag;
    return header;
  }
  /// `end` of the pair sends and receives by turns.
  static void play(Endpoint& end, WaitSet& set, EndpointAddress other, bool serves, int turns) {
    for (int turn = 0; turn < turns; ++turn) {
      if (serves) {
        ASSERT_TRUE(end.post(other, Channel::shm, tagged(turn), {}));
      }
      const Arrival* got = nullptr;
      while ((got = end.poll()) == nullptr) set.wait(TimePoint::never());
      ASSERT_EQ(got->header.tag, turn);
      if (!serves) {
        ASSERT_TRUE(end.post(other, Channel::shm, tagged(turn), {}));
      }
    }
  }

  ThreadClock clock{1.0};
  std::shared_ptr<shm::Region> region = shm::Region::make_anonymous({.endpoints = 4, .ranks = 2});
  shm::ShmFabric fabric{
      region, clock, {}, {.shortest = Duration::zero(), .longest = Duration::zero()}};
  EventWaitSet events{clock, at_once};
};

TEST_F(MemoryEventsTest, wake_who_sleeps_on_descriptors) {
  MemoryEvents memory(region, events);
  const auto wait_set = fabric.make_shm_wait_set();
  const auto one = fabric.open_named(RankId{0}, memory);
  const auto other = fabric.open_named(RankId{1}, *wait_set);
  std::thread playing([&] { play(*other, *wait_set, {0}, false, 2000); });
  play(*one, events, {1}, true, 2000);
  playing.join();
}

TEST_F(MemoryEventsTest, tell_of_room_in_a_ring_that_was_full) {
  MemoryEvents memory(region, events);
  const auto wait_set = fabric.make_shm_wait_set();
  const auto one = fabric.open_named(RankId{0}, memory);
  const auto other = fabric.open_named(RankId{1}, *wait_set);
  std::thread reading([&] {
    for (int i = 0; i < 5000; ++i) {
      const Arrival* got = nullptr;
      while ((got = other->poll()) == nullptr) wait_set->wait(TimePoint::never());
      ASSERT_EQ(got->header.tag, i);
    }
  });
  for (int i = 0; i < 5000; ++i) {
    while (!one->post({1}, Channel::shm, tagged(i), {})) events.wait(TimePoint::never());
  }
  reading.join();
}

TEST_F(MemoryEventsTest, look_by_themselves_where_nobody_can_wake_them) {
  const DeviceFile file(Bytes::mebi(1));
  {
    const auto device = shm::Region::map_device({file.name()}, "job", 2, Duration::seconds(60));
    ASSERT_TRUE(device);
    MemoryEvents memory(region, events);
    const auto wait_set = fabric.make_shm_wait_set();
    shm::ShmEndpoint one(*device, memory, false, RankId{0});
    shm::ShmEndpoint other(*device, *wait_set, false, RankId{1});
    std::thread playing([&] { play(other, *wait_set, {0}, false, 200); });
    play(one, events, {1}, true, 200);
    playing.join();
  }
}

TEST_F(MemoryEventsTest, of_nothing_leave_a_wait_to_its_deadline) {
  MemoryEvents memory(region, events);
  const auto one = fabric.open_named(RankId{0}, memory);
  EXPECT_EQ(events.wait(clock.now() + Duration::milliseconds(20)), Wake::timed_out);
}

}  // namespace
}  // namespace ferry::ranks
