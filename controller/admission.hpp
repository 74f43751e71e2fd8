// Which waves may open now. A wave that cannot is kept at what it lacks, and looked at again only
// when some of that came free: so that 100,000 waves under tight limits cost no rescans.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <queue>
#include <set>
#include <utility>
#include <vector>

#include "controller/limits.hpp"
#include "core/topology/inventory.hpp"

namespace ferry {

/// What one move of a wave needs.
struct AdmissionMove {
  std::size_t move = 0;  ///< index into Instance::moves
  HostId from;
  HostId to;
  /// Whose move has to end first: its own VM's earlier one, or another's that it must follow.
  std::optional<VmId> waits_for = std::nullopt;
};

/// Waves are numbered by the caller; of those that may open, the lowest number opens first. Not
/// synchronised.
class Admission {
 public:
  /// `moves_of`: a wave's moves as things stand when it is asked.
  Admission(const Instance& instance, Limiter& limiter, Inventory& inventory,
            std::function<std::vector<AdmissionMove>(std::size_t wave)> moves_of);

  /// A wave that may not open before `not_before`. Each wave once.
  void add(std::size_t wave, TimePoint not_before);
  /// The next wave that may open, all of its places and reservations taken; none: nothing can until
  /// time passes or something comes free.
  std::optional<std::size_t> next(TimePoint now);
  /// Whether waves are left that `next` has not refused since their time came or since what they
  /// lacked came free.
  [[nodiscard]] bool has_candidates(TimePoint now) const;
  /// When the next wave's time comes; never: none waits for its time.
  [[nodiscard]] TimePoint next_time() const;

  /// A move has ended, and what it held beyond its VM's present host was given back.
  void move_ended(const MoveSpec& move, HostId from, HostId to);
  /// A move left the links of its path, or will never begin.
  void links_left(const MoveSpec& move, HostId from, HostId to);
  void given_up(const MoveSpec& move);
  /// A move that was to go to `host` goes elsewhere: its wave is to be looked at again.
  void redirected(HostId host);

 private:
  using Waves = std::priority_queue<std::size_t, std::vector<std::size_t>, std::greater<>>;
  /// Something that a wave can lack: a place under a limit, room on a host, its VM's turn.
  struct Lack {
    Waves waiting;                     ///< to be looked at when some of it comes free
    std::vector<std::size_t> refused;  ///< looked at since then
    bool free = false;
  };
  struct Timed {
    TimePoint not_before;
    std::size_t wave;
    bool operator>(const Timed& other) const {
      return std::pair(not_before, wave) > std::pair(other.not_before, other.wave);
    }
  };

  [[nodiscard]] std::size_t room_on(HostId host) const { return first_room_ + host.index; }
  [[nodiscard]] std::size_t turn_of(VmId vm) const { return first_turn_ + vm.index; }
  /// Takes everything, or nothing: then what is lacking.
  std::optional<std::size_t> take(std::size_t wave);
  /// Nobody at all could get any of it.
  [[nodiscard]] bool exhausted(std::size_t lack) const;
  void came_free(std::size_t lack);
  void come_due(TimePoint now);

  const Instance& instance_;
  Limiter& limiter_;
  Inventory& inventory_;
  std::function<std::vector<AdmissionMove>(std::size_t)> moves_of_;
  std::size_t first_room_;
  std::size_t first_turn_;
  std::vector<Lack> lacks_;  ///< limits' places, hosts' rooms, VMs' turns
  std::priority_queue<Timed, std::vector<Timed>, std::greater<>> timed_;
  Waves due_;  ///< whose time has come, never looked at
  /// The first wave of each `Lack` of which some is free: (wave, lack).
  std::set<std::pair<std::size_t, std::size_t>> free_;
};

}  // namespace ferry
