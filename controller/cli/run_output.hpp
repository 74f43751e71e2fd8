// From a run in memory to a run folder and a short text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "controller/cli/run_scenario.hpp"
#include "controller/cli/worlds.hpp"
#include "core/record/run_folder.hpp"

namespace ferry {

/// A cluster that was looked at, for a run in it.
struct RealWorld {
  const LoadedCluster* cluster = nullptr;
  ClusterDiagnosis diagnosis;
};

/// What every `run.json` of this process says: machine, time of day, versions; for hw those of the
/// hosts too.
RunInformation describe_process(const std::vector<std::string>& command, WorldKind world,
                                const RealWorld* real = nullptr);

/// What must be on disk while a run changes a world, so that others can see where it stands and
/// take over: the scenario as it was read, `run.json` that says it is unfinished, and the cluster,
/// if any. Error: a sentence.
[[nodiscard]] tl::expected<void, std::string> write_before_run(NewFolder& folder,
                                                               const LoadedScenario& loaded,
                                                               const LoadedCluster* cluster,
                                                               RunInformation information);

/// A journal whose first record lets its folder appear: from then on the run can be looked at, and
/// taken over.
class AppearingJournal : public Journal {
 public:
  AppearingJournal(NewFolder& folder, Journal& inner) : folder_(folder), inner_(inner) {}
  /// Throws JournalError also if the folder cannot appear.
  void append(std::string_view record) override;
  void sync() override { inner_.sync(); }

 private:
  NewFolder& folder_;
  Journal& inner_;
};

/// One VM's part in a real run: how much of its moves' total was the controller's own.
struct ControllerShare {
  VmId vm;
  Duration total;    ///< of all its moves
  Duration awaited;  ///< of that: libvirt or the guest was waited for
  std::uint64_t calls = 0;

  [[nodiscard]] Duration own() const;
};

/// Of every VM that moved; empty but for a real run.
std::vector<ControllerShare> controller_shares(const RunOutcome& outcome);
/// vm, total_seconds, awaited_seconds, own_seconds, own_share, libvirt_calls
std::string controller_csv(const std::vector<ControllerShare>& shares, const Instance& instance);

/// Writes all files of the run and lets the folder appear. `began_nanoseconds`: real time at which
/// the work on this run began (for `wall_seconds`). Error: a sentence.
[[nodiscard]] tl::expected<void, std::string> write_run(NewFolder folder,
                                                        const LoadedScenario& loaded,
                                                        const RunOutcome& outcome,
                                                        RunInformation information,
                                                        std::int64_t began_nanoseconds);

/// `DIR` if one is given, else the first of runs/NAME-001, runs/NAME-002 ... that is free, made
/// ready for writing. Error: a sentence.
tl::expected<NewFolder, std::string> make_run_folder(const std::filesystem::path& wanted,
                                                     const std::string& name);
/// Position of a default folder's number: `runs/NAME-NNN`.
std::filesystem::path numbered_folder(const std::string& name, unsigned number);

/// Phases, totals and outcomes as a table of text, with the reasons of what did not complete.
std::string run_report(const LoadedScenario& loaded, const RunOutcome& outcome, WorldKind world);

}  // namespace ferry
