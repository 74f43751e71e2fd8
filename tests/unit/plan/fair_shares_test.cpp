// Shares worked out by hand, and what max-min fairness says of any.
#include "controller/planner/fair_shares.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "core/ports/randomness.hpp"

namespace ferry {
namespace {

constexpr double gigabyte = 1e9;

class FairSharesTest : public testing::Test {
 protected:
  FairSharesTest() {
    instance.networks = {{.name = "net",
                          .topology = FatTree{.hosts_per_leaf = 4, .spines = 2},
                          .link = {Bandwidth::bytes_per_second(gigabyte), Duration::zero()},
                          .carries = {Transport::tcp}}};
    instance.hosts.resize(16);
    links.emplace(instance);
    for (std::uint32_t from = 0; from < 16; ++from) {
      for (std::uint32_t to = 0; to < 16; ++to) (void)route(from, to);
    }
    shares.emplace(*links);
  }
  LinkMap::Route route(std::uint32_t from, std::uint32_t to) {
    return links->route(Transport::tcp, HostId{from}, HostId{to});
  }
  std::uint32_t add(std::uint32_t from, std::uint32_t to,
                    Bandwidth limit = Bandwidth::unlimited()) {
    return shares->add(route(from, to), limit);
  }
  double share(std::uint32_t slot) { return shares->share(slot).to_bytes_per_second(); }

  Instance instance;
  std::optional<LinkMap> links;
  std::optional<FairShares> shares;
};

TEST_F(FairSharesTest, one_transfer_gets_the_link_or_its_limit) {
  const auto free = add(0, 1);
  const auto limited = add(2, 3, Bandwidth::bytes_per_second(3e8));
  shares->solve();
  EXPECT_DOUBLE_EQ(share(free), gigabyte);
  EXPECT_DOUBLE_EQ(share(limited), 3e8);
}

TEST_F(FairSharesTest, what_one_cannot_use_the_others_share) {
  const auto slow = add(0, 1, Bandwidth::bytes_per_second(1e8));
  const auto one = add(0, 2);
  const auto other = add(0, 3);
  shares->solve();
  EXPECT_DOUBLE_EQ(share(slow), 1e8);
  EXPECT_DOUBLE_EQ(share(one), 4.5e8);
  EXPECT_DOUBLE_EQ(share(other), 4.5e8);
}

TEST_F(FairSharesTest, a_bottleneck_elsewhere_leaves_more_here) {
  // Into host 5 go three; one of them comes from host 0, from which another goes to host 1.
  const auto crowded = add(0, 5);
  add(6, 5);
  add(7, 5);
  const auto beside = add(0, 1);
  shares->solve();
  EXPECT_NEAR(share(crowded), gigabyte / 3, 1);
  EXPECT_NEAR(share(beside), gigabyte * 2 / 3, 1);
}

TEST_F(FairSharesTest, only_changed_shares_are_reported) {
  const auto apart = add(8, 9);
  const auto one = add(0, 1);
  shares->solve();
  const auto other = add(0, 2);
  std::vector<std::uint32_t> changed = shares->solve();
  std::sort(changed.begin(), changed.end());
  EXPECT_EQ(changed, (std::vector<std::uint32_t>{one, other}));
  shares->remove(other);
  EXPECT_EQ(shares->solve(), std::vector<std::uint32_t>{one});
  EXPECT_DOUBLE_EQ(share(one), gigabyte);
  EXPECT_DOUBLE_EQ(share(apart), gigabyte);
}

/// Each transfer has its limit, or a full link on which nobody gets more than it does.
TEST_F(FairSharesTest, nobody_could_get_more_without_taking_it_from_one_with_less) {
  RandomStream draw(1, "fair-shares");
  struct Transfer {
    LinkMap::Route route;
    double limit;
  };
  std::map<std::uint32_t, Transfer> open;
  for (int step = 0; step < 500; ++step) {
    if (!open.empty() && draw.next_below(3) == 0) {
      auto victim = open.begin();
      std::advance(victim, static_cast<std::ptrdiff_t>(draw.next_below(open.size())));
      shares->remove(victim->first);
      open.erase(victim);
    } else {
      const auto from = static_cast<std::uint32_t>(draw.next_below(16));
      const auto to = (from + 1 + static_cast<std::uint32_t>(draw.next_below(15))) % 16;
      const double limit = draw.next_below(2) == 0
                               ? 1e8 * static_cast<double>(1 + draw.next_below(9))
                               : 2 * gigabyte;
      const auto slot = add(from, to, Bandwidth::bytes_per_second(limit));
      open.insert_or_assign(slot, Transfer{route(from, to), limit});
    }
    shares->solve();
    std::map<std::uint32_t, double> used;
    std::map<std::uint32_t, double> most;
    for (const auto& [slot, transfer] : open) {
      for (const LinkId link : transfer.route) {
        used[link.index] += share(slot);
        most[link.index] = std::max(most[link.index], share(slot));
      }
    }
    for (const auto& [link, sum] : used) ASSERT_LE(sum, gigabyte * (1 + 1e-9));
    for (const auto& [slot, transfer] : open) {
      const double own = share(slot);
      const bool has_bottleneck =
          std::any_of(transfer.route.begin(), transfer.route.end(), [&](LinkId link) {
            return used[link.index] > gigabyte * (1 - 1e-9) && own > most[link.index] * (1 - 1e-9);
          });
      ASSERT_TRUE(has_bottleneck || own > transfer.limit * (1 - 1e-9)) << "step " << step;
    }
  }
}

}  // namespace
}  // namespace ferry
