#include "sim_backend/networks.hpp"

#include <fmt/format.h>

#include <simgrid/s4u.hpp>
#include <string>
#include <utility>

#include "core/ports/world_error.hpp"
#include "core/units/check.hpp"

namespace ferry {
namespace {

namespace s4u = simgrid::s4u;

/// Hosts compute nothing in the engine, but it asks for a speed.
constexpr double host_speed = 1e9;
/// Latencies are paid by who sends (see `Flows`); in the engine they would cost each flow a step of
/// its own and make shares depend on the length of paths.
constexpr double no_latency = 0.0;

struct Builder {
  const Instance& instance;
  const Network& network;
  std::uint32_t index;
  const s4u::NetZone* root;

  [[nodiscard]] std::string zone_name() const { return fmt::format("network{}", index); }
  /// `number` beyond our hosts: a place of the topology that stays empty.
  s4u::Host* make_host(s4u::NetZone* zone, std::size_t number) const {
    return zone->create_host(fmt::format("network{}-host{}", index, number), host_speed)->seal();
  }
  [[nodiscard]] double bandwidth() const { return network.link.bandwidth.to_bytes_per_second(); }

  /// Callback for the topologies that make their own places, in the order of `id`.
  [[nodiscard]] s4u::ClusterCallbacks places(std::vector<s4u::Host*>& hosts) const {
    return s4u::ClusterCallbacks(
        [this, &hosts](s4u::NetZone* zone, const std::vector<unsigned long>&, unsigned long) {
          s4u::Host* const host = make_host(zone, hosts.size());
          hosts.push_back(host);
          return std::make_pair(host->get_netpoint(),
                                static_cast<simgrid::kernel::routing::NetPoint*>(nullptr));
        });
  }

  std::vector<s4u::Host*> operator()(const Star&) const {
    s4u::NetZone* const zone = s4u::create_star_zone(zone_name());
    zone->set_parent(root);
    std::vector<s4u::Host*> hosts;
    for (std::size_t i = 0; i < instance.hosts.size(); ++i) {
      s4u::Host* const host = make_host(zone, i);
      s4u::Link* const link =
          zone->create_split_duplex_link(fmt::format("network{}-link{}", index, i), bandwidth())
              ->set_latency(no_latency)
              ->seal();
      zone->add_route(host->get_netpoint(), nullptr, nullptr, nullptr,
                      {{link, s4u::LinkInRoute::Direction::UP}}, true);
      hosts.push_back(host);
    }
    zone->seal();
    return hosts;
  }

  std::vector<s4u::Host*> operator()(const FatTree& tree) const {
    const auto count = static_cast<std::uint32_t>(instance.hosts.size());
    const std::uint32_t leaves = (count + tree.hosts_per_leaf - 1) / tree.hosts_per_leaf;
    std::vector<s4u::Host*> hosts;
    s4u::create_fatTree_zone(
        zone_name(), root,
        s4u::FatTreeParams(2, {tree.hosts_per_leaf, leaves}, {1, tree.spines}, {1, 1}),
        places(hosts), bandwidth(), no_latency, s4u::Link::SharingPolicy::SPLITDUPLEX)
        ->seal();
    hosts.resize(count);
    return hosts;
  }

  std::vector<s4u::Host*> operator()(const Dragonfly& fly) const {
    const std::uint64_t places_there =
        std::uint64_t{fly.groups} * fly.chassis * fly.routers * fly.hosts_per_router;
    if (places_there < instance.hosts.size()) {
      throw WorldError(
          fmt::format("network '{}': its dragonfly has {} places for {} hosts; raise groups, "
                      "chassis, routers or "
                      "hosts_per_router",
                      network.name, places_there, instance.hosts.size()));
    }
    // The engine's routes reach group number g through router number g of a chassis (SimGrid 3.32,
    // measured: it crashes on the first flow to a group that has none).
    if (fly.groups > 1 && fly.groups > fly.routers) {
      throw WorldError(
          fmt::format("network '{}': its dragonfly has {} groups but only {} routers in a chassis, "
                      "and needs one "
                      "router of each chassis for each group; raise routers or lower groups",
                      network.name, fly.groups, fly.routers));
    }
    std::vector<s4u::Host*> hosts;
    s4u::create_dragonfly_zone(zone_name(), root,
                               s4u::DragonflyParams({fly.groups, 1}, {fly.chassis, 1},
                                                    {fly.routers, 1}, fly.hosts_per_router),
                               places(hosts), bandwidth(), no_latency,
                               s4u::Link::SharingPolicy::SPLITDUPLEX)
        ->seal();
    hosts.resize(instance.hosts.size());
    return hosts;
  }
};

}  // namespace

Networks::Networks(const Instance& instance) : networks_(instance.networks) {
  s4u::NetZone* const root = s4u::create_empty_zone("ferry");
  for (std::uint32_t i = 0; i < networks_.size(); ++i) {
    const Builder builder{instance, networks_[i], i, root};
    hosts_.push_back(std::visit(builder, networks_[i].topology));
  }
  root->seal();
}

std::vector<s4u::Link*> Networks::links_of(NetworkId network, HostId which) const {
  if (hosts_[network.index].size() < 2) return {};
  const HostId other{which.index == 0 ? 1U : 0U};
  std::vector<s4u::Link*> out;
  std::vector<s4u::Link*> in;
  host(network, which)->route_to(host(network, other), out, nullptr);
  host(network, other)->route_to(host(network, which), in, nullptr);
  return {out.front(), in.back()};
}

std::uint32_t Networks::hops(NetworkId network, HostId from, HostId to) const {
  if (from == to) return 0;
  const NetworkTopology& topology = networks_[network.index].topology;
  if (std::holds_alternative<Star>(topology)) return 2;
  if (const auto* const tree = std::get_if<FatTree>(&topology)) {
    return from.index / tree->hosts_per_leaf == to.index / tree->hosts_per_leaf ? 2 : 4;
  }
  std::vector<s4u::Link*> links;
  host(network, from)->route_to(host(network, to), links, nullptr);
  return static_cast<std::uint32_t>(links.size());
}

}  // namespace ferry
