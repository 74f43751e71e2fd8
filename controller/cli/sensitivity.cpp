#include "controller/cli/sensitivity.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/record/csv.hpp"
#include "core/record/tables.hpp"

namespace ferry {
namespace {

/// Exit statuses of a worker that has no metrics to report.
constexpr int unchanged_status = 10;  ///< the cell does not have the constant, or it is zero
constexpr int invalid_status = 11;    ///< the scenario would not be valid; the output says why

int work(const LoadedStudy& study, const StudyCell& cell, const Perturbation& perturbation,
         const RunOptions& options, TaskOutput& output) {
  const auto nominal = study.scenario(cell);
  if (!nominal) {
    output.write(nominal.error().front().message);
    return invalid_status;
  }
  const auto found = std::find_if(
      nominal->constants.begin(), nominal->constants.end(), [&](const SourcedConstant& constant) {
        return constant.path == perturbation.path && constant.kind == ConstantKind::assumed;
      });
  if (found == nominal->constants.end()) return unchanged_status;
  const auto scaled = scaled_value(found->value, perturbation.factor);
  if (!scaled) {
    output.write(fmt::format("{} is not a quantity", found->value));
    return invalid_status;
  }
  if (*scaled == found->value) return unchanged_status;
  const auto changed = study.scenario(cell, {{perturbation.path, *scaled}});
  if (!changed) {
    output.write(changed.error().front().message);
    return invalid_status;
  }
  const auto outcome = run_scenario_in_memory(*changed, options);
  if (!outcome) {
    output.write(outcome.error().message);
    return outcome.error().status == ExitStatus::bad_input ? invalid_status : exception_status;
  }
  output.write(summary_csv((*outcome)->metrics));
  return 0;
}

CellResult to_cell(const StudyCell& cell, const TaskEnd& end) {
  CellResult result;
  result.cell = cell;
  const auto table = end.succeeded() ? read_csv(end.output) : tl::unexpected(end.reason());
  if (!table) {
    result.outcome = "failed";
    result.reason = table.error();
    return result;
  }
  result.outcome = "completed";
  for (const auto& row : table->rows) result.metrics[row[0]] = row[1];
  return result;
}

}  // namespace

std::string Perturbation::text() const {
  std::string_view name = path;
  constexpr std::string_view platform = "platform.";
  if (name.substr(0, platform.size()) == platform) name.remove_prefix(platform.size());
  return fmt::format("{} {}", name, factor < 1 ? "halved" : "doubled");
}

std::vector<Perturbation> perturbations(const Study& study,
                                        const std::vector<SourcedConstant>& constants) {
  std::vector<Perturbation> all;
  std::set<std::string> seen;
  for (const Vary& vary : study.vary) seen.insert(vary.path);
  for (const SourcedConstant& constant : constants) {
    if (constant.kind != ConstantKind::assumed || !seen.insert(constant.path).second) continue;
    all.push_back({constant.path, 0.5});
    all.push_back({constant.path, 2});
  }
  return all;
}

Robustness robustness_of(const Claim& claim, bool nominal, const std::vector<PerturbedCells>& all) {
  Robustness robustness;
  for (const PerturbedCells& perturbed : all) {
    if (!perturbed.not_tried.empty()) {
      robustness.not_tried.push_back(
          fmt::format("{} ({})", perturbed.perturbation.text(), perturbed.not_tried));
    } else if (evaluate(claim, perturbed.cells).met() != nominal) {
      robustness.changes.push_back(perturbed.perturbation.text());
    }
  }
  return robustness;
}

std::optional<std::vector<PerturbedCells>> run_perturbed(
    const LoadedStudy& study, const std::vector<CellResult>& nominal,
    const std::vector<Perturbation>& perturbations, const RunOptions& run,
    const ProcessPoolOptions& pool,
    const std::function<void(std::size_t, std::size_t)>& on_progress) {
  std::vector<const CellResult*> selected;
  for (const CellResult& cell : nominal) {
    const auto& claims = study.study().claims;
    if (std::any_of(claims.begin(), claims.end(),
                    [&](const Claim& claim) { return selects(claim, cell.cell); })) {
      selected.push_back(&cell);
    }
  }
  std::vector<ProcessTask> tasks;
  for (const Perturbation& perturbation : perturbations) {
    for (const CellResult* cell : selected) {
      tasks.push_back([&study, &perturbation, &run, cell](TaskOutput& output) {
        return work(study, cell->cell, perturbation, run, output);
      });
    }
  }
  std::size_t done = 0;
  const auto ends = run_processes(tasks, pool, [&](std::size_t, const TaskEnd&) {
    if (on_progress) on_progress(++done, tasks.size());
  });

  std::vector<PerturbedCells> all;
  for (std::size_t i = 0; i < perturbations.size(); ++i) {
    PerturbedCells perturbed{perturbations[i], {}, ""};
    for (std::size_t j = 0; j < selected.size(); ++j) {
      const auto& end = ends[i * selected.size() + j];
      if (!end || end->how == TaskEnd::How::cancelled) return std::nullopt;
      if (end->how == TaskEnd::How::exited && end->status == unchanged_status) {
        perturbed.cells.push_back(*selected[j]);
      } else if (end->how == TaskEnd::How::exited && end->status == invalid_status) {
        if (perturbed.not_tried.empty()) perturbed.not_tried = end->output;
      } else {
        perturbed.cells.push_back(to_cell(selected[j]->cell, *end));
      }
    }
    all.push_back(std::move(perturbed));
  }
  return all;
}

}  // namespace ferry
