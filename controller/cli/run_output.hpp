// From a run in memory to a run folder and a short text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "controller/cli/run_scenario.hpp"
#include "core/record/run_folder.hpp"

namespace ferry {

/// What every `run.json` of this process says: machine, time of day, versions.
RunInformation describe_process(const std::vector<std::string>& command, WorldKind world);

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
