#include "controller/limits.hpp"

#include <algorithm>

#include "core/units/check.hpp"

namespace ferry {
namespace {

constexpr std::size_t cluster = 0;
constexpr std::size_t out(std::size_t first, std::size_t index) { return first + 2 * index; }
constexpr std::size_t in(std::size_t first, std::size_t index) { return first + 2 * index + 1; }

}  // namespace

Limiter::Limiter(const Instance& instance, const Limits& limits, std::shared_ptr<LinkMap> links,
                 const std::vector<std::uint32_t>& slots, Ratio refill)
    : cluster_limited_(limits.cluster.has_value()),
      out_limited_(limits.host_out.has_value()),
      in_limited_(limits.host_in.has_value()),
      links_limited_(limits.link.has_value()),
      network_of_transport_(transport_count, 0),
      links_(std::move(links)),
      slot_count_(slots.size()) {
  places_.push_back({0, limits.cluster.value_or(0)});
  hosts_ = add_pairs(instance.hosts.size(), 0);
  for (std::size_t i = 0; i < instance.hosts.size(); ++i) {
    places_[out(hosts_, i)].limit = limits.host_out.value_or(0);
    places_[in(hosts_, i)].limit = limits.host_in.value_or(0);
  }
  for (std::size_t i = 0; i < instance.networks.size(); ++i) {
    const Network& network = instance.networks[i];
    for (const Transport transport : network.carries) {
      network_of_transport_[static_cast<std::size_t>(transport)] = i;
    }
    if (!limits.link) continue;
    NetworkPlaces places;
    places.hosts = add_pairs(instance.hosts.size(), *limits.link);
    if (const auto* tree = std::get_if<FatTree>(&network.topology)) {
      places.hosts_per_leaf = tree->hosts_per_leaf;
      places.leaves = add_pairs(instance.hosts.size() / tree->hosts_per_leaf + 1,
                                std::uint64_t{*limits.link} * tree->spines);
    }
    networks_.push_back(places);
  }
  first_slot_ = places_.size();
  for (const std::uint32_t slot : slots) {
    places_.push_back({0, slot});
    if (refill < Ratio(1)) {
      places_.back().refill_at =
          std::min(static_cast<std::uint64_t>(slot * refill.value()), std::uint64_t{slot} - 1);
    }
  }
}

std::size_t Limiter::add_pairs(std::size_t count, std::uint64_t limit) {
  const std::size_t first = places_.size();
  places_.resize(first + 2 * count, {0, limit});
  return first;
}

Limiter::Places Limiter::places_of(const MoveSpec& move, HostId from, HostId to) const {
  Places places;
  if (cluster_limited_) places.add(cluster);
  if (out_limited_) places.add(out(hosts_, from.index));
  if (in_limited_) places.add(in(hosts_, to.index));
  for (const std::size_t slot : slots_of(move, from, to)) places.add(slot);
  if (!links_limited_ || networks_.empty()) return places;
  const NetworkPlaces& network =
      networks_[network_of_transport_[static_cast<std::size_t>(move.transfer.transport)]];
  places.add(out(network.hosts, from.index));
  places.add(in(network.hosts, to.index));
  if (network.hosts_per_leaf == 0) return places;
  const std::uint32_t leaf_from = from.index / network.hosts_per_leaf;
  const std::uint32_t leaf_to = to.index / network.hosts_per_leaf;
  if (leaf_from != leaf_to) {
    places.add(out(network.leaves, leaf_from));
    places.add(in(network.leaves, leaf_to));
  }
  return places;
}

Limiter::Places Limiter::slots_of(const MoveSpec& move, HostId from, HostId to) const {
  Places places;
  if (slot_count_ == 0) return places;
  for (const LinkId link : links_->route(move.transfer.transport, from, to)) {
    if (link.index < slot_count_) places.add(first_slot_ + link.index);
  }
  return places;
}

std::optional<std::size_t> Limiter::full_place(const MoveSpec& move, HostId from, HostId to) const {
  for (const std::size_t place : places_of(move, from, to)) {
    if (full(place)) return place;
  }
  return std::nullopt;
}

void Limiter::take(const MoveSpec& move, HostId from, HostId to) {
  for (const std::size_t index : places_of(move, from, to)) {
    Place& place = places_[index];
    place.used += 1;
    place.draining = place.used >= place.limit && place.refill_at < place.limit;
  }
}

void Limiter::give(const MoveSpec& move, HostId from, HostId to) {
  for (const std::size_t place : places_of(move, from, to)) give_back(place);
}

void Limiter::give_slots(const MoveSpec& move, HostId from, HostId to) {
  for (const std::size_t place : slots_of(move, from, to)) give_back(place);
}

void Limiter::give_rest(const MoveSpec& move, HostId from, HostId to) {
  for (const std::size_t place : places_of(move, from, to)) {
    if (place < first_slot_ || place >= first_slot_ + slot_count_) give_back(place);
  }
}

void Limiter::give_back(std::size_t place) {
  check(places_[place].used > 0, "a place is given back only after it was taken");
  places_[place].used -= 1;
  if (places_[place].used <= places_[place].refill_at) places_[place].draining = false;
}

}  // namespace ferry
