// What will be moved, when and in which company.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "core/scenario/instance.hpp"
#include "core/topology/link_map.hpp"

namespace ferry {

/// VMs that are suspended and moved together.
struct PlannedWave {
  std::vector<std::size_t> moves;  ///< indices into Instance::moves
  TimePoint not_before;
  /// Waves (indices into Plan::waves) that have to end first: `before` (their moves must also
  /// complete), or departures that make room.
  struct After {
    std::size_t wave = 0;
    bool must_complete = false;
  };
  std::vector<After> after;
};

/// A move with the destination that was chosen for it.
struct PlannedMove {
  std::size_t move = 0;
  HostId from;
  HostId to;
  Duration predicted_total;  ///< alone on an idle network
  /// In the course of the plan; of a planned order.
  TimePoint predicted_start{};
  TimePoint predicted_end{};
};

struct Plan {
  std::vector<PlannedMove> moves;  ///< by index of Instance::moves
  std::vector<PlannedWave> waves;  ///< in the order in which they are offered
  Order order = Order::parallel;
  Limits limits;
  Duration stagger;
  /// No schedule of these moves is faster, and why. Of a planned order or one with a deadline.
  Duration least_makespan;
  std::string bounded_by;
  /// Of a planned order: how many moves may be on each link at once, by `LinkId` in `links`; a link
  /// beyond the end has no limit. A move holds them until its memory has moved.
  std::shared_ptr<LinkMap> links;
  std::vector<std::uint32_t> link_slots;
  /// A link that was full takes nobody until no more than this share of its slots are used.
  Ratio link_refill = Ratio(1);
  /// Of a planned order: what was chosen among how many schedules, and how it would go.
  std::string schedule;
  std::size_t schedules_compared = 0;
  Duration predicted_makespan;
  Duration predicted_downtime;  ///< mean
};

/// For `planned`, moves through a spare place are appended to `instance.moves`, and of several
/// schedules the one with the best forecast is taken (`planner/portfolio.hpp`), whose `limits` are
/// never wider than the scenario's; other orders offer the waves by start, migration and VM name.
/// In each, `before` comes first.
///
/// Places every move (`place`) so that memory, cores, VFs and IVShmem suffice at each step of a
/// sequential execution, and forms the waves. Error: a sentence that names the first VM that fits
/// nowhere and why each candidate was refused.
///
/// `place: spread` takes the candidate with the fewest VMs planned on it, `pack` the one with the
/// least memory left, `in_order` hands the migration's VMs round the candidates one after the
/// other; each goes on to the next candidate where a VM does not fit. Error as well: constraints
/// that no order keeps, and a deadline that no schedule could meet.
tl::expected<Plan, std::string> make_plan(const Scenario& scenario, Instance& instance);

}  // namespace ferry
