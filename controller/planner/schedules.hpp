// Placements of all moves, schedules of a placement, and the plans that they make.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "controller/plan.hpp"
#include "controller/planner/forecast.hpp"
#include "controller/planner/lower_bound.hpp"
#include "controller/planner/ordering.hpp"
#include "controller/planner/path_bandwidth.hpp"
#include "controller/planner/placement.hpp"
#include "core/scenario/instance.hpp"
#include "core/scenario/scenario.hpp"

namespace ferry {

/// One placement with what follows from it alone.
struct PlacedMoves {
  std::vector<PlacedMove> moves;     ///< in an order in which they could be made one by one
  std::vector<MoveSpec> detours;     ///< of Instance::moves, beyond those that were asked for
  std::vector<PlannedMove> planned;  ///< by index of Instance::moves
  std::vector<std::size_t> order;    ///< of `moves`, as indices
  std::vector<MoveLoad> loads;       ///< by index of Instance::moves
  LowerBound bound;
};

/// What a plan adds to a placement.
struct ScheduleDraft {
  const PlacedMoves* placed = nullptr;
  std::vector<std::size_t> order;         ///< every move once
  std::vector<std::uint32_t> link_slots;  ///< as in `Plan`; empty: no limit
  double refill = 1;                      ///< as `Plan::link_refill`
  std::optional<std::uint32_t> cap;       ///< moves out of and into a host, besides the scenario's
  std::string text;                       ///< says how it came about
};

/// By rule: which moves first, how many at once on a link.
struct ScheduleRule {
  std::optional<OrderRule> order;  ///< none: as placed
  /// Places on a link, in what keeps it busy; none: no limit.
  std::optional<double> factor;
  /// Only links that all their moves at once would keep beyond the bound.
  bool crowded_only = false;
  double refill = 1;
  std::optional<std::uint32_t> cap;
};

class Schedules {
 public:
  /// All three must live as long; `instance` has no detours yet.
  Schedules(const Scenario& scenario, Instance& instance)
      : scenario_(scenario),
        instance_(instance),
        asked_(instance.moves.size()),
        links_(std::make_shared<LinkMap>(instance)) {}

  /// With `options.by_destination` the largest VMs are placed first. Error: as `place_moves`.
  tl::expected<PlacedMoves, std::string> place(const PlacementOptions& options);
  [[nodiscard]] ScheduleDraft by_rule(const PlacedMoves& placed, const ScheduleRule& rule);
  /// Keeps, after a change of its order, that a VM's own moves follow each other.
  void keep_turns_of(ScheduleDraft& schedule) const;
  /// Error: constraints that it cannot keep. Gives the instance the detours of its placement.
  tl::expected<Plan, std::string> make(const ScheduleDraft& schedule);

  [[nodiscard]] const LinkMap& links() const { return *links_; }
  [[nodiscard]] Forecaster forecaster(const PlacedMoves& placed);
  [[nodiscard]] std::string bounded_by(const LowerBound& bound) const;

 private:
  void use(const std::vector<MoveSpec>& detours);
  void widen_slots(Plan& plan) const;

  const Scenario& scenario_;
  Instance& instance_;
  std::size_t asked_;  ///< moves without detours
  std::shared_ptr<LinkMap> links_;
};

}  // namespace ferry
