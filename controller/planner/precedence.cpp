#include "controller/planner/precedence.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <queue>

#include "core/topology/inventory.hpp"

namespace ferry {
namespace {

/// What waits for what, by wave.
class Precedence {
 public:
  Precedence(const Instance& instance, const std::vector<PlannedWave>& waves)
      : instance_(instance), wave_of_(instance.moves.size(), 0), after_(waves.size()) {
    for (std::size_t i = 0; i < waves.size(); ++i) {
      for (const std::size_t move : waves[i].moves) wave_of_[move] = i;
    }
  }

  /// A VM's own moves follow each other.
  void add_turns(const std::vector<PlacedMove>& placed) {
    std::map<VmId, std::size_t> last;
    for (const PlacedMove& move : placed) {
      const auto [found, is_first] = last.try_emplace(vm_of(move.move), move.move);
      if (is_first) continue;
      add(found->second, move.move, false);
      found->second = move.move;
    }
  }

  /// Moves at a later time do not hold up earlier ones.
  void add_constraints() {
    const bool any =
        std::any_of(instance_.constraints.begin(), instance_.constraints.end(),
                    [](const ConstraintSpec& c) { return c.kind == ConstraintSpec::Kind::before; });
    if (!any) return;
    std::map<VmId, std::vector<std::size_t>> moves_of;
    for (std::size_t i = 0; i < instance_.moves.size(); ++i) moves_of[vm_of(i)].push_back(i);
    for (const ConstraintSpec& constraint : instance_.constraints) {
      if (constraint.kind != ConstraintSpec::Kind::before) continue;
      for (const VmId first : constraint.vms) {
        for (const VmId then : constraint.then) {
          for (const std::size_t a : moves_of[first]) {
            for (const std::size_t b : moves_of[then]) {
              if (instance_.moves[a].at.at <= instance_.moves[b].at.at) add(a, b, true);
            }
          }
        }
      }
    }
  }

  void add_room(const std::vector<PlacedMove>& placed) {
    const std::vector<bool> tight = tight_hosts(placed);
    std::map<HostId, std::vector<std::size_t>> departures;
    for (const PlacedMove& move : placed) {
      if (tight[move.to.index]) {
        for (const std::size_t earlier : departures[move.to]) add(earlier, move.move, false);
      }
      if (tight[move.from.index]) departures[move.from].push_back(move.move);
    }
  }

  /// The waves' order; fewer than there are waves: the others are in a circle.
  [[nodiscard]] std::vector<std::size_t> order() const {
    std::vector<std::size_t> waits(after_.size());
    std::vector<std::vector<std::size_t>> next(after_.size());
    std::priority_queue<std::size_t, std::vector<std::size_t>, std::greater<>> ready;
    for (std::size_t i = 0; i < after_.size(); ++i) {
      waits[i] = after_[i].size();
      for (const auto& [wave, must_complete] : after_[i]) next[wave].push_back(i);
      if (waits[i] == 0) ready.push(i);
    }
    std::vector<std::size_t> order;
    while (!ready.empty()) {
      const std::size_t wave = ready.top();
      ready.pop();
      order.push_back(wave);
      for (const std::size_t follower : next[wave]) {
        if (--waits[follower] == 0) ready.push(follower);
      }
    }
    return order;
  }

  [[nodiscard]] const std::map<std::size_t, bool>& after(std::size_t wave) const {
    return after_[wave];
  }

 private:
  [[nodiscard]] VmId vm_of(std::size_t move) const { return instance_.moves[move].vm; }

  void add(std::size_t first, std::size_t then, bool must_complete) {
    bool& kept = after_[wave_of_[then]].try_emplace(wave_of_[first], false).first->second;
    kept = kept || must_complete;
  }

  /// Hosts that do not have room from the start for all that come, or where one comes that must not
  /// meet another.
  [[nodiscard]] std::vector<bool> tight_hosts(const std::vector<PlacedMove>& placed) const {
    Inventory inventory(instance_);
    std::vector<bool> tight(instance_.hosts.size(), false);
    for (const PlacedMove& move : placed) {
      const VmId vm = vm_of(move.move);
      if (inventory.holds(vm, move.to)) continue;  // it comes back
      if (inventory.fits(vm, move.to)) {
        inventory.reserve(vm, move.to);
      } else {
        tight[move.to.index] = true;
      }
    }
    return tight;
  }

  const Instance& instance_;
  std::vector<std::size_t> wave_of_;                ///< by move
  std::vector<std::map<std::size_t, bool>> after_;  ///< by wave: for which, must it complete
};

}  // namespace

tl::expected<void, std::string> keep_precedence(const Instance& instance,
                                                const std::vector<PlacedMove>& placed, bool room,
                                                std::vector<PlannedWave>& waves) {
  Precedence precedence(instance, waves);
  precedence.add_constraints();
  if (room) {
    precedence.add_turns(placed);
    precedence.add_room(placed);
  }
  const std::vector<std::size_t> order = precedence.order();
  if (order.size() < waves.size()) {
    std::vector<bool> done(waves.size(), false);
    for (const std::size_t wave : order) done[wave] = true;
    const auto stuck = std::find(done.begin(), done.end(), false) - done.begin();
    const std::size_t move = waves[static_cast<std::size_t>(stuck)].moves.front();
    return tl::unexpected(fmt::format(
        "migration {}: the wave of {} would have to wait for itself: `before` and the room on the "
        "hosts ask for an order in which its batch cannot move at once; write batch: vm, or fewer "
        "constraints",
        instance.moves[move].migration, instance.vms[instance.moves[move].vm.index].name));
  }
  std::vector<std::size_t> position(waves.size());
  for (std::size_t i = 0; i < order.size(); ++i) position[order[i]] = i;
  std::vector<PlannedWave> sorted(waves.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    sorted[i] = std::move(waves[order[i]]);
    for (const auto& [wave, must_complete] : precedence.after(order[i])) {
      sorted[i].after.push_back({position[wave], must_complete});
    }
  }
  waves = std::move(sorted);
  return {};
}

}  // namespace ferry
