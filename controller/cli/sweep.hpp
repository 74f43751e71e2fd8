// A study's cells in worker processes, and the study's tables.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "controller/cli/run_output.hpp"
#include "controller/cli/run_scenario.hpp"
#include "controller/cli/study_folder.hpp"
#include "core/scenario/study.hpp"

namespace ferry {

struct SweepOptions {
  std::filesystem::path file;  ///< of the study
  WorldKind world = WorldKind::sim;
  double speed = 1.0;    ///< of the threads world
  std::size_t jobs = 1;  ///< cells at once
  bool resume = false;
  std::filesystem::path out;  ///< empty: runs/NAME-NNN
  bool quiet = false;
  bool sensitivity =
      true;  ///< re-run the claims' cells with each assumed constant halved and doubled
  std::optional<Duration> cell_timeout;  ///< in real time
  /// Of the hw world, which needs one: the cells then run one after another in this process.
  const RealWorld* real = nullptr;
  std::vector<std::string> command;  ///< of the process
};

struct SweepOutcome {
  std::filesystem::path folder;
  std::vector<CellResult> cells;  ///< of all cells, in their order
  std::size_t kept = 0;           ///< cells that were complete already
  std::vector<ClaimRow> claims;   ///< point into the study; empty if interrupted
  bool interrupted = false;

  [[nodiscard]] std::size_t failed_cells() const;
  [[nodiscard]] std::size_t missed_claims() const;
};

/// The study's folder: `out`, else with `resume` the newest numbered one, else the first free
/// number.
std::filesystem::path choose_folder(const std::filesystem::path& out, bool resume,
                                    const std::string& name);

/// Runs the cells that are not complete, gathers all, writes cells.csv, claims.csv,
/// sensitivity.csv, study.yaml and run.json. Call with an InterruptionHandler in place. Errors: the
/// folder cannot be used (bad input).
tl::expected<SweepOutcome, RunError> run_sweep(const LoadedStudy& study,
                                               const SweepOptions& options);

/// The cells as a table of text: name, assignment, repetition, seed.
std::string list_cells(const LoadedStudy& study);

}  // namespace ferry
