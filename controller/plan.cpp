#include "controller/plan.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <optional>

#include <fmt/format.h>

#include "controller/planner/link_slots.hpp"
#include "controller/planner/lower_bound.hpp"
#include "controller/planner/ordering.hpp"
#include "controller/planner/path_bandwidth.hpp"
#include "core/migration/prediction.hpp"
#include "core/record/natural_order.hpp"
#include "core/topology/inventory.hpp"

namespace ferry {

namespace {

/// Moves by start, migration and VM name, so that nothing depends on the order of lists in the file.
/// A VM's own moves keep their order: a later one starts where the earlier one ended.
std::vector<std::size_t> order_of_moves(const Instance& instance) {
  std::vector<std::size_t> order(instance.moves.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const MoveSpec& first = instance.moves[a];
    const MoveSpec& second = instance.moves[b];
    if (first.at.at != second.at.at) return first.at.at < second.at.at;
    if (first.migration != second.migration) return natural_less(first.migration, second.migration);
    return natural_less(instance.vms[first.vm.index].name, instance.vms[second.vm.index].name);
  });
  return order;
}

/// Chooses destinations one after the other, as a sequential execution would fill the hosts.
class Placement {
 public:
  explicit Placement(const Instance& instance)
      : inventory_(instance), planned_(instance.hosts.size(), 0) {
    for (const VmSpec& vm : instance.vms) {
      planned_[vm.host.index] += 1;
      where_.push_back(vm.host);
    }
  }

  [[nodiscard]] HostId where(VmId vm) const { return where_[vm.index]; }

  std::optional<HostId> choose(const MoveSpec& move) {
    const std::vector<HostId>& candidates = move.candidates;
    const std::size_t first = move.place == Place::in_order ? turns_[move.migration]++ : 0;
    std::optional<HostId> best;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      const HostId host = candidates[(first + i) % candidates.size()];
      if (!inventory_.fits(move.vm, host)) continue;
      if (!best || better(move.place, host, *best)) best = host;
      if (move.place == Place::in_order) break;
    }
    return best;
  }

  void commit(VmId vm, HostId to) {
    inventory_.reserve(vm, to);
    inventory_.release(vm, where_[vm.index]);
    planned_[where_[vm.index].index] -= 1;
    planned_[to.index] += 1;
    where_[vm.index] = to;
  }

  [[nodiscard]] std::string refusals(const MoveSpec& move) const {
    constexpr std::size_t shown = 4;
    std::string text;
    for (std::size_t i = 0; i < std::min(shown, move.candidates.size()); ++i) {
      const std::optional<std::string> refusal = inventory_.refusal(move.vm, move.candidates[i]);
      text += (i == 0 ? "" : "; ") + refusal.value_or("");
    }
    if (move.candidates.size() > shown) {
      text += fmt::format("; and {} more hosts", move.candidates.size() - shown);
    }
    return text;
  }

 private:
  [[nodiscard]] bool better(Place place, HostId a, HostId b) const {
    if (place == Place::pack) return inventory_.free(a).memory < inventory_.free(b).memory;
    return planned_[a.index] < planned_[b.index];
  }

  Inventory inventory_;
  std::vector<std::uint32_t> planned_;  ///< VMs by host
  std::vector<HostId> where_;           ///< by VM
  std::map<std::string, std::size_t> turns_;
};

/// Groups of VMs that share jobs, directly or through other VMs: a wave must not split them.
class JobGroups {
 public:
  explicit JobGroups(const Instance& instance) : parent_(instance.vms.size()) {
    std::iota(parent_.begin(), parent_.end(), std::uint32_t{0});
    for (const JobSpec& job : instance.jobs) {
      for (const VmId vm : job.vms) parent_[root(vm.index)] = root(job.vms.front().index);
    }
  }
  std::uint32_t root(std::uint32_t vm) {
    while (parent_[vm] != vm) vm = parent_[vm] = parent_[parent_[vm]];
    return vm;
  }

 private:
  std::vector<std::uint32_t> parent_;
};

std::vector<PlannedWave> form_waves(const Scenario& scenario, const Instance& instance,
                                    const std::vector<std::size_t>& order) {
  std::vector<PlannedWave> waves;
  JobGroups groups(instance);
  // A VM appears once in a wave: its second move at the same time opens another one.
  std::map<std::tuple<TimePoint, std::uint32_t, std::uint32_t>, std::size_t> open;
  std::map<std::pair<VmId, TimePoint>, std::uint32_t> seen;
  for (const std::size_t index : order) {
    const MoveSpec& move = instance.moves[index];
    const TimePoint start = TimePoint::at(move.at.at);
    if (scenario.schedule.batch == Batch::vm) {
      waves.push_back({{index}, start});
      continue;
    }
    const std::uint32_t turn = seen[{move.vm, start}]++;
    const std::uint32_t group =
        scenario.schedule.batch == Batch::all ? 0 : groups.root(move.vm.index);
    const auto [place, added] = open.try_emplace({start, group, turn}, waves.size());
    if (added) waves.push_back({{}, start});
    waves[place->second].moves.push_back(index);
  }
  return waves;
}

}  // namespace

tl::expected<Plan, std::string> make_plan(const Scenario& scenario, const Instance& instance) {
  Plan plan;
  plan.order = scenario.schedule.order;
  plan.limits = scenario.schedule.limits;
  plan.stagger = scenario.schedule.stagger;
  plan.moves.resize(instance.moves.size());

  const std::vector<std::size_t> order = order_of_moves(instance);
  Placement placement(instance);
  for (const std::size_t index : order) {
    const MoveSpec& move = instance.moves[index];
    const std::optional<HostId> to = placement.choose(move);
    if (!to) {
      return tl::unexpected(fmt::format("migration {}: {} fits on none of its destinations: {}",
                                        move.migration, instance.vms[move.vm.index].name,
                                        placement.refusals(move)));
    }
    plan.moves[index] = {.move = index,
                         .from = placement.where(move.vm),
                         .to = *to,
                         .predicted_total = predict_total(instance, scenario.platform, move)};
    placement.commit(move.vm, *to);
  }
  if (plan.order == Order::planned) {
    plan.links = std::make_shared<LinkMap>(instance);
    std::vector<MoveLoad> loads;
    for (const PlannedMove& planned : plan.moves) {
      loads.push_back(load_of(instance, scenario.platform, *plan.links,
                              instance.moves[planned.move], planned.from, planned.to));
    }
    const LowerBound bound = lower_bound(*plan.links, loads);
    plan.least_makespan = bound.time;
    plan.bounded_by = bound.link
                          ? fmt::format("which {} takes", plan.links->name(*bound.link, instance))
                          : "which its longest move takes";
    plan.link_slots = link_slots(*plan.links, loads);
    plan.waves = form_waves(scenario, instance, order_by_load(*plan.links, loads, order));
    return plan;
  }
  plan.waves = form_waves(scenario, instance, order);
  return plan;
}

}  // namespace ferry
