#include "controller/limits.hpp"

#include <gtest/gtest.h>

#include "tests/contract/small_cluster.hpp"

namespace ferry {
namespace {

constexpr HostId a{0}, b{1}, c{2}, d{3};

class LimiterTest : public testing::Test {
 protected:
  SmallCluster cluster = small_cluster();
  MoveSpec move;
};

TEST_F(LimiterTest, without_limits_admits_everything) {
  Limiter limiter(cluster.instance, {});
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(limiter.admits(move, a, b));
    limiter.take(move, a, b);
  }
}

TEST_F(LimiterTest, counts_the_cluster_over_all_hosts) {
  Limiter limiter(cluster.instance, {.cluster = 2, .host_out = {}, .host_in = {}, .link = {}});
  limiter.take(move, a, b);
  limiter.take(move, c, d);
  EXPECT_FALSE(limiter.admits(move, b, c));
  limiter.give(move, a, b);
  EXPECT_TRUE(limiter.admits(move, b, c));
}

TEST_F(LimiterTest, counts_moves_out_of_and_into_a_host_apart) {
  Limiter limiter(cluster.instance, {.cluster = {}, .host_out = 1, .host_in = 2, .link = {}});
  limiter.take(move, a, b);
  EXPECT_FALSE(limiter.admits(move, a, c));
  EXPECT_TRUE(limiter.admits(move, b, a));
  EXPECT_TRUE(limiter.admits(move, c, b));
  limiter.take(move, c, b);
  EXPECT_FALSE(limiter.admits(move, d, b));
}

TEST_F(LimiterTest, a_limit_of_zero_admits_nothing) {
  const Limiter limiter(cluster.instance,
                        {.cluster = 0, .host_out = {}, .host_in = {}, .link = {}});
  EXPECT_FALSE(limiter.admits(move, a, b));
}

TEST_F(LimiterTest, counts_links_of_each_network_apart) {
  Network other = cluster.instance.networks[0];
  cluster.instance.networks[0].carries = {Transport::tcp};
  other.carries = {Transport::rdma};
  cluster.instance.networks.push_back(other);
  Limiter limiter(cluster.instance, {.cluster = {}, .host_out = {}, .host_in = {}, .link = 1});
  limiter.take(move, a, b);
  EXPECT_FALSE(limiter.admits(move, a, c));
  MoveSpec over_rdma;
  over_rdma.transfer.transport = Transport::rdma;
  EXPECT_TRUE(limiter.admits(over_rdma, a, c));
}

TEST_F(LimiterTest, counts_the_links_between_a_leaf_and_its_spines_together) {
  cluster.instance.networks[0].topology = FatTree{.hosts_per_leaf = 2, .spines = 2};
  Limiter limiter(cluster.instance, {.cluster = {}, .host_out = {}, .host_in = {}, .link = 3});
  // Six moves leave the leaf of a and b: three from each host, as many as two spines admit.
  for (int i = 0; i < 3; ++i) {
    limiter.take(move, a, c);
    limiter.take(move, b, d);
  }
  EXPECT_FALSE(limiter.admits(move, a, d));
  limiter.give(move, a, c);
  EXPECT_TRUE(limiter.admits(move, a, c));
  EXPECT_TRUE(limiter.admits(move, c, a));
}

}  // namespace
}  // namespace ferry
