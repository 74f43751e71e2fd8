// Which links a transfer between two hosts goes over, in each topology that a scenario can name.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/scenario/instance.hpp"

namespace ferry {

/// One direction of one link, numbered from 0 in the order in which a `LinkMap` was asked.
struct LinkId {
  std::uint32_t index = 0;
  auto operator<=>(const LinkId&) const = default;
};

/// The links of an instance's networks. Links are made when a route first needs them: nothing is
/// computed for pairs of hosts that never meet. Every link is full duplex; its two directions are
/// two `LinkId`s.
///
/// Routes: a star has each host's link to the middle. A fat tree goes over the spine whose number
/// is the destination's modulo the number of spines (the destination-modulo rule that keeps a
/// tree's routes in order). A dragonfly takes its shortest route: within the chassis to the router
/// that leads to the other group, to the group's first chassis, over, and then to the router's
/// number and the chassis of the destination.
class LinkMap {
 public:
  explicit LinkMap(const Instance& instance);

  /// The links of one route, in their order; at most 8.
  class Route {
   public:
    [[nodiscard]] const LinkId* begin() const { return links_.data(); }
    [[nodiscard]] const LinkId* end() const { return links_.data() + count_; }
    [[nodiscard]] std::size_t size() const { return count_; }

   private:
    friend LinkMap;
    void add(LinkId link) { links_[count_++] = link; }
    std::array<LinkId, 8> links_{};
    std::size_t count_ = 0;
  };

  /// Empty if no network carries `transport`, or from a host to itself.
  Route route(Transport transport, HostId from, HostId to);
  /// In the network with this index in `Instance::networks`; empty from a host to itself.
  Route route_in(std::uint32_t network, HostId from, HostId to);

  /// Links that some route has used so far.
  [[nodiscard]] std::size_t link_count() const { return links_.size(); }
  [[nodiscard]] Bandwidth bandwidth(LinkId link) const;
  [[nodiscard]] Duration latency(LinkId link) const;
  [[nodiscard]] const Network& network(LinkId link) const;
  /// "host3 out", "leaf 2 to spine 0".
  [[nodiscard]] std::string place(LinkId link, const Instance& instance) const;
  /// "host3 out (ethernet)", "leaf 2 to spine 0 (infiniband)".
  [[nodiscard]] std::string name(LinkId link, const Instance& instance) const;

 private:
  enum class Kind : std::uint8_t {
    host_out,
    host_in,
    up,     ///< leaf a to spine b
    down,   ///< spine a to leaf b
    green,  ///< router a to the router numbered b of its chassis
    black,  ///< router a to the router of its number in chassis b of its group
    blue,   ///< group a to group b
  };
  struct Link {
    std::uint32_t network = 0;
    Kind kind = Kind::host_out;
    std::uint32_t a = 0;
    std::uint32_t b = 0;
    auto operator<=>(const Link&) const = default;
  };
  /// A number that nothing has.
  static constexpr LinkId none{~std::uint32_t{0}};
  LinkId make(const Link& link);
  LinkId id_of(const Link& link);
  LinkId id_of_host(std::uint32_t network, Kind kind, HostId host);
  void add_fat_tree(Route& route, std::uint32_t network, const FatTree& tree, HostId from,
                    HostId to);
  void add_dragonfly(Route& route, std::uint32_t network, const Dragonfly& fly, HostId from,
                     HostId to);

  std::vector<Network> networks_;
  std::vector<std::optional<std::uint32_t>> network_of_transport_;
  std::vector<Link> links_;
  // Every route has two of hosts, and with many hosts a tree of them is many lines of memory deep.
  std::vector<std::array<LinkId, 2>> ids_of_hosts_;  // of each network each host's: out, in
  std::size_t hosts_ = 0;
  std::map<Link, LinkId> ids_;  // of all others
};

}  // namespace ferry
