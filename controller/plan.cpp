#include "controller/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <optional>

#include "controller/planner/link_slots.hpp"
#include "controller/planner/lower_bound.hpp"
#include "controller/planner/ordering.hpp"
#include "controller/planner/path_bandwidth.hpp"
#include "controller/planner/placement.hpp"
#include "controller/planner/precedence.hpp"
#include "controller/planner/vm_groups.hpp"
#include "core/migration/prediction.hpp"
#include "core/record/natural_order.hpp"

namespace ferry {

namespace {

/// Moves by start, migration and VM name, so that nothing depends on the order of lists in the
/// file. A VM's own moves keep their order: a later one starts where the earlier one ended.
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

std::vector<PlannedWave> form_waves(const Scenario& scenario, const Instance& instance,
                                    const std::vector<std::size_t>& order) {
  const Batch batch = scenario.schedule.batch;
  VmGroups groups(instance.vms.size());
  groups.join_constraints(instance);
  if (batch == Batch::job) groups.join_jobs(instance);
  std::vector<PlannedWave> waves;
  // A VM appears once in a wave: its second move at the same time opens another one.
  std::map<std::tuple<TimePoint, std::uint32_t, std::uint32_t>, std::size_t> open;
  std::map<std::pair<VmId, TimePoint>, std::uint32_t> seen;
  for (const std::size_t index : order) {
    const MoveSpec& move = instance.moves[index];
    const TimePoint start = TimePoint::at(move.at.at);
    const std::uint32_t turn = seen[{move.vm, start}]++;
    const std::uint32_t group = batch == Batch::all ? 0 : groups.root(move.vm.index);
    const auto [place, added] = open.try_emplace({start, group, turn}, waves.size());
    if (added) waves.push_back({{}, start, {}});
    waves[place->second].moves.push_back(index);
  }
  return waves;
}

/// Gives the places of each VM's moves in `order` back to these moves in the order of `placed`.
void keep_turns(const Instance& instance, const std::vector<PlacedMove>& placed,
                std::vector<std::size_t>& order) {
  std::vector<std::vector<std::size_t>> turns(instance.vms.size());
  for (auto move = placed.rbegin(); move != placed.rend(); ++move) {
    turns[instance.moves[move->move].vm.index].push_back(move->move);
  }
  for (std::size_t& index : order) {
    std::vector<std::size_t>& rest = turns[instance.moves[index].vm.index];
    index = rest.back();
    rest.pop_back();
  }
}

/// A wave of several moves needs their places all at once.
void widen_slots(Plan& plan, const Instance& instance) {
  for (const PlannedWave& wave : plan.waves) {
    if (wave.moves.size() == 1) continue;
    std::map<LinkId, std::uint32_t> users;
    for (const std::size_t move : wave.moves) {
      for (const LinkId link : plan.links->route(instance.moves[move].transfer.transport,
                                                 plan.moves[move].from, plan.moves[move].to)) {
        std::uint32_t& slots = plan.link_slots[link.index];
        slots = std::max(slots, ++users[link]);
      }
    }
  }
}

/// Of all moves: what their links carry, and the bound that follows. A VM's later moves count like
/// others, those at a later time from then on.
void bound_makespan(Plan& plan, const Instance& instance, const std::vector<MoveLoad>& loads) {
  const LowerBound bound = lower_bound(*plan.links, loads);
  plan.least_makespan = bound.time;
  plan.bounded_by = bound.link
                        ? fmt::format("which {} takes", plan.links->name(*bound.link, instance))
                        : "which its longest move takes";
}

/// A sentence if the deadline cannot be met.
std::optional<std::string> missed_deadline(const Plan& plan, const Instance& instance) {
  for (const ConstraintSpec& constraint : instance.constraints) {
    if (constraint.kind != ConstraintSpec::Kind::deadline) continue;
    if (plan.least_makespan <= constraint.deadline) continue;
    return fmt::format("no schedule meets the deadline of {}: the moves take at least {:.3f} s, {}",
                       to_text(constraint.deadline), plan.least_makespan.to_seconds(),
                       plan.bounded_by);
  }
  return std::nullopt;
}

}  // namespace

tl::expected<Plan, std::string> make_plan(const Scenario& scenario, Instance& instance) {
  Plan plan;
  plan.order = scenario.schedule.order;
  plan.limits = scenario.schedule.limits;
  plan.stagger = scenario.schedule.stagger;
  plan.links = std::make_shared<LinkMap>(instance);
  const bool planned = plan.order == Order::planned;

  const auto placed = place_moves(instance, scenario.platform, *plan.links,
                                  order_of_moves(instance), {.planned = planned});
  if (!placed) return tl::unexpected(placed.error());
  plan.moves.resize(instance.moves.size());
  std::vector<std::size_t> order;
  for (const PlacedMove& move : *placed) {
    order.push_back(move.move);
    plan.moves[move.move] = {
        .move = move.move,
        .from = move.from,
        .to = move.to,
        .predicted_total = predict_total(instance, scenario.platform, instance.moves[move.move])};
  }
  const bool has_deadline =
      std::any_of(instance.constraints.begin(), instance.constraints.end(),
                  [](const ConstraintSpec& c) { return c.kind == ConstraintSpec::Kind::deadline; });
  if (planned || has_deadline) {
    std::vector<MoveLoad> loads;
    for (const PlannedMove& move : plan.moves) {
      loads.push_back(load_of(instance, scenario.platform, *plan.links, instance.moves[move.move],
                              move.from, move.to));
    }
    bound_makespan(plan, instance, loads);
    if (auto missed = missed_deadline(plan, instance)) return tl::unexpected(std::move(*missed));
    if (planned) {
      plan.link_slots = link_slots(*plan.links, loads);
      order = order_by_load(*plan.links, loads, order);
      // Starts are kept; within one VM and time, so is the order of its moves.
      keep_turns(instance, *placed, order);
    }
  }
  plan.waves = form_waves(scenario, instance, order);
  if (planned) widen_slots(plan, instance);
  if (auto kept = keep_precedence(instance, *placed, planned, plan.waves); !kept) {
    return tl::unexpected(kept.error());
  }
  return plan;
}

}  // namespace ferry
