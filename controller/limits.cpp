#include "controller/limits.hpp"

#include <algorithm>

#include "core/units/check.hpp"

namespace ferry {

Limiter::Limiter(const Instance& instance, const Limits& limits)
    : limits_(limits), hosts_(instance.hosts.size()), network_of_transport_(transport_count, 0) {
  for (std::size_t i = 0; i < instance.networks.size(); ++i) {
    const Network& network = instance.networks[i];
    NetworkUse use;
    use.hosts.resize(instance.hosts.size());
    if (const auto* tree = std::get_if<FatTree>(&network.topology)) {
      use.hosts_per_leaf = tree->hosts_per_leaf;
      use.spines = tree->spines;
      use.leaves.resize(instance.hosts.size() / tree->hosts_per_leaf + 1);
    }
    networks_.push_back(std::move(use));
    for (const Transport transport : network.carries) {
      network_of_transport_[static_cast<std::size_t>(transport)] = i;
    }
  }
}

bool Limiter::admits(const MoveSpec& move, HostId from, HostId to) const {
  auto below = [](std::uint32_t used, const Limit& limit, std::uint32_t factor = 1) {
    return !limit || used < std::uint64_t{*limit} * factor;
  };
  if (!below(cluster_, limits_.cluster) || !below(hosts_[from.index].out, limits_.host_out) ||
      !below(hosts_[to.index].in, limits_.host_in)) {
    return false;
  }
  if (!limits_.link) return true;
  const NetworkUse& network =
      networks_[network_of_transport_[static_cast<std::size_t>(move.transfer.transport)]];
  if (!below(network.hosts[from.index].out, limits_.link) ||
      !below(network.hosts[to.index].in, limits_.link)) {
    return false;
  }
  const std::uint32_t leaf_from = from.index / network.hosts_per_leaf;
  const std::uint32_t leaf_to = to.index / network.hosts_per_leaf;
  return network.leaves.empty() || leaf_from == leaf_to ||
         (below(network.leaves[leaf_from].out, limits_.link, network.spines) &&
          below(network.leaves[leaf_to].in, limits_.link, network.spines));
}

void Limiter::take(const MoveSpec& move, HostId from, HostId to) { add(move, from, to, 1); }

void Limiter::give(const MoveSpec& move, HostId from, HostId to) {
  check(cluster_ > 0, "a place is given back only after it was taken");
  add(move, from, to, static_cast<std::uint32_t>(-1));
}

void Limiter::add(const MoveSpec& move, HostId from, HostId to, std::uint32_t change) {
  cluster_ += change;
  hosts_[from.index].out += change;
  hosts_[to.index].in += change;
  if (networks_.empty()) return;
  NetworkUse& network =
      networks_[network_of_transport_[static_cast<std::size_t>(move.transfer.transport)]];
  network.hosts[from.index].out += change;
  network.hosts[to.index].in += change;
  if (network.leaves.empty()) return;
  const std::uint32_t leaf_from = from.index / network.hosts_per_leaf;
  const std::uint32_t leaf_to = to.index / network.hosts_per_leaf;
  if (leaf_from == leaf_to) return;
  network.leaves[leaf_from].out += change;
  network.leaves[leaf_to].in += change;
}

}  // namespace ferry
