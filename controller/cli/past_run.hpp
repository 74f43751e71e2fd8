// A run folder as a later process finds it: finished, at work, or left behind by a controller that
// went down. What it says comes from the folder alone; nobody is asked.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "controller/plan.hpp"
#include "core/migration/journal_history.hpp"
#include "core/record/journal_file.hpp"
#include "core/scenario/cluster_file.hpp"
#include "core/scenario/document.hpp"
#include "core/scenario/instance.hpp"

namespace ferry {

struct PastRun {
  std::filesystem::path folder;  ///< without a slash at the end
  std::string name;              ///< of the scenario
  std::string world;             ///< sim, threads, hw
  std::string started_at;
  std::vector<std::string> command;
  bool unfinished = false;  ///< its tables are not written
  LoadedScenario loaded;
  Instance instance;
  Plan plan;
  std::optional<LoadedCluster> cluster;
  JournalHistory history;
  std::optional<int> writer;  ///< the process at work with it, as `journal_writer` says

  PastRun() = default;
  PastRun(PastRun&&) = delete;  // parts of it are referred to

  [[nodiscard]] std::filesystem::path journal() const { return folder / "journal"; }
};

/// Reads `run.json`, `resolved.yaml`, `journal` and, if there is one, `cluster.yaml`. Error: a
/// sentence that names the file and says what would be right. `own`: the journal, if this process
/// has it (its file is not touched then, which would give up its lock).
tl::expected<std::unique_ptr<PastRun>, std::string> load_past_run(std::filesystem::path folder,
                                                                  const JournalFile* own = nullptr);

/// How far one move of a run got.
struct MoveStatus {
  enum class Stage {
    waiting,    ///< its wave has not opened
    under_way,  ///< in `phase`
    left,       ///< as under_way, but nobody is at work
    ended,
  } stage = Stage::waiting;
  Phase phase = Phase::set_pre_migration;
  std::optional<TimePoint> since;  ///< when the wave of its latest attempt opened
  std::optional<TimePoint> until;  ///< when it ended
  std::size_t attempts = 0;
  Outcome outcome = Outcome::completed;  ///< if it has ended
  HostId host;                           ///< the last that the journal has the VM on
  std::string reason;
};

/// By index of `Instance::moves`. A move that may be tried again counts as waiting.
std::vector<MoveStatus> move_statuses(const PastRun& run);

/// Whether a session that resumes would have anything to do.
bool has_work_left(const PastRun& run);

/// Where the run stands: who works at it, how many moves ended how, and one row a move.
std::string status_text(const PastRun& run);
/// The same as JSON.
std::string status_json(const PastRun& run);

}  // namespace ferry
