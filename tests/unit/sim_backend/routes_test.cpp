// The routes that plans count with are those that the engine takes.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <simgrid/s4u.hpp>
#include <string>
#include <vector>

#include "core/topology/link_map.hpp"
#include "sim_backend/networks.hpp"
#include "tests/unit/sim_backend/child.hpp"

namespace ferry {
namespace {

/// Between every two hosts: as many links, and everywhere the same link of the engine for the same
/// `LinkId`. Returns what differs.
std::string differences(const Instance& instance) {
  int count = 1;
  std::string name = "routes";
  std::string quiet = "--log=root.threshold:error";
  char* arguments[] = {name.data(), quiet.data(), nullptr};
  count = 2;
  simgrid::s4u::Engine engine(&count, arguments);
  const Networks networks(instance);
  LinkMap links(instance);
  std::map<LinkId, std::string> engines_name;
  std::map<std::string, LinkId> ours;
  std::string text;
  const auto hosts = static_cast<std::uint32_t>(instance.hosts.size());
  for (std::uint32_t from = 0; from < hosts; ++from) {
    for (std::uint32_t to = 0; to < hosts; ++to) {
      if (from == to) continue;
      std::vector<simgrid::s4u::Link*> theirs;
      networks.host(NetworkId{0}, HostId{from})
          ->route_to(networks.host(NetworkId{0}, HostId{to}), theirs, nullptr);
      const LinkMap::Route route = links.route(Transport::tcp, HostId{from}, HostId{to});
      if (theirs.size() != route.size()) {
        text += fmt::format("{} to {}: {} links, the engine has {}\n", from, to, route.size(),
                            theirs.size());
        continue;
      }
      for (std::size_t i = 0; i < theirs.size(); ++i) {
        const LinkId link = *(route.begin() + i);
        const std::string& known =
            engines_name.try_emplace(link, theirs[i]->get_cname()).first->second;
        const LinkId same = ours.try_emplace(theirs[i]->get_cname(), link).first->second;
        if (known == theirs[i]->get_cname() && same == link) continue;
        text += fmt::format("{} to {}: link {} of the way is {}, the engine's is {}\n", from, to, i,
                            known, theirs[i]->get_cname());
      }
    }
  }
  return text;
}

Instance cluster(std::uint32_t hosts, const NetworkTopology& topology) {
  Instance instance = PlainWorld(hosts).instance;
  instance.networks.front().topology = topology;
  return instance;
}

TEST(RoutesTest, a_star_goes_over_the_links_of_both_hosts) {
  EXPECT_EQ(text_from_child([] { return differences(cluster(5, Star{})); }), "");
}

TEST(RoutesTest, a_fat_tree_goes_over_the_spine_that_the_engine_takes) {
  for (const std::uint32_t hosts_per_leaf : {1U, 3U, 4U}) {
    for (const std::uint32_t spines : {1U, 2U, 3U, 5U}) {
      // The last leaf is not full.
      const Instance instance = cluster(
          4 * hosts_per_leaf - 1, FatTree{.hosts_per_leaf = hosts_per_leaf, .spines = spines});
      EXPECT_EQ(text_from_child([&] { return differences(instance); }), "")
          << hosts_per_leaf << " hosts a leaf, " << spines << " spines";
    }
  }
}

TEST(RoutesTest, a_dragonfly_goes_over_the_routers_that_the_engine_takes) {
  for (const Dragonfly fly :
       {Dragonfly{.groups = 3, .chassis = 2, .routers = 3, .hosts_per_router = 2},
        Dragonfly{.groups = 4, .chassis = 3, .routers = 4, .hosts_per_router = 1},
        Dragonfly{.groups = 1, .chassis = 2, .routers = 2, .hosts_per_router = 3},
        Dragonfly{.groups = 2, .chassis = 1, .routers = 5, .hosts_per_router = 1}}) {
    const std::uint32_t hosts = fly.groups * fly.chassis * fly.routers * fly.hosts_per_router;
    EXPECT_EQ(text_from_child([&] { return differences(cluster(hosts, fly)); }), "")
        << fly.groups << " groups";
  }
}

}  // namespace
}  // namespace ferry
