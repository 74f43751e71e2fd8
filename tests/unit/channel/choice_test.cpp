#include "core/channel/choice.hpp"

#include <gtest/gtest.h>

namespace ferry {
namespace {

constexpr std::size_t no_end = std::numeric_limits<std::size_t>::max();

Choice eager(Channel channel) { return {Protocol::eager, channel, channel, 4096}; }
Choice by_read(Channel control, Channel data) {
  return {Protocol::rendezvous_read, control, data, 4096};
}

TEST(Route, the_last_size_of_a_range_belongs_to_it_and_the_next_one_does_not) {
  const Route route({{100, eager(Channel::shm)},
                     {5000, eager(Channel::ivshmem)},
                     {no_end, by_read(Channel::shm, Channel::cma)}});
  EXPECT_EQ(route.choose(0).channel, Channel::shm);
  EXPECT_EQ(route.choose(100).channel, Channel::shm);
  EXPECT_EQ(route.choose(101).channel, Channel::ivshmem);
  EXPECT_EQ(route.choose(5000).channel, Channel::ivshmem);
  EXPECT_EQ(route.choose(5001).data, Channel::cma);
  EXPECT_EQ(route.choose(no_end).data, Channel::cma);
  EXPECT_EQ(route.control(), Channel::shm);
  EXPECT_TRUE(route.reaches());
}

TEST(Route, one_that_reaches_nobody_says_why) {
  const Route route("sriov: not both VMs have a virtual function");
  EXPECT_FALSE(route.reaches());
  EXPECT_EQ(route.unreachable(), "sriov: not both VMs have a virtual function");
}

TEST(RouteDeathTest, ranges_that_cannot_be_are_a_programmers_error) {
  EXPECT_DEATH(Route({{100, eager(Channel::shm)}}), "no end");
  EXPECT_DEATH(Route({{100, eager(Channel::shm)}, {100, eager(Channel::shm)}}), "no end");
  EXPECT_DEATH(Route({{9, eager(Channel::shm)}, {8, eager(Channel::shm)}, {no_end, {}}}), "ascend");
  EXPECT_DEATH(Route({{9, eager(Channel::shm)}, {no_end, by_read(Channel::sriov, Channel::sriov)}}),
               "control packets of a pair go by one channel");
}

}  // namespace
}  // namespace ferry
