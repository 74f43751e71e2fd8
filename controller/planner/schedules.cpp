#include "controller/planner/schedules.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "controller/planner/link_slots.hpp"
#include "controller/planner/precedence.hpp"
#include "controller/planner/waves.hpp"

namespace ferry {
namespace {

std::string text_of(const ScheduleRule& rule) {
  std::string text = !rule.order                                  ? "by name"
                     : *rule.order == OrderRule::most_loaded_link ? "the most loaded links first"
                                                                  : "the longest endings first";
  if (rule.cap) text += fmt::format(", {} out of and into a host", *rule.cap);
  if (rule.factor) {
    text += fmt::format(", on {} {:g} times what keeps it busy",
                        rule.crowded_only ? "a crowded link" : "a link", *rule.factor);
  }
  if (rule.refill < 1) text += fmt::format(", refilled at {:g} %", 100 * rule.refill);
  return text;
}

void lower(std::optional<std::uint32_t>& limit, std::uint32_t cap) {
  limit = std::min(limit.value_or(cap), cap);
}

}  // namespace

void Schedules::use(const std::vector<MoveSpec>& detours) {
  instance_.moves.erase(instance_.moves.begin() + static_cast<std::ptrdiff_t>(asked_),
                        instance_.moves.end());
  instance_.moves.insert(instance_.moves.end(), detours.begin(), detours.end());
}

tl::expected<PlacedMoves, std::string> Schedules::place(const PlacementOptions& options) {
  use({});
  std::vector<std::size_t> order = order_of_moves(instance_);
  if (options.by_destination) {
    // The largest find the emptiest hosts. Those that are dealt out in their order keep it.
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      const MoveSpec& first = instance_.moves[a];
      const MoveSpec& second = instance_.moves[b];
      if (first.at.at != second.at.at) return first.at.at < second.at.at;
      const bool keep = first.place == Place::in_order || second.place == Place::in_order;
      if (keep) return first.place == Place::in_order && second.place != Place::in_order;
      return instance_.vms[first.vm.index].memory > instance_.vms[second.vm.index].memory;
    });
  }
  auto moves = place_moves(instance_, scenario_.platform, *links_, order, options);
  if (!moves) return tl::unexpected(moves.error());
  PlacedMoves placed;
  placed.moves = std::move(*moves);
  placed.detours.assign(instance_.moves.begin() + static_cast<std::ptrdiff_t>(asked_),
                        instance_.moves.end());
  placed.planned.resize(instance_.moves.size());
  placed.loads.resize(instance_.moves.size());
  for (const PlacedMove& move : placed.moves) {
    const MoveSpec& spec = instance_.moves[move.move];
    placed.order.push_back(move.move);
    placed.planned[move.move] = {
        .move = move.move,
        .from = move.from,
        .to = move.to,
        .predicted_total = predict_total(instance_, scenario_.platform, spec),
        .predicted_start = {},
        .predicted_end = {}};
    placed.loads[move.move] =
        load_of(instance_, scenario_.platform, *links_, spec, move.from, move.to);
  }
  placed.bound = lower_bound(*links_, placed.loads);
  return placed;
}

ScheduleDraft Schedules::by_rule(const PlacedMoves& placed, const ScheduleRule& rule) {
  use(placed.detours);
  ScheduleDraft schedule{&placed, placed.order, {}, rule.refill, rule.cap, text_of(rule)};
  if (rule.order) {
    schedule.order = *rule.order == OrderRule::most_loaded_link
                         ? order_by_load(*links_, placed.loads, placed.order)
                         : order_by_ending(placed.loads, placed.order);
    // Starts are kept; within one VM and time, so is the order of its moves.
    keep_turns(instance_, placed.moves, schedule.order);
  }
  if (rule.factor) {
    schedule.link_slots =
        link_slots(*links_, placed.loads,
                   {.factor = *rule.factor,
                    .more = 1,
                    .finished_by = rule.crowded_only ? placed.bound.time : Duration::zero()});
  }
  return schedule;
}

void Schedules::keep_turns_of(ScheduleDraft& schedule) const {
  keep_turns(instance_, schedule.placed->moves, schedule.order);
}

tl::expected<Plan, std::string> Schedules::make(const ScheduleDraft& schedule) {
  use(schedule.placed->detours);
  Plan plan;
  plan.order = scenario_.schedule.order;
  plan.limits = scenario_.schedule.limits;
  plan.stagger = scenario_.schedule.stagger;
  plan.links = links_;
  plan.moves = schedule.placed->planned;
  if (schedule.cap) {
    lower(plan.limits.host_out, *schedule.cap);
    lower(plan.limits.host_in, *schedule.cap);
  }
  plan.waves = form_waves(scenario_.schedule.batch, instance_, schedule.order);
  plan.link_slots = schedule.link_slots;
  plan.link_refill = Ratio(schedule.refill);
  if (!plan.link_slots.empty()) widen_slots(plan);
  if (auto kept = keep_precedence(instance_, schedule.placed->moves, true, plan.waves); !kept) {
    return tl::unexpected(kept.error());
  }
  return plan;
}

/// A wave of several moves needs their places all at once.
void Schedules::widen_slots(Plan& plan) const {
  for (const PlannedWave& wave : plan.waves) {
    if (wave.moves.size() == 1) continue;
    std::map<LinkId, std::uint32_t> users;
    for (const std::size_t move : wave.moves) {
      for (const LinkId link : links_->route(instance_.moves[move].transfer.transport,
                                             plan.moves[move].from, plan.moves[move].to)) {
        if (link.index >= plan.link_slots.size()) continue;
        std::uint32_t& slots = plan.link_slots[link.index];
        slots = std::max(slots, ++users[link]);
      }
    }
  }
}

Forecaster Schedules::forecaster(const PlacedMoves& placed) {
  use(placed.detours);
  return {instance_, scenario_.platform, *links_, placed.planned};
}

std::string Schedules::bounded_by(const LowerBound& bound) const {
  return bound.link ? fmt::format("which {} takes", links_->name(*bound.link, instance_))
                    : "which its longest move takes";
}

}  // namespace ferry
