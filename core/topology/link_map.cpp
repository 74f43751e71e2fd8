#include "core/topology/link_map.hpp"

#include <fmt/format.h>

#include <variant>

namespace ferry {

LinkMap::LinkMap(const Instance& instance)
    : networks_(instance.networks),
      network_of_transport_(transport_count),
      ids_of_hosts_(instance.networks.size() * instance.hosts.size(), {none, none}),
      hosts_(instance.hosts.size()) {
  for (std::uint32_t i = 0; i < instance.networks.size(); ++i) {
    for (const Transport transport : instance.networks[i].carries) {
      auto& first = network_of_transport_[static_cast<std::size_t>(transport)];
      if (!first) first = i;
    }
  }
}

LinkId LinkMap::make(const Link& link) {
  links_.push_back(link);
  return LinkId{static_cast<std::uint32_t>(links_.size() - 1)};
}

LinkId LinkMap::id_of(const Link& link) {
  const auto [found, is_new] = ids_.try_emplace(link, none);
  if (is_new) found->second = make(link);
  return found->second;
}

LinkId LinkMap::id_of_host(std::uint32_t network, Kind kind, HostId host) {
  LinkId& id = ids_of_hosts_[network * hosts_ + host.index][kind == Kind::host_out ? 0 : 1];
  if (id == none) id = make({network, kind, host.index, 0});
  return id;
}

LinkMap::Route LinkMap::route(Transport transport, HostId from, HostId to) {
  const auto network = network_of_transport_[static_cast<std::size_t>(transport)];
  return network ? route_in(*network, from, to) : Route();
}

LinkMap::Route LinkMap::route_in(std::uint32_t network, HostId from, HostId to) {
  Route route;
  if (from == to) return route;
  const NetworkTopology& topology = networks_[network].topology;
  route.add(id_of_host(network, Kind::host_out, from));
  if (const auto* tree = std::get_if<FatTree>(&topology)) {
    add_fat_tree(route, network, *tree, from, to);
  } else if (const auto* fly = std::get_if<Dragonfly>(&topology)) {
    add_dragonfly(route, network, *fly, from, to);
  }
  route.add(id_of_host(network, Kind::host_in, to));
  return route;
}

void LinkMap::add_fat_tree(Route& route, std::uint32_t network, const FatTree& tree, HostId from,
                           HostId to) {
  const std::uint32_t leaf_from = from.index / tree.hosts_per_leaf;
  const std::uint32_t leaf_to = to.index / tree.hosts_per_leaf;
  if (leaf_from == leaf_to) return;
  const std::uint32_t spine = to.index % tree.spines;
  route.add(id_of({network, Kind::up, leaf_from, spine}));
  route.add(id_of({network, Kind::down, spine, leaf_to}));
}

void LinkMap::add_dragonfly(Route& route, std::uint32_t network, const Dragonfly& fly, HostId from,
                            HostId to) {
  struct Router {
    std::uint32_t group, chassis, number;
    bool operator==(const Router&) const = default;
  };
  const auto router_of = [&](HostId host) {
    const std::uint32_t router = host.index / fly.hosts_per_router;
    return Router{router / fly.routers / fly.chassis, router / fly.routers % fly.chassis,
                  router % fly.routers};
  };
  Router at = router_of(from);
  const Router goal = router_of(to);
  const auto position = [&] {
    return (at.group * fly.chassis + at.chassis) * fly.routers + at.number;
  };
  if (at == goal) return;
  if (at.group != goal.group) {
    if (at.number != goal.group) {
      route.add(id_of({network, Kind::green, position(), goal.group}));
      at.number = goal.group;
    }
    if (at.chassis != 0) {
      route.add(id_of({network, Kind::black, position(), 0}));
      at.chassis = 0;
    }
    route.add(id_of({network, Kind::blue, at.group, goal.group}));
    at = {goal.group, 0, at.group};
  }
  if (at.number != goal.number) {
    route.add(id_of({network, Kind::green, position(), goal.number}));
    // The engine's dragonfly goes on from the group's first chassis, whichever it came from.
    at = {goal.group, 0, goal.number};
  }
  if (at.chassis != goal.chassis)
    route.add(id_of({network, Kind::black, position(), goal.chassis}));
}

Bandwidth LinkMap::bandwidth(LinkId link) const { return network(link).link.bandwidth; }

Duration LinkMap::latency(LinkId link) const { return network(link).link.latency; }

const Network& LinkMap::network(LinkId link) const { return networks_[links_[link.index].network]; }

std::string LinkMap::name(LinkId link, const Instance& instance) const {
  return fmt::format("{} ({})", place(link, instance), network(link).name);
}

std::string LinkMap::place(LinkId id, const Instance& instance) const {
  const Link& link = links_[id.index];
  switch (link.kind) {
    case Kind::host_out: return fmt::format("{} out", instance.hosts[link.a].name);
    case Kind::host_in: return fmt::format("{} in", instance.hosts[link.a].name);
    case Kind::up: return fmt::format("leaf {} to spine {}", link.a, link.b);
    case Kind::down: return fmt::format("spine {} to leaf {}", link.a, link.b);
    case Kind::green: return fmt::format("router {} to number {} of its chassis", link.a, link.b);
    case Kind::black: return fmt::format("router {} to chassis {}", link.a, link.b);
    case Kind::blue: return fmt::format("group {} to group {}", link.a, link.b);
  }
  return {};
}

}  // namespace ferry
