#include "controller/cli/sweep.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "controller/cli/cluster_cells.hpp"
#include "controller/cli/interruption.hpp"
#include "controller/cli/process_pool.hpp"
#include "controller/cli/progress.hpp"
#include "controller/cli/run_output.hpp"
#include "controller/cli/sensitivity.hpp"
#include "controller/cli/text_table.hpp"

namespace ferry {
namespace {

constexpr std::string_view failed_outcome = "failed";

/// Runs in a worker.
int run_cell(const LoadedStudy& study, const StudyCell& cell, const SweepOptions& options,
             const std::filesystem::path& folder, TaskOutput& output) {
  const std::int64_t began = real_nanoseconds();
  const auto fail = [&](const std::string& reason) {
    output.write(reason);
    return exception_status;
  };
  const auto loaded = study.scenario(cell);
  if (!loaded) return fail(loaded.error().front().text());
  auto made = NewFolder::create(folder);
  if (!made) return fail(made.error());
  RunInformation information = describe_process(options.command, options.world);
  information.cell = RunInformation::Cell{study.study().name, cell.name, {}, cell.repetition};
  for (const Setting& setting : cell.settings) {
    information.cell->assignment.emplace_back(setting.path, setting.value);
  }
  RunOptions run;
  run.world = options.world;
  run.speed = options.speed;
  const auto outcome = run_scenario_in_memory(*loaded, run);
  if (!outcome) return fail(outcome.error().message);
  auto written = write_run(std::move(*made), *loaded, **outcome, std::move(information), began);
  return written ? 0 : fail(written.error());
}

CellResult failed_cell(const StudyCell& cell, std::string_view outcome, std::string reason) {
  CellResult result;
  result.cell = cell;
  result.outcome = outcome;
  result.reason = std::move(reason);
  return result;
}

using Written = tl::expected<void, std::string>;

class Sweep {
 public:
  Sweep(const LoadedStudy& study, const SweepOptions& options, StudyFolder folder)
      : study_(study),
        options_(options),
        folder_(std::move(folder)),
        cells_(study.cells()),
        results_(cells_.size()),
        began_(real_nanoseconds()),
        information_(describe_process(options.command, options.world, options.real)) {
    outcome_.folder = folder_.path();
    pool_.jobs = options.world == WorldKind::hw ? 1 : std::max<std::size_t>(1, options.jobs);
    pool_.timeout = options.cell_timeout;
    pool_.interruption = InterruptionHandler::level;
  }

  tl::expected<SweepOutcome, RunError> run() {
    if (options_.world == WorldKind::hw) {
      if (auto rest = check_left_behind(folder_.path()); !rest) return bad_input(rest.error());
      if (auto aside = put_resumed_and_cut_aside(folder_.path()); !aside) {
        return bad_input(aside.error());
      }
    }
    if (auto kept = keep_complete_cells(); !kept) return bad_input(kept.error());
    if (options_.world == WorldKind::hw) {
      run_missing_cells_in_cluster();
    } else {
      run_missing_cells();
    }
    for (std::optional<CellResult>& result : results_) outcome_.cells.push_back(std::move(*result));
    const auto written =
        (outcome_.interrupted ? Written() : judge_claims()).and_then([this] { return write(); });
    if (!written) return tl::unexpected(RunError{ExitStatus::no_world, written.error()});
    return std::move(outcome_);
  }

 private:
  static tl::unexpected<RunError> bad_input(const std::string& message) {
    return tl::unexpected(RunError{ExitStatus::bad_input, message});
  }

  tl::expected<void, std::string> keep_complete_cells() {
    std::error_code error;
    for (std::size_t i = 0; i < cells_.size(); ++i) {
      folder_.clean(cells_[i].name);
      const std::filesystem::path path = folder_.cell(cells_[i].name);
      if (!std::filesystem::exists(path, error)) continue;
      const auto loaded = study_.scenario(cells_[i]);
      if (!loaded) return tl::unexpected(loaded.error().front().text());
      if (auto same = verify_cell(path, cells_[i], options_.world, loaded->resolved); !same) {
        return same;
      }
      auto result = read_cell(path, cells_[i]);
      if (!result) return tl::unexpected(result.error());
      results_[i] = std::move(*result);
      ++outcome_.kept;
    }
    return {};
  }

  void run_missing_cells() {
    std::vector<std::size_t> missing;
    std::vector<ProcessTask> tasks;
    for (std::size_t i = 0; i < cells_.size(); ++i) {
      if (results_[i]) continue;
      missing.push_back(i);
      tasks.push_back([this, i](TaskOutput& output) {
        return run_cell(study_, cells_[i], options_, folder_.cell(cells_[i].name), output);
      });
    }
    ProgressDisplay display("cells", options_.quiet);
    std::size_t done = outcome_.kept;
    std::size_t failed = 0;
    const auto ends = run_processes(tasks, pool_, [&](std::size_t task, const TaskEnd& end) {
      results_[missing[task]] = result_of(missing[task], end);
      if (results_[missing[task]]->outcome != to_name(Outcome::completed)) ++failed;
      display.show(++done, cells_.size(), failed > 0 ? fmt::format("{} failed", failed) : "");
    });
    for (std::size_t task = 0; task < ends.size(); ++task) {
      if (ends[task]) continue;
      const StudyCell& cell = cells_[missing[task]];
      results_[missing[task]] =
          failed_cell(cell, to_name(Outcome::not_started), "interrupted before it began");
    }
    outcome_.interrupted = InterruptionHandler::level() != Interruption::none;
  }

  void run_missing_cells_in_cluster() {
    ClusterCells runner({&study_, options_.real->cluster, folder_.path(), options_.command,
                         options_.cell_timeout, InterruptionHandler::level});
    ProgressDisplay display("cells", options_.quiet);
    std::size_t done = outcome_.kept;
    std::string stuck;  // why no further cell can begin
    for (std::size_t i = 0; i < cells_.size(); ++i) {
      if (results_[i]) continue;
      const StudyCell& cell = cells_[i];
      if (stuck.empty() && InterruptionHandler::level() != Interruption::none) {
        stuck = "interrupted before it began";
      }
      if (!stuck.empty()) {
        results_[i] = failed_cell(cell, to_name(Outcome::not_started), stuck);
        continue;
      }
      const auto ended = runner.run(cell, folder_.cell(cell.name), [&](const auto& progress) {
        display.show(done, cells_.size(),
                     fmt::format("{}: {}/{} migrations at {:.1f} s", cell.name, progress.ended,
                                 progress.moves, progress.now.to_seconds()));
      });
      auto result =
          ended ? read_cell(folder_.cell(cell.name), cell) : tl::unexpected(ended.error().reason);
      results_[i] = result ? std::move(*result)
                           : failed_cell(cell, ended ? failed_outcome : ended.error().outcome,
                                         result.error());
      if (!ended && ended.error().ends_sweep && ended.error().outcome == failed_outcome) {
        stuck = fmt::format("not begun, because of {}: {}", cell.name, ended.error().reason);
      }
      display.show(++done, cells_.size(), "");
    }
    outcome_.interrupted = InterruptionHandler::level() != Interruption::none;
  }

  CellResult result_of(std::size_t index, const TaskEnd& end) {
    const StudyCell& cell = cells_[index];
    if (!end.succeeded()) {
      folder_.clean(cell.name);
      const auto outcome =
          end.how == TaskEnd::How::cancelled ? to_name(Outcome::cancelled) : failed_outcome;
      return failed_cell(cell, outcome, "the cell's process " + described(end));
    }
    auto result = read_cell(folder_.cell(cell.name), cell);
    return result ? std::move(*result) : failed_cell(cell, failed_outcome, result.error());
  }

  /// "was killed by signal ...", or what it said itself.
  static std::string described(const TaskEnd& end) {
    const bool said = end.how == TaskEnd::How::exited && !end.output.empty();
    return said ? "failed: " + end.reason() : end.reason();
  }

  Written judge_claims() {
    const std::vector<Claim>& claims = study_.study().claims;
    if (claims.empty()) return {};
    std::vector<SourcedConstant> constants;
    for (const StudyCell& cell : cells_) {
      if (cell.repetition != 0) continue;
      const auto loaded = study_.scenario(cell);
      if (!loaded) continue;  // the cell's own row says why
      for (const SourcedConstant& constant : loaded->constants) {
        const auto same = [&](const SourcedConstant& other) {
          return other.path == constant.path && other.kind == constant.kind &&
                 other.fitted_to == constant.fitted_to;
        };
        // Times of kernels that no job runs change nothing: they are not tried at half and double.
        const auto& jobs = loaded->scenario.jobs;
        const bool matters =
            concerns(constant.path, Workload()) ||
            std::any_of(jobs.begin(), jobs.end(),
                        [&](const Job& job) { return concerns(constant.path, job.workload); });
        if (matters && std::none_of(constants.begin(), constants.end(), same)) {
          constants.push_back(constant);
        }
      }
    }
    std::vector<ClaimRow> rows;
    for (const Claim& claim : claims) {
      rows.push_back(
          {&claim, evaluate(claim, outcome_.cells), basis_of(claim, constants), std::nullopt});
    }
    // The constants are those of a simulation.
    const bool examines = options_.sensitivity && options_.world != WorldKind::hw;
    if (examines) {
      // That may take far longer than the cells: what they say is there before.
      if (auto written = write_tables(&rows); !written) return written;
      if (!examine(rows, constants)) return {};
    }
    outcome_.claims = std::move(rows);
    return {};
  }

  /// False if it was interrupted.
  bool examine(std::vector<ClaimRow>& rows, const std::vector<SourcedConstant>& constants) {
    RunOptions run;
    run.world = options_.world;
    run.speed = options_.speed;
    const std::vector<Perturbation> all = perturbations(study_.study(), constants);
    ProgressDisplay display("runs with assumed constants halved and doubled", options_.quiet);
    const auto perturbed =
        run_perturbed(study_, outcome_.cells, all, run, pool_,
                      [&](std::size_t done, std::size_t of) { display.show(done, of, ""); });
    if (!perturbed) {
      outcome_.interrupted = true;
      return false;
    }
    for (ClaimRow& row : rows) {
      row.robust = robustness_of(*row.claim, row.verdict.met(), *perturbed);
    }
    sensitivity_ = sensitivity_csv(rows, *perturbed);
    return true;
  }

  /// study.yaml, cells.csv and, if given, claims.csv.
  Written write_tables(const std::vector<ClaimRow>* claims) {
    std::ifstream stream(options_.file, std::ios::binary);
    std::ostringstream text;
    text << stream.rdbuf();
    const std::filesystem::path& path = folder_.path();
    if (auto done = replace_file(path / "study.yaml", text.str()); !done) return done;
    if (auto done = replace_file(path / "cells.csv", cells_csv(study_.study(), outcome_.cells));
        !done) {
      return done;
    }
    return claims ? replace_file(path / "claims.csv", claims_csv(*claims)) : Written();
  }

  Written write() {
    auto tables = write_tables(outcome_.interrupted ? nullptr : &outcome_.claims);
    if (!tables) return tables;
    const std::filesystem::path& path = folder_.path();
    if (!sensitivity_.empty()) {
      if (auto done = replace_file(path / "sensitivity.csv", sensitivity_); !done) return done;
    }
    return replace_file(path / "run.json", study_json());
  }

  std::string study_json() const {
    nlohmann::ordered_json json;
    json["kind"] = "study";
    json["name"] = study_.study().name;
    json["world"] = information_.world;
    if (!information_.cluster.empty()) json["cluster"] = information_.cluster;
    json["command"] = information_.command;
    json["host"] = information_.host;
    json["started_at"] = information_.started_at;
    for (const auto& [name, version] : information_.versions) json["versions"][name] = version;
    json["wall_seconds"] = Duration::nanoseconds(real_nanoseconds() - began_).to_seconds();
    json["peak_memory_bytes"] = peak_memory().count();
    json["jobs"] = pool_.jobs;
    json["cells"] = outcome_.cells.size();
    json["cells_kept"] = outcome_.kept;
    json["cells_failed"] = outcome_.failed_cells();
    json["interrupted"] = outcome_.interrupted;
    return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  }

  const LoadedStudy& study_;
  const SweepOptions& options_;
  StudyFolder folder_;
  std::vector<StudyCell> cells_;
  std::vector<std::optional<CellResult>> results_;  ///< by cell
  std::int64_t began_;
  RunInformation information_;
  ProcessPoolOptions pool_;
  SweepOutcome outcome_;
  std::string sensitivity_;  ///< text of sensitivity.csv; empty if it was not examined
};

}  // namespace

std::size_t SweepOutcome::failed_cells() const {
  return static_cast<std::size_t>(std::count_if(
      cells.begin(), cells.end(),
      [](const CellResult& cell) { return cell.outcome != to_name(Outcome::completed); }));
}

std::size_t SweepOutcome::missed_claims() const {
  return static_cast<std::size_t>(std::count_if(
      claims.begin(), claims.end(), [](const ClaimRow& row) { return !row.verdict.met(); }));
}

std::filesystem::path choose_folder(const std::filesystem::path& out, bool resume,
                                    const std::string& name) {
  if (!out.empty()) return out;
  std::error_code error;
  unsigned number = 1;
  while (std::filesystem::exists(numbered_folder(name, number), error)) ++number;
  if (resume && number > 1) --number;
  return numbered_folder(name, number);
}

tl::expected<SweepOutcome, RunError> run_sweep(const LoadedStudy& study,
                                               const SweepOptions& options) {
  auto folder = StudyFolder::open(choose_folder(options.out, options.resume, study.study().name),
                                  options.resume);
  if (!folder) return tl::unexpected(RunError{ExitStatus::bad_input, folder.error()});
  return Sweep(study, options, std::move(*folder)).run();
}

std::string list_cells(const LoadedStudy& study) {
  std::vector<TextColumn> columns = {{"cell"}};
  for (const Vary& vary : study.study().vary) columns.push_back({vary.path});
  columns.push_back({"repetition", Align::right});
  columns.push_back({"seed", Align::right});
  std::vector<std::vector<std::string>> rows;
  for (const StudyCell& cell : study.cells()) {
    std::vector<std::string> row = {cell.name};
    for (const Setting& setting : cell.settings) row.push_back(setting.value);
    row.push_back(fmt::to_string(cell.repetition));
    row.push_back(fmt::to_string(cell.seed));
    rows.push_back(std::move(row));
  }
  return text_table(columns, rows, 200);
}

}  // namespace ferry
