// Do the claims survive each assumed constant at half and at double?
#pragma once

#include <string>
#include <vector>

#include "controller/cli/claims.hpp"
#include "controller/cli/process_pool.hpp"
#include "controller/cli/run_scenario.hpp"

namespace ferry {

/// One constant at a multiple of its value, everything else as it was.
struct Perturbation {
  std::string path;
  double factor = 1;

  /// "hypervisor.finish halved"
  [[nodiscard]] std::string text() const;
};

/// What the claims' cells gave under one perturbation.
struct PerturbedCells {
  Perturbation perturbation;
  std::vector<CellResult> cells;
  std::string not_tried;  ///< why there are no cells: the scenario would not be valid
};

/// Every assumed constant halved and doubled, in the order of `constants`, each path once;
/// constants that the study varies are left out: the grid shows what they do.
std::vector<Perturbation> perturbations(const Study& study,
                                        const std::vector<SourcedConstant>& constants);

/// Under which perturbations the claim changes between holding and not. `nominal`: whether it holds
/// as things are.
Robustness robustness_of(const Claim& claim, bool nominal, const std::vector<PerturbedCells>& all);

/// Runs every cell that a claim selects under each perturbation, in forked processes. Cells that do
/// not have a constant, or have it as zero, are taken from `nominal`. Nothing if it was
/// interrupted.
std::optional<std::vector<PerturbedCells>> run_perturbed(
    const LoadedStudy& study, const std::vector<CellResult>& nominal,
    const std::vector<Perturbation>& perturbations, const RunOptions& run,
    const ProcessPoolOptions& pool,
    const std::function<void(std::size_t done, std::size_t of)>& on_progress);

}  // namespace ferry
