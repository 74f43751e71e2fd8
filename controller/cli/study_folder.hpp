// The folder of a study: its cells' run folders, and the tables over them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "controller/cli/claims.hpp"
#include "controller/cli/run_scenario.hpp"
#include "controller/cli/sensitivity.hpp"

namespace ferry {

/// An open study folder. While it is open (or a worker of the process that opened it lives), no
/// other process can open it.
class StudyFolder {
 public:
  /// Makes the folder and those above it; with `resume` also goes on in an existing one that a
  /// sweep made, or that is empty. Error: a sentence.
  static tl::expected<StudyFolder, std::string> open(const std::filesystem::path& folder,
                                                     bool resume);
  StudyFolder(StudyFolder&& other) noexcept;
  StudyFolder& operator=(StudyFolder&&) = delete;
  ~StudyFolder();

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path cell(const std::string& name) const;
  /// Removes what a killed worker left of a cell.
  void clean(const std::string& cell) const;

 private:
  StudyFolder(std::filesystem::path path, int lock) : path_(std::move(path)), lock_(lock) {}
  std::filesystem::path path_;
  int lock_ = -1;
};

/// What a complete cell's folder says. Error: a sentence.
tl::expected<CellResult, std::string> read_cell(const std::filesystem::path& folder,
                                                const StudyCell& cell);

/// Whether a complete cell's folder is this cell: same assignment, repetition, seed and world, and
/// the same resolved scenario. Error: a sentence that says what differs.
tl::expected<void, std::string> verify_cell(const std::filesystem::path& folder,
                                            const StudyCell& cell, WorldKind world,
                                            const std::string& resolved);

/// cell, one column per varied path, repetition, seed, the metrics, outcome, reason. A metric that
/// no cell has is no column.
std::string cells_csv(const Study& study, const std::vector<CellResult>& cells);

/// One line of the claims table.
struct ClaimRow {
  const Claim* claim = nullptr;
  ClaimVerdict verdict;
  std::string basis;
  std::optional<Robustness> robust;  ///< none if it was not examined
};

/// id, text, source, expected, got, holds, basis, robust, reason
std::string claims_csv(const std::vector<ClaimRow>& rows);
/// claim, quantity, constant, factor, low, high, least, greatest, holds, reason: one row a claim as
/// things are (no constant, factor 1), and one for each assumed constant at half and at double.
/// `low` and `high` are what the claim looked at, `least` and `greatest` what it allows; empty
/// where there is none. Where a constant could not be tried, `holds` is empty and `reason` says
/// why.
std::string sensitivity_csv(const std::vector<ClaimRow>& rows,
                            const std::vector<PerturbedCells>& perturbed);
/// The claims for a terminal; below them the reasons of missed claims, and what would turn a
/// verdict.
std::string claims_report(const std::vector<ClaimRow>& rows);

}  // namespace ferry
