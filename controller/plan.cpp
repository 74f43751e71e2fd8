#include "controller/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "controller/planner/lower_bound.hpp"
#include "controller/planner/path_bandwidth.hpp"
#include "controller/planner/placement.hpp"
#include "controller/planner/portfolio.hpp"
#include "controller/planner/precedence.hpp"
#include "controller/planner/waves.hpp"
#include "core/migration/prediction.hpp"

namespace ferry {

namespace {

/// Of all moves: what their links carry, and the bound that follows. A VM's later moves count like
/// others, those at a later time from then on.
void bound_makespan(Plan& plan, const Scenario& scenario, const Instance& instance) {
  std::vector<MoveLoad> loads;
  for (const PlannedMove& move : plan.moves) {
    loads.push_back(load_of(instance, scenario.platform, *plan.links, instance.moves[move.move],
                            move.from, move.to));
  }
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

namespace {

tl::expected<Plan, std::string> plan_by_name(const Scenario& scenario, Instance& instance) {
  Plan plan;
  plan.order = scenario.schedule.order;
  plan.limits = scenario.schedule.limits;
  plan.stagger = scenario.schedule.stagger;
  plan.links = std::make_shared<LinkMap>(instance);
  const auto placed =
      place_moves(instance, scenario.platform, *plan.links, order_of_moves(instance), {});
  if (!placed) return tl::unexpected(placed.error());
  plan.moves.resize(instance.moves.size());
  std::vector<std::size_t> order;
  for (const PlacedMove& move : *placed) {
    order.push_back(move.move);
    plan.moves[move.move] = {
        .move = move.move,
        .from = move.from,
        .to = move.to,
        .predicted_total = predict_total(instance, scenario.platform, instance.moves[move.move]),
        .predicted_start = {},
        .predicted_end = {}};
  }
  plan.waves = form_waves(scenario.schedule.batch, instance, order);
  if (auto kept = keep_precedence(instance, *placed, false, plan.waves); !kept) {
    return tl::unexpected(kept.error());
  }
  return plan;
}

}  // namespace

tl::expected<Plan, std::string> make_plan(const Scenario& scenario, Instance& instance) {
  const bool planned = scenario.schedule.order == Order::planned;
  auto plan = planned ? plan_by_forecast(scenario, instance) : plan_by_name(scenario, instance);
  if (!plan) return plan;
  const bool has_deadline =
      std::any_of(instance.constraints.begin(), instance.constraints.end(),
                  [](const ConstraintSpec& c) { return c.kind == ConstraintSpec::Kind::deadline; });
  if (has_deadline && !planned) bound_makespan(*plan, scenario, instance);
  if (auto missed = missed_deadline(*plan, instance)) return tl::unexpected(std::move(*missed));
  return plan;
}

}  // namespace ferry
