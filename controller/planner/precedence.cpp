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

  /// A later move of a VM does not hold up what moves earlier; its first one does.
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
          add_before(moves_of[first], moves_of[then]);
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

  /// Waves of which each waits for the next, and the last for the first; not in `order`.
  [[nodiscard]] std::vector<std::size_t> circle(const std::vector<std::size_t>& order) const {
    std::vector<bool> stuck(after_.size(), true);
    for (const std::size_t wave : order) stuck[wave] = false;
    const auto first = std::find(stuck.begin(), stuck.end(), true) - stuck.begin();
    std::vector<std::size_t> way = {static_cast<std::size_t>(first)};
    while (true) {
      // Each that is stuck waits for one that is.
      const auto& before = after_[way.back()];
      const auto next = std::find_if(before.begin(), before.end(),
                                     [&](const auto& each) { return stuck[each.first]; });
      const auto seen = std::find(way.begin(), way.end(), next->first);
      if (seen != way.end()) return {seen, way.end()};
      way.push_back(next->first);
    }
  }

  [[nodiscard]] const std::map<std::size_t, bool>& after(std::size_t wave) const {
    return after_[wave];
  }

 private:
  [[nodiscard]] VmId vm_of(std::size_t move) const { return instance_.moves[move].vm; }

  [[nodiscard]] Duration time_of(std::size_t move) const { return instance_.moves[move].at.at; }

  /// Moves of a VM, and those of another that is to move after it.
  void add_before(const std::vector<std::size_t>& first, const std::vector<std::size_t>& then) {
    if (first.empty()) return;
    const auto earlier = [this](std::size_t a, std::size_t b) { return time_of(a) < time_of(b); };
    const std::size_t earliest = *std::min_element(first.begin(), first.end(), earlier);
    for (const std::size_t b : then) {
      for (const std::size_t a : first) {
        if (a == earliest || time_of(a) <= time_of(b)) add(a, b, true);
      }
    }
  }

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

std::string describe_circle(const Instance& instance, const std::vector<PlannedWave>& waves,
                            const std::vector<std::size_t>& circle) {
  const auto first_move = [&](std::size_t wave) -> const MoveSpec& {
    return instance.moves[waves[wave].moves.front()];
  };
  const auto name = [&](std::size_t wave) -> const std::string& {
    return instance.vms[first_move(wave).vm.index].name;
  };
  constexpr std::size_t most_names = 8;
  std::string way = "a VM that it waits for is in it";
  if (circle.size() > 1) {
    way = name(circle.front());
    for (std::size_t i = 1; i < std::min(circle.size(), most_names); ++i) {
      way += " after " + name(circle[i]);
    }
    if (circle.size() > most_names) {
      way += fmt::format(" after {} more", circle.size() - most_names);
    }
    way += " after " + name(circle.front());
  }
  const bool several = std::any_of(circle.begin(), circle.end(),
                                   [&](std::size_t wave) { return waves[wave].moves.size() > 1; });
  return fmt::format(
      "migration {}: the wave of {} would have to wait for itself ({}), as `before` and the "
      "room on the hosts ask; write {}fewer constraints",
      first_move(circle.front()).migration, name(circle.front()), way,
      several ? "batch: vm, or " : "");
}

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
    return tl::unexpected(describe_circle(instance, waves, precedence.circle(order)));
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
