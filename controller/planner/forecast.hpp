// How a plan would go if everything costs what the platform says: an execution of it in numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "controller/plan.hpp"
#include "core/migration/prediction.hpp"
#include "core/scenario/instance.hpp"

namespace ferry {

struct MoveForecast {
  TimePoint start;
  TimePoint end;
  Duration downtime;
  bool arrives = false;
};

struct Forecast {
  std::vector<MoveForecast> moves;  ///< by index of Instance::moves
  Duration makespan;
  Duration mean_downtime;  ///< of those that arrive
  std::size_t failed = 0;  ///< run into a timeout, do not converge, or never begin
  std::uint64_t work = 0;  ///< looks at links, and events: what it cost to compute
  bool complete = true;    ///< else it was given up on the way, and says nothing
};

struct ForecastOptions {
  /// Shares of the network are computed again only so long after the last time: 0 is exact; more
  /// bounds the work for thousands of moves at once.
  Duration resolution;
  /// A forecast that takes longer, or more work, is given up.
  Duration most = Duration::max();
  std::uint64_t most_work = ~std::uint64_t{0};
};

/// What plans of one placement have in common, and their forecasts.
///
/// Modelled: admission under limits, link places and reservations, as a session does it; every
/// phase's cost, operations of one host in a row (`hypervisor.serial`), waves that wait for their
/// last VM; what becomes of the virtual function (`device`); memory by the rules of `core/memory`
/// with max-min fair shares of every link; timeouts. Not modelled: faults, retries, the jobs' own
/// messages, ranks that do not answer, contention for cores. Constants and dirty rates are taken at
/// their word: where a world keeps them, the forecast is that world's course of events; where not,
/// it is as wrong as they are.
class Forecaster {
 public:
  /// `moves`: of every index of `instance.moves`, with its hosts. All three must live as long.
  Forecaster(const Instance& instance, const Platform& platform, LinkMap& links,
             const std::vector<PlannedMove>& moves);

  /// `plan` must have these moves.
  [[nodiscard]] Forecast run(const Plan& plan, const ForecastOptions& options = {}) const;

 private:
  friend class ForecastRun;
  struct Fixed {
    LinkMap::Route route;
    MoveCosts costs;
    Duration latency;
    Bandwidth streams;
    Bandwidth link;           ///< of the network
    Duration longest_call;    ///< until the last rank of the VM stops
    bool ranks_stop = false;  ///< all of them do, once suspended
  };
  const Instance& instance_;
  const Platform& platform_;
  const LinkMap& links_;
  const std::vector<PlannedMove>& moves_;
  std::vector<Fixed> fixed_;  ///< by move
};

}  // namespace ferry
