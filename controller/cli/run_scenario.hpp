// One scenario, executed once, with everything that it recorded.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "controller/cli/exit_status.hpp"
#include "controller/cli/worlds.hpp"
#include "controller/plan.hpp"
#include "controller/session.hpp"
#include "core/record/summary.hpp"
#include "core/scenario/cluster_file.hpp"
#include "core/scenario/document.hpp"
#include "core/scenario/instance.hpp"

namespace ferry {

/// The worlds of this version.
enum class WorldKind { sim, threads, hw };
std::string_view to_name(WorldKind world);

struct RunOptions {
  WorldKind world = WorldKind::sim;
  double speed = 1.0;  ///< of the threads world: times real time; above zero
  std::function<void(const SessionProgress&)> on_progress;  ///< may be empty
  std::function<Interruption()> interruption;               ///< may be empty
  Journal* journal = nullptr;              ///< none: kept in memory, in `RunOutcome::journal`
  const LoadedCluster* cluster = nullptr;  ///< of the hw world, which needs one
  std::string run_name;                    ///< left in the domains of the hw world
  /// What earlier controllers of this run did: it is taken over. Of the hw world only.
  const JournalHistory* history = nullptr;
  bool settle_only = false;  ///< as in SessionOptions
};

struct RunOutcome {
  Instance instance;
  Plan plan;
  RunRecords records;
  std::vector<MoveAccount> accounts;  ///< point into `records`
  std::vector<Metric> metrics;
  RunVerdict verdict;
  std::optional<LinkUsage> links;  ///< of a simulation whose scenario asks for it
  std::vector<HypervisorTime> hypervisor_times;  ///< by VM; empty but in the hw world
  std::string journal;  ///< text of the journal that was kept in memory
  bool interrupted = false;
  /// VMs that a run which was taken over could not bring to rest; their moves have no records.
  std::vector<std::string> unsettled;
  /// Real time at which the world was built: where `simulate_seconds` begins.
  std::int64_t world_built_nanoseconds = 0;

  RunOutcome() = default;
  RunOutcome(RunOutcome&&) = delete;  // the accounts point into it
};

/// Why nothing was run, or why the world broke.
struct RunError {
  ExitStatus status = ExitStatus::no_world;
  std::string message;
};

/// Expands, plans and executes. Blocks until every move has ended. A simulated world can be run
/// once per process. Errors: no plan (bad input), or a world that is not here or broke.
tl::expected<std::unique_ptr<RunOutcome>, RunError> run_scenario_in_memory(
    const LoadedScenario& loaded, const RunOptions& options);

/// Real time since an unspecified point, for measuring.
std::int64_t real_nanoseconds();

}  // namespace ferry
