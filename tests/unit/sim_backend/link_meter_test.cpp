#include "sim_backend/link_meter.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "tests/unit/sim_backend/child.hpp"

namespace ferry {
namespace {

struct TwoHosts {
  PlainWorld world{2};
  LinkMap links{world.instance};
  LinkMap::Route route = links.route_in(0, HostId{0}, HostId{1});
  LinkMeter meter;

  /// Every link of the route has carried the same.
  [[nodiscard]] std::vector<Bytes> carried() const {
    const LinkUsage usage = meter.usage(links, world.instance);
    EXPECT_EQ(usage.links.size(), 2U);
    EXPECT_EQ(usage.links[0].carried, usage.links[1].carried);
    return usage.links[0].carried;
  }
};

TEST(LinkMeterTest, counts_what_passes_in_each_interval_on_every_link_of_the_route) {
  TwoHosts lab;
  lab.meter.add(lab.route, Bytes(5));
  EXPECT_EQ(lab.meter.boundary(), TimePoint::at(Duration::milliseconds(1)));
  lab.meter.begin_next_interval();
  lab.meter.begin_next_interval();
  lab.meter.add(lab.route, Bytes(7));
  lab.meter.add(lab.route, Bytes(1));
  EXPECT_EQ(lab.meter.boundary(), TimePoint::at(Duration::milliseconds(3)));
  EXPECT_EQ(lab.carried(), (std::vector<Bytes>{Bytes(5), Bytes(0), Bytes(8)}));
  const LinkUsage usage = lab.meter.usage(lab.links, lab.world.instance);
  EXPECT_EQ(usage.links[0].name, "host0 out");
  EXPECT_EQ(usage.links[1].name, "host1 in");
}

TEST(LinkMeterTest, intervals_become_longer_when_there_are_too_many_and_keep_what_they_have) {
  TwoHosts lab;
  for (std::size_t i = 0; i < LinkMeter::most_intervals; ++i) {
    lab.meter.add(lab.route, Bytes(i));
    lab.meter.begin_next_interval();
  }
  const std::vector<Bytes> carried = lab.carried();
  ASSERT_EQ(carried.size(), LinkMeter::most_intervals / 2);
  EXPECT_EQ(carried[0], Bytes(0 + 1));
  EXPECT_EQ(carried[63], Bytes(126 + 127));
  EXPECT_EQ(lab.meter.usage(lab.links, lab.world.instance).interval, Duration::milliseconds(2));
  // The 65th interval of 2 ms.
  EXPECT_EQ(lab.meter.boundary(), TimePoint::at(Duration::milliseconds(130)));
}

}  // namespace
}  // namespace ferry
