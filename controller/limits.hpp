// How many moves may run at once: in the cluster, out of and into a host, over a link.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/scenario/instance.hpp"
#include "core/topology/link_map.hpp"

namespace ferry {

/// Counts running moves against `schedule.limits`. A limit of 0 admits nothing.
///
/// What is limited are *places*, numbered from 0: the cluster, each host outwards and inwards, and
/// with the `link` limit each direction of each host's link in the network that carries the move;
/// in a fat tree also each direction between a leaf and its spines, whose links count together
/// (limit x spines). A plan may give each single link a limit of its own besides.
class Limiter {
 public:
  Limiter(const Instance& instance, const Limits& limits)
      : Limiter(instance, limits, nullptr, {}) {}
  /// `slots`: limits by `LinkId` in `links`, for those links that have one. A link that was full
  /// takes nobody until no more than `refill` of its slots are used (and at least one is free).
  Limiter(const Instance& instance, const Limits& limits, std::shared_ptr<LinkMap> links,
          const std::vector<std::uint32_t>& slots, Ratio refill = Ratio(1));

  /// The limited places that one move takes: those that have a limit.
  class Places {
   public:
    [[nodiscard]] const std::size_t* begin() const { return places_.data(); }
    [[nodiscard]] const std::size_t* end() const { return places_.data() + count_; }

   private:
    friend Limiter;
    void add(std::size_t place) { places_[count_++] = place; }
    std::array<std::size_t, 15> places_{};  // cluster, 2 hosts, 2 links, 2 leaves, a route's links
    std::size_t count_ = 0;
  };
  [[nodiscard]] Places places_of(const MoveSpec& move, HostId from, HostId to) const;
  /// Of all numbers that places have, also unlimited ones.
  [[nodiscard]] std::size_t place_count() const { return places_.size(); }
  /// Whether no further move may take the place.
  [[nodiscard]] bool full(std::size_t place) const {
    return places_[place].draining || places_[place].used >= places_[place].limit;
  }

  /// The first place of the move that is full; none: the move is admitted.
  [[nodiscard]] std::optional<std::size_t> full_place(const MoveSpec& move, HostId from,
                                                      HostId to) const;
  [[nodiscard]] bool admits(const MoveSpec& move, HostId from, HostId to) const {
    return !full_place(move, from, to).has_value();
  }
  void take(const MoveSpec& move, HostId from, HostId to);
  void give(const MoveSpec& move, HostId from, HostId to);

  /// Of the places of a move those on single links that a plan limits. They are needed only until
  /// its memory has moved, and may be given back before the others: then `give_rest` ends the move.
  [[nodiscard]] Places slots_of(const MoveSpec& move, HostId from, HostId to) const;
  void give_slots(const MoveSpec& move, HostId from, HostId to);
  void give_rest(const MoveSpec& move, HostId from, HostId to);

 private:
  struct Place {
    std::uint64_t used = 0;
    std::uint64_t limit = 0;
    std::uint64_t refill_at = ~std::uint64_t{0};  ///< of one that was full: open again at so many
    bool draining = false;                        ///< it was full, and has not come down to there
  };
  /// Where the places of a network begin.
  struct NetworkPlaces {
    std::size_t hosts = 0;
    std::size_t leaves = 0;
    std::uint32_t hosts_per_leaf = 0;  ///< 0: no leaves
  };

  void give_back(std::size_t place);
  /// Makes `count` pairs of places, outwards and inwards; returns the number of the first.
  std::size_t add_pairs(std::size_t count, std::uint64_t limit);

  bool cluster_limited_;
  bool out_limited_;
  bool in_limited_;
  bool links_limited_;
  std::vector<Place> places_;
  std::size_t hosts_ = 0;
  std::vector<NetworkPlaces> networks_;
  std::vector<std::size_t> network_of_transport_;
  std::shared_ptr<LinkMap> links_;
  std::size_t first_slot_ = 0;
  std::size_t slot_count_ = 0;
};

}  // namespace ferry
