#include "core/faults/cluster_faults.hpp"

#include <gtest/gtest.h>

namespace ferry {
namespace {

using Kind = ClusterFaultSpec::Kind;
constexpr HostId host0{0}, host1{1}, host2{2};
constexpr LinkPair path{0, host0, host1};

Duration seconds(double count) { return Duration::seconds(count); }
TimePoint at(double count) { return TimePoint::at(seconds(count)); }

ClusterFaults faults(std::vector<ClusterFaultSpec> specs) {
  Instance instance;
  instance.hosts.resize(3);
  instance.networks.resize(2);
  instance.cluster_faults = std::move(specs);
  return ClusterFaults(instance);
}

ClusterFaultSpec fault(Kind kind, HostId host, double from, std::optional<double> until = {}) {
  ClusterFaultSpec spec{.kind = kind, .host = host, .from = at(from)};
  if (until) spec.until = at(*until);
  return spec;
}

TEST(ClusterFaults, without_any_nothing_is_ever_different) {
  const ClusterFaults none = faults({});
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.down_from(host0, at(1)), TimePoint::never());
  EXPECT_EQ(none.share(path, at(1)), Ratio(1));
  EXPECT_EQ(none.breaks(path, at(1), seconds(30)), TimePoint::never());
  EXPECT_EQ(none.carried_by(path, at(1), seconds(2)), at(3));
  EXPECT_EQ(none.answered(host0, at(1), at(2)), at(2));
}

TEST(ClusterFaults, a_host_is_down_from_its_fault_until_its_end) {
  const ClusterFaults some = faults({fault(Kind::host_down, host0, 2, 5)});
  EXPECT_FALSE(some.is_down(host0, at(1.9)));
  EXPECT_TRUE(some.is_down(host0, at(2)));
  EXPECT_FALSE(some.is_down(host0, at(5)));
  EXPECT_FALSE(some.is_down(host1, at(3)));
  EXPECT_EQ(some.down_from(host0, at(1)), at(2));
  EXPECT_EQ(some.down_from(host0, at(3)), at(3));
  EXPECT_EQ(some.down_from(host0, at(5)), TimePoint::never());
  EXPECT_EQ(some.link_share(1, host0, at(3)), Ratio(0)) << "its links are down with it";
}

TEST(ClusterFaults, a_silent_host_is_given_up_after_the_keepalive_or_when_it_is_back) {
  const ClusterFaults some = faults({fault(Kind::host_down, host0, 2, 10)});
  EXPECT_EQ(some.given_up(host0, at(1), seconds(3)), at(5));
  EXPECT_EQ(some.given_up(host0, at(1), seconds(30)), at(10));
  EXPECT_EQ(some.given_up(host0, at(4), seconds(3)), at(4)) << "it was down when it was asked";
  EXPECT_EQ(some.given_up(host0, at(10), seconds(3)), TimePoint::never());
}

TEST(ClusterFaults, a_wait_ends_when_it_is_done_or_when_the_first_silent_host_is_given_up) {
  const ClusterFaults some =
      faults({fault(Kind::host_down, host0, 4), fault(Kind::host_down, host1, 3)});
  const std::vector<HostId> both = {host0, host1};
  const ClusterFaults::Wait done = some.wait_for(both, at(0), at(3), seconds(1));
  EXPECT_EQ(done.until, at(3));
  EXPECT_FALSE(done.silent.has_value());
  const ClusterFaults::Wait silent = some.wait_for(both, at(0), at(10), seconds(1));
  EXPECT_EQ(silent.until, at(4));
  EXPECT_EQ(silent.silent, host1);
}

TEST(ClusterFaults, a_path_has_what_its_worse_end_has_left) {
  ClusterFaultSpec slow = fault(Kind::slow_link, host0, 1, 5);
  slow.factor = Ratio(0.5);
  ClusterFaultSpec slower = fault(Kind::slow_link, host1, 2, 4);
  slower.factor = Ratio(0.25);
  ClusterFaultSpec elsewhere = fault(Kind::link_down, host0, 0);
  elsewhere.network = 1;
  const ClusterFaults some = faults({slow, slower, elsewhere});
  EXPECT_EQ(some.share(path, at(0)), Ratio(1));
  EXPECT_EQ(some.share(path, at(1)), Ratio(0.5));
  EXPECT_EQ(some.share(path, at(3)), Ratio(0.25));
  EXPECT_EQ(some.share({1, host0, host1}, at(3)), Ratio(0));
  EXPECT_EQ(some.next_change(path, at(1)), at(2));
  EXPECT_EQ(some.carried(path, at(0), at(5)), seconds(1 + 0.5 + 2 * 0.25 + 0.5));
  EXPECT_EQ(some.carried_by(path, at(0), seconds(2.5)), at(5));
  EXPECT_EQ(some.carried_by(path, at(0), seconds(2)), at(4));
  EXPECT_EQ(some.carried_by({1, host0, host1}, at(0), seconds(2)), TimePoint::never());
}

TEST(ClusterFaults, a_connection_breaks_when_nothing_goes_through_for_too_long) {
  const ClusterFaults some =
      faults({fault(Kind::link_down, host0, 2, 4), fault(Kind::link_down, host1, 4, 6),
              fault(Kind::link_down, host2, 5, 6)});
  EXPECT_EQ(some.breaks(path, at(0), seconds(5)), TimePoint::never());
  EXPECT_EQ(some.breaks(path, at(0), seconds(3)), at(5)) << "one end after the other is down";
  EXPECT_EQ(some.breaks({0, host0, host2}, at(0), seconds(2)), at(4));
  EXPECT_EQ(some.breaks({0, host0, host2}, at(0), seconds(2.5)), TimePoint::never());
  EXPECT_EQ(some.breaks({0, host0, host2}, at(3), seconds(2)), TimePoint::never())
      << "what began in the outage has waited only for a second of it";
  EXPECT_EQ(some.up_from(path, at(3)), at(6));
}

TEST(ClusterFaults, a_connection_does_not_survive_a_host_that_was_down_for_a_moment) {
  const ClusterFaults some = faults({fault(Kind::host_down, host1, 2, 3)});
  EXPECT_EQ(some.breaks(path, at(0), seconds(30)), at(3));
  EXPECT_EQ(some.breaks(path, at(3), seconds(30)), TimePoint::never());
}

TEST(ClusterFaults, late_answers_come_with_their_delay_or_when_the_silence_is_over) {
  ClusterFaultSpec slow = fault(Kind::late_libvirt, host0, 1, 3);
  slow.delay = seconds(2);
  const ClusterFaults some = faults({slow, fault(Kind::late_libvirt, host0, 4, 7)});
  EXPECT_EQ(some.answered(host0, at(0), at(0.5)), at(0.5));
  EXPECT_EQ(some.answered(host0, at(0), at(2)), at(2)) << "it was asked before";
  EXPECT_EQ(some.answered(host0, at(1), at(1.5)), at(3.5));
  EXPECT_EQ(some.answered(host0, at(1), at(2.5)), at(7)) << "both";
  EXPECT_EQ(some.answered(host0, at(3.5), at(4)), at(7));
  EXPECT_EQ(some.answered(host1, at(1), at(5)), at(5));
}

}  // namespace
}  // namespace ferry
