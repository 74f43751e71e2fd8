#include "controller/planner/placement.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>

#include "controller/planner/host_order.hpp"
#include "controller/planner/path_bandwidth.hpp"
#include "controller/planner/vm_groups.hpp"
#include "core/topology/inventory.hpp"

namespace ferry {
namespace {

/// Equally good hosts that are compared by the load of their paths.
constexpr std::size_t hosts_compared = 64;
/// From so many on, hosts that many moves choose from are kept in order.
constexpr std::size_t many_hosts = 64;

/// Moves that must go to one host: one, or those of VMs that stay together.
using Unit = std::vector<std::size_t>;

class Placement {
 public:
  /// The largest load on the way to a host, and the sum of all.
  using PathLoad = std::pair<Duration, Duration>;

  Placement(Instance& instance, const Platform& platform, LinkMap& links,
            const PlacementOptions& options)
      : instance_(instance),
        platform_(platform),
        links_(links),
        options_(options),
        inventory_(instance),
        together_(instance.vms.size()),
        planned_(instance.hosts.size(), 0),
        stepped_aside_(instance.vms.size(), false),
        control_(instance.hosts.size()) {
    together_.join_constraints(instance);
    for (const VmSpec& vm : instance.vms) {
      planned_[vm.host.index] += 1;
      where_.push_back(vm.host);
    }
  }

  tl::expected<std::vector<PlacedMove>, std::string> run(const std::vector<std::size_t>& order) {
    const auto at = [this](std::size_t move) { return instance_.moves[move].at.at; };
    for (std::size_t first = 0; first < order.size();) {
      // Moves at different times do not make room for each other.
      std::size_t end = first + 1;
      while (end < order.size() && at(order[end]) == at(order[first])) ++end;
      if (auto placed = place_all(units_of({order.data() + first, end - first})); !placed) {
        return tl::unexpected(placed.error());
      }
      first = end;
    }
    return std::move(placed_);
  }

 private:
  /// Of moves at one time.
  std::vector<Unit> units_of(std::span<const std::size_t> order) {
    std::vector<Unit> units;
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::size_t> open;
    std::map<VmId, std::uint32_t> turns;
    for (const std::size_t index : order) {
      const MoveSpec& move = instance_.moves[index];
      const std::uint32_t turn = turns[move.vm]++;
      const auto key = std::pair(together_.root(move.vm.index), turn);
      const auto [found, is_new] = open.try_emplace(key, units.size());
      if (is_new) units.emplace_back();
      units[found->second].push_back(index);
    }
    return units;
  }

  /// Rounds over what has no place yet, as long as others leave and make room.
  tl::expected<void, std::string> place_all(std::vector<Unit> pending) {
    while (!pending.empty()) {
      std::vector<Unit> waiting;
      std::set<VmId> seen_waiting;
      for (Unit& unit : pending) {
        // A VM's second move at a time comes after its first.
        const bool its_turn = std::none_of(unit.begin(), unit.end(), [&](std::size_t move) {
          return seen_waiting.contains(vm_of(move));
        });
        const std::optional<HostId> to = its_turn ? choose(unit) : std::nullopt;
        if (to) {
          for (const std::size_t move : unit) commit(move, *to);
          continue;
        }
        if (!options_.planned) return tl::unexpected(refusals(unit));
        for (const std::size_t move : unit) seen_waiting.insert(vm_of(move));
        waiting.push_back(std::move(unit));
      }
      if (waiting.size() == pending.size() && !step_aside(waiting)) {
        return tl::unexpected(why_stuck(waiting));
      }
      pending = std::move(waiting);
    }
    return {};
  }

  [[nodiscard]] VmId vm_of(std::size_t move) const { return instance_.moves[move].vm; }

  std::optional<HostId> choose(const Unit& unit) {
    const MoveSpec& move = instance_.moves[unit.front()];
    const std::vector<HostId>& candidates = move.candidates;
    if (move.place == Place::in_order) {
      const std::size_t first = turns_[move.migration]++;
      for (std::size_t i = 0; i < candidates.size(); ++i) {
        const HostId host = candidates[(first + i) % candidates.size()];
        if (fits(unit, host)) return host;
      }
      return std::nullopt;
    }
    if (const HostOrder* const order = order_of(move)) return choose_first(unit, *order);
    std::optional<HostId> best;
    for (const HostId host : candidates) {
      if ((!best || rank(move.place, host) < rank(move.place, *best)) && fits(unit, host)) {
        best = host;
      }
    }
    if (!best || !compares_loads(move)) return best;
    LeastLoaded least(*this, unit, *best);
    const auto found = std::find(candidates.begin(), candidates.end(), *best);
    for (auto next = found + 1; next != candidates.end() && !least.full(); ++next) {
      if (rank(move.place, *next) == rank(move.place, *best) && fits(unit, *next)) {
        least.compare(*next);
      }
    }
    return least.host();
  }

  /// The same choice without a look at every host.
  std::optional<HostId> choose_first(const Unit& unit, const HostOrder& order) {
    auto next = order.begin();
    while (next != order.end() && !fits(unit, order.host(*next))) ++next;
    if (next == order.end()) return std::nullopt;
    const HostOrder::Rank best = next->first;
    const HostId first = order.host(*next);
    if (!compares_loads(instance_.moves[unit.front()])) return first;
    LeastLoaded least(*this, unit, first);
    for (++next; next != order.end() && next->first == best && !least.full(); ++next) {
      if (fits(unit, order.host(*next))) least.compare(order.host(*next));
    }
    return least.host();
  }

  [[nodiscard]] bool compares_loads(const MoveSpec& move) const {
    return options_.planned && move.place == Place::spread;
  }

  /// Of equally good hosts the first one to which the way is least loaded.
  class LeastLoaded {
   public:
    LeastLoaded(Placement& placement, const Unit& unit, HostId first)
        : placement_(placement), unit_(unit), best_(first) {}
    [[nodiscard]] bool full() const { return compared_ + 1 >= hosts_compared; }
    void compare(HostId host) {
      if (compared_++ == 0) load_ = placement_.path_load(unit_, best_);
      const PathLoad load = placement_.path_load(unit_, host);
      if (load < load_) {
        best_ = host;
        load_ = load;
      }
    }
    [[nodiscard]] HostId host() const { return best_; }

   private:
    Placement& placement_;
    const Unit& unit_;
    HostId best_;
    PathLoad load_;
    std::size_t compared_ = 0;
  };

  /// The order of a long list from its second use on; else null.
  const HostOrder* order_of(const MoveSpec& move) {
    const std::vector<HostId>& hosts = move.candidates;
    if (hosts.size() < many_hosts) return nullptr;
    auto [found, is_new] = orders_.try_emplace(std::pair(&hosts, move.place));
    if (is_new) return nullptr;
    if (!found->second) {
      found->second = std::make_unique<HostOrder>(
          hosts, instance_.hosts.size(), [&](HostId host) { return rank(move.place, host); });
    }
    return found->second.get();
  }

  /// What changed on a host changes its place in every order.
  void reorder(HostId host) {
    for (const auto& [list, order] : orders_) {
      if (order) order->update(host, rank(list.second, host));
    }
  }

  /// Whether all of the unit fit there together.
  bool fits(const Unit& unit, HostId host) {
    if (unit.size() == 1) return inventory_.fits(vm_of(unit.front()), host);
    std::size_t reserved = 0;
    for (; reserved < unit.size(); ++reserved) {
      const MoveSpec& move = instance_.moves[unit[reserved]];
      const bool candidate =
          std::find(move.candidates.begin(), move.candidates.end(), host) != move.candidates.end();
      if (!candidate || !inventory_.fits(move.vm, host)) break;
      inventory_.reserve(move.vm, host);
    }
    for (std::size_t i = 0; i < reserved; ++i) inventory_.release(vm_of(unit[i]), host);
    return reserved == unit.size();
  }

  /// How good a host is for `spread` and `pack`; lower is better.
  [[nodiscard]] HostOrder::Rank rank(Place place, HostId host) const {
    if (place == Place::pack) return inventory_.free(host).memory.count();
    return planned_[host.index];
  }

  /// With all moves that were placed so far.
  PathLoad path_load(const Unit& unit, HostId to) {
    PathLoad load;
    const auto count = [&load](Duration part) {
      load.first = std::max(load.first, part);
      load.second += part;
    };
    const MoveSpec& move = instance_.moves[unit.front()];
    const LinkMap::Route route = links_.route(move.transfer.transport, where_[move.vm.index], to);
    for (const LinkId& link : route) {
      // The way out of the source is the same to every destination.
      if (options_.by_destination && &link == route.begin()) continue;
      if (link.index < loads_.size()) count(loads_[link.index]);
    }
    if (!options_.by_destination) return {load.first, Duration::zero()};
    count(control_[to.index]);
    return load;
  }

  void commit(std::size_t index, HostId to) {
    const MoveSpec& move = instance_.moves[index];
    const HostId from = where_[move.vm.index];
    placed_.push_back({index, from, to});
    if (options_.planned) {
      const MoveLoad load = load_of(instance_, platform_, links_, move, from, to);
      loads_.resize(links_.link_count());
      for (const LinkId link : load.route) {
        loads_[link.index] += load.bytes / links_.bandwidth(link);
      }
      const HypervisorCosts& costs = platform_.hypervisor;
      control_[to.index] += (load.costs.prepare + load.costs.attach_vf + load.costs.add_ivshmem) *
                            costs.serial.value();
      control_[from.index] +=
          (load.costs.detach_vf + load.costs.remove_ivshmem) * costs.serial.value();
    }
    inventory_.reserve(move.vm, to);
    inventory_.release(move.vm, from);
    planned_[from.index] -= 1;
    planned_[to.index] += 1;
    where_[move.vm.index] = to;
    reorder(from);
    reorder(to);
  }

  /// Moves one of those that wait for each other to a host where it is in nobody's way; the
  /// smallest that can, since this move is made twice.
  bool step_aside(const std::vector<Unit>& waiting) {
    std::optional<std::pair<std::size_t, HostId>> best;
    for (const Unit& unit : waiting) {
      for (const std::size_t move : unit) {
        const VmId vm = vm_of(move);
        if (stepped_aside_[vm.index] || !somebody_waits_for(where_[vm.index], waiting)) continue;
        if (best &&
            instance_.vms[vm.index].memory >= instance_.vms[vm_of(best->first).index].memory) {
          continue;
        }
        if (const auto spare = spare_host(vm, waiting)) best = {move, *spare};
      }
    }
    if (!best) return false;
    MoveSpec aside = instance_.moves[best->first];
    aside.candidates = {best->second};
    stepped_aside_[aside.vm.index] = true;
    instance_.moves.push_back(std::move(aside));
    commit(instance_.moves.size() - 1, best->second);
    return true;
  }

  [[nodiscard]] bool somebody_waits_for(HostId host, const std::vector<Unit>& waiting) const {
    return std::any_of(waiting.begin(), waiting.end(), [&](const Unit& unit) {
      const HostList& candidates = instance_.moves[unit.front()].candidates;
      return std::find(candidates.begin(), candidates.end(), host) != candidates.end();
    });
  }

  /// Rather a host to which nobody of `waiting` goes; among equal ones the emptiest.
  [[nodiscard]] std::optional<HostId> spare_host(VmId vm, const std::vector<Unit>& waiting) const {
    std::vector<bool> wanted(instance_.hosts.size(), false);
    for (const Unit& unit : waiting) {
      for (const HostId host : instance_.moves[unit.front()].candidates) wanted[host.index] = true;
    }
    std::optional<HostId> best;
    for (std::uint32_t i = 0; i < instance_.hosts.size(); ++i) {
      if (!inventory_.fits(vm, HostId{i})) continue;
      if (!best || std::pair(wanted[i], planned_[i]) <
                       std::pair(wanted[best->index], planned_[best->index])) {
        best = HostId{i};
      }
    }
    return best;
  }

  [[nodiscard]] std::string refusals(const Unit& unit) const {
    constexpr std::size_t shown = 4;
    const MoveSpec& move = instance_.moves[unit.front()];
    std::string text =
        fmt::format("migration {}: {} fits on none of its destinations{}: ", move.migration,
                    instance_.vms[move.vm.index].name,
                    unit.size() > 1 ? " together with those that move with it" : "");
    for (std::size_t i = 0; i < std::min(shown, move.candidates.size()); ++i) {
      const std::optional<std::string> refusal = inventory_.refusal(move.vm, move.candidates[i]);
      text +=
          (i == 0 ? "" : "; ") + refusal.value_or(instance_.hosts[move.candidates[i].index].name +
                                                  " has no room for all of them");
    }
    if (move.candidates.size() > shown) {
      text += fmt::format("; and {} more hosts", move.candidates.size() - shown);
    }
    return text;
  }

  /// Follows who stands in whose way: round in a circle, or to one for whom nobody can make room.
  [[nodiscard]] std::string why_stuck(const std::vector<Unit>& waiting) const {
    std::map<std::uint32_t, std::size_t> on_host;  // the first unit that is to leave each host
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      for (const std::size_t move : waiting[i])
        on_host.try_emplace(where_[vm_of(move).index].index, i);
    }
    std::vector<std::size_t> chain = {0};
    for (;;) {
      std::optional<std::size_t> next;
      for (const HostId host : instance_.moves[waiting[chain.back()].front()].candidates) {
        const auto found = on_host.find(host.index);
        if (found != on_host.end()) {
          next = found->second;
          break;
        }
      }
      if (!next || *next == chain.back()) return refusals(waiting[chain.back()]);
      const auto again = std::find(chain.begin(), chain.end(), *next);
      if (again != chain.end()) {
        chain.erase(chain.begin(), again);
        break;
      }
      chain.push_back(*next);
    }
    std::string text;
    for (const std::size_t unit : chain) {
      const VmId vm = vm_of(waiting[unit].front());
      text += fmt::format("{} on {}, ", instance_.vms[vm.index].name,
                          instance_.hosts[where_[vm.index].index].name);
    }
    return fmt::format(
        "migration {}: {}each waits until the next one has left, the last for the first, and no "
        "host has room for one of them meanwhile; leave some room on a host",
        instance_.moves[waiting[chain.front()].front()].migration, text);
  }

  Instance& instance_;
  const Platform& platform_;
  LinkMap& links_;
  PlacementOptions options_;
  Inventory inventory_;
  VmGroups together_;
  std::vector<std::uint32_t> planned_;  ///< VMs by host
  std::vector<bool> stepped_aside_;     ///< by VM
  std::vector<HostId> where_;           ///< by VM
  std::vector<Duration> loads_;         ///< by link
  std::vector<Duration> control_;       ///< by host: operations that it does one at a time
  std::map<std::string, std::size_t> turns_;
  /// By list of hosts, which moves share, and how one is chosen; null after its first use.
  std::map<std::pair<const std::vector<HostId>*, Place>, std::unique_ptr<HostOrder>> orders_;
  std::vector<PlacedMove> placed_;
};

}  // namespace

tl::expected<std::vector<PlacedMove>, std::string> place_moves(
    Instance& instance, const Platform& platform, LinkMap& links,
    const std::vector<std::size_t>& order, const PlacementOptions& options) {
  return Placement(instance, platform, links, options).run(order);
}

}  // namespace ferry
