#include "controller/cli/cluster_cells.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "controller/cli/way_back.hpp"
#include "core/record/journal_file.hpp"
#include "core/scenario/cluster_fit.hpp"

namespace ferry {
namespace {

/// Folder of a study.
constexpr const char* cut_short = "cut_short";

constexpr const char* failed_outcome = "failed";

tl::unexpected<ClusterCells::Failure> failed(std::string reason) {
  return tl::unexpected(ClusterCells::Failure{failed_outcome, std::move(reason), false});
}

tl::unexpected<ClusterCells::Failure> stuck(std::string reason) {
  return tl::unexpected(ClusterCells::Failure{failed_outcome, std::move(reason), true});
}

/// On one line.
std::string joined_lines(std::string text) {
  for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos;) {
    text.replace(at, 1, "; ");
  }
  return text;
}

/// The run folders in a folder, in order, with what their run.json says.
std::vector<std::pair<std::filesystem::path, nlohmann::json>> runs_in(
    const std::filesystem::path& folder) {
  std::vector<std::pair<std::filesystem::path, nlohmann::json>> runs;
  std::error_code error;  // a folder that is not there has no runs
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    std::ifstream stream(entry.path() / "run.json");
    nlohmann::json json = nlohmann::json::parse(stream, nullptr, false);
    if (json.is_object()) runs.emplace_back(entry.path(), std::move(json));
  }
  std::sort(runs.begin(), runs.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  return runs;
}

/// A world that broke in the middle of a run, with what would help.
std::string broken(const std::string& why, const NewFolder& folder) {
  if (!folder.appeared()) return why;
  return fmt::format("{}; ferry resume {} would be right", why, folder.folder().string());
}

/// Where the VMs are, by the names that were found; nothing if one was found nowhere.
std::optional<std::vector<HostId>> places_of(const ClusterDiagnosis& diagnosis,
                                             const Instance& instance) {
  std::vector<HostId> places;
  for (const std::string& name : diagnosis.places) {
    const auto host = std::find_if(instance.hosts.begin(), instance.hosts.end(),
                                   [&](const HostSpec& spec) { return spec.name == name; });
    if (host == instance.hosts.end()) return std::nullopt;
    places.push_back(HostId{static_cast<std::uint32_t>(host - instance.hosts.begin())});
  }
  return places;
}

/// Of a run that was cut short: which of its moves were too late to be taken back.
std::string what_is_left(const RunRecords& records) {
  const std::vector<MoveRecord>& moves = records.moves();
  const auto arrived = std::count_if(moves.begin(), moves.end(), [](const MoveRecord& move) {
    return move.outcome == Outcome::completed;
  });
  if (arrived == 0) return ", and was rolled back";
  return fmt::format(
      ": {} of {} migrations had completed, the others were rolled back or never began", arrived,
      moves.size());
}

/// The first number that no folder in `folder` has.
std::filesystem::path next_numbered(const std::filesystem::path& folder) {
  std::error_code error;
  for (unsigned number = 1;; ++number) {
    const std::filesystem::path path = folder / fmt::format("{:03}", number);
    std::filesystem::path partial = path;
    partial += ".partial";
    if (!std::filesystem::exists(path, error) && !std::filesystem::exists(partial, error)) {
      return path;
    }
  }
}

/// A run of the study to a folder where its cells are not looked for; its number there. Error: a
/// sentence.
tl::expected<std::filesystem::path, std::string> put_aside(const std::filesystem::path& run,
                                                           const std::filesystem::path& aside) {
  std::error_code error;
  std::filesystem::create_directories(aside, error);
  std::filesystem::path numbered = next_numbered(aside);
  std::filesystem::rename(run, numbered, error);
  if (error) {
    return tl::unexpected(
        fmt::format("{}: cannot be put aside: {}", run.string(), error.message()));
  }
  return numbered;
}

}  // namespace

ClusterCells::Done ClusterCells::run(
    const StudyCell& cell, const std::filesystem::path& folder,
    const std::function<void(const SessionProgress&)>& on_progress) {
  const auto prepared = ready(cell);
  if (!prepared) return tl::unexpected(prepared.error());
  const bool restores = options_.cluster->cluster.restore == Restore::back;
  if (restores) {
    const auto places = places_of(prepared->real.diagnosis, prepared->instance);
    if (!places) return failed("a VM runs on none of the scenario's hosts");
    if (auto done = bring_back(*prepared, *places); !done) return done;
  }
  std::vector<HostId> places;
  const Done done = execute(cell, folder, *prepared, on_progress, places);
  // After an interruption nothing new is started; the next sweep brings the VMs back.
  if (restores && !places.empty() && options_.interruption() == Interruption::none) {
    if (auto brought = bring_back(*prepared, places); !brought) return brought;
  }
  return done;
}

tl::expected<ClusterCells::Ready, ClusterCells::Failure> ClusterCells::ready(
    const StudyCell& cell) {
  auto loaded = options_.study->scenario(cell);
  if (!loaded) return failed(loaded.error().front().text());
  Ready ready;
  ready.loaded = std::move(*loaded);
  ready.instance = expand(ready.loaded.scenario);
  const bool at_start = options_.cluster->cluster.restore == Restore::stay;
  ready.real = {options_.cluster,
                diagnose_cluster(options_.cluster->cluster, &ready.instance, at_start)};
  if (ready.real.diagnosis.failed())
    return failed(joined_lines(failures_text(ready.real.diagnosis)));
  return ready;
}

ClusterCells::Done ClusterCells::execute(
    const StudyCell& cell, const std::filesystem::path& folder, const Ready& ready,
    const std::function<void(const SessionProgress&)>& on_progress, std::vector<HostId>& places) {
  const std::int64_t began = real_nanoseconds();
  auto made = NewFolder::create(folder);
  if (!made) return failed(made.error());
  RunInformation information = describe_process(options_.command, WorldKind::hw, &ready.real);
  if (auto written = write_before_run(*made, ready.loaded, options_.cluster, information);
      !written) {
    return failed(written.error());
  }
  information.cell =
      RunInformation::Cell{options_.study->study().name, cell.name, {}, cell.repetition};
  for (const Setting& setting : cell.settings) {
    information.cell->assignment.emplace_back(setting.path, setting.value);
  }
  bool timed_out = false;
  RunOptions run;
  run.world = WorldKind::hw;
  run.cluster = options_.cluster;
  run.run_name = cell.name;
  run.on_progress = on_progress;
  run.interruption = [&] {
    const bool late =
        options_.timeout && real_nanoseconds() - began > options_.timeout->count_nanoseconds();
    timed_out = timed_out || late;
    return late || options_.interruption() == Interruption::cancel ? Interruption::cancel
                                                                   : Interruption::none;
  };
  // The folder is there from the first record on, and stays if the world breaks.
  std::optional<JournalFile> file(std::in_place, made->partial() / "journal");
  AppearingJournal journal(*made, *file);
  run.journal = &journal;
  const auto outcome = run_scenario_in_memory(ready.loaded, run);
  file.reset();
  if (!outcome) return stuck(broken(outcome.error().message, *made));
  places = places_after((*outcome)->instance, (*outcome)->records);
  // What came to its end all the same is a cell like others; what was rolled back is run anew by
  // the next sweep.
  const bool late = timed_out && !(*outcome)->verdict.all_well();
  if (timed_out && !late) (*outcome)->interrupted = false;
  const bool has_begun = made->appeared();
  auto written =
      write_run(std::move(*made), ready.loaded, **outcome, std::move(information), began);
  if (!written) return failed(written.error());
  if (!late && !(*outcome)->interrupted) return {};

  std::string kept;
  if (has_begun) {
    const auto put = put_aside(folder, options_.folder / cut_short);
    if (!put) return stuck(put.error());
    kept = fmt::format("; its run is kept as {}/{}", cut_short, put->filename().string());
  } else {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  if (late) {
    return failed("took longer than a cell may" + what_is_left((*outcome)->records) + kept);
  }
  return tl::unexpected(
      Failure{std::string(to_name(Outcome::cancelled)), "was cancelled" + kept, true});
}

ClusterCells::Done ClusterCells::bring_back(const Ready& ready, const std::vector<HostId>& places) {
  const std::optional<LoadedScenario> back = way_back(ready.loaded, ready.instance, places);
  if (!back) return {};
  const std::int64_t began = real_nanoseconds();
  const std::filesystem::path path = next_numbered(options_.folder / "back");
  auto made = NewFolder::create(path);
  if (!made) return stuck(made.error());
  RunInformation information = describe_process(options_.command, WorldKind::hw, &ready.real);
  if (auto written = write_before_run(*made, *back, options_.cluster, information); !written) {
    return stuck(written.error());
  }
  RunOptions run;
  run.world = WorldKind::hw;
  run.cluster = options_.cluster;
  run.run_name = path.filename().string();
  run.interruption = [this] {
    return options_.interruption() == Interruption::cancel ? Interruption::cancel
                                                           : Interruption::none;
  };
  std::optional<JournalFile> file(std::in_place, made->partial() / "journal");
  AppearingJournal journal(*made, *file);
  run.journal = &journal;
  const auto outcome = run_scenario_in_memory(*back, run);
  file.reset();
  if (!outcome) {
    return stuck(
        fmt::format("VMs could not be brought back: {}", broken(outcome.error().message, *made)));
  }
  std::string reason;
  for (const MoveRecord& move : (*outcome)->records.moves()) {
    if (move.outcome == Outcome::completed) continue;
    reason = fmt::format(
        "{} could not be brought back to {}: {}", ready.instance.vms[move.vm.index].name,
        ready.instance.hosts[ready.instance.vms[move.vm.index].host.index].name, move.reason);
    break;
  }
  auto written = write_run(std::move(*made), *back, **outcome, std::move(information), began);
  if (!written) return stuck(written.error());
  if (!reason.empty()) return stuck(reason);
  return {};
}

tl::expected<void, std::string> check_left_behind(const std::filesystem::path& study) {
  for (const char* const part : {"cells", "back"}) {
    for (const auto& [path, json] : runs_in(study / part)) {
      if (!json.contains("unfinished")) continue;
      return tl::unexpected(
          fmt::format("{0}: its controller went down, or the world broke, in the middle of it; "
                      "ferry resume {0} "
                      "would be right, and then the sweep can go on",
                      path.string()));
    }
  }
  return {};
}

tl::expected<void, std::string> put_resumed_and_cut_aside(const std::filesystem::path& study) {
  for (const auto& [path, json] : runs_in(study / "cells")) {
    const bool resumed = json.contains("resumed");
    if (!resumed && !json.value("interrupted", false)) continue;
    auto put = put_aside(path, study / (resumed ? "resumed" : cut_short));
    if (!put) return tl::unexpected(put.error());
  }
  return {};
}

Loaded<std::vector<Undertaking>> undertakings_of(const LoadedStudy& study,
                                                 const std::string& study_file,
                                                 const LoadedCluster& cluster) {
  std::vector<Undertaking> undertakings;
  Diagnostics misfits;
  std::set<std::string> known;
  for (const StudyCell& cell : study.cells()) {
    if (cell.repetition != 0) continue;  // only draws differ
    const auto loaded = study.scenario(cell);
    if (!loaded) return tl::unexpected(loaded.error());
    Undertaking undertaking;
    undertaking.instance = expand(loaded->scenario);
    for (Diagnostic& misfit :
         check_fit(study_file, loaded->scenario, undertaking.instance, cluster)) {
      if (known.insert(misfit.text()).second) misfits.push_back(std::move(misfit));
    }
    // A cell without a plan fails by itself, as in every world.
    auto plan = make_plan(loaded->scenario, undertaking.instance);
    if (!plan) continue;
    undertaking.plan = std::move(*plan);
    undertakings.push_back(std::move(undertaking));
  }
  if (!misfits.empty()) return tl::unexpected(misfits);
  return undertakings;
}

}  // namespace ferry
