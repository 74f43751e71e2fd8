// A study: one scenario varied over a grid, with repetitions, claims and plots.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/scenario/document.hpp"

namespace ferry {

/// One dimension of the grid: the values, as YAML text, that a path takes.
struct Vary {
  std::string path;
  std::vector<std::string> values;  ///< {from, to, steps, scale} already written out
};

/// Selects cells by assignment: all of these settings hold.
using Where = std::vector<Setting>;

/// What a claim says of a metric. Exactly one form per claim.
struct Claim {
  std::string id;
  std::string text;
  std::string source;
  std::string metric;             ///< a metric of summary.csv
  std::optional<std::string> of;  ///< divide by this metric of the same cell
  Where where;                    ///< only these cells
  enum class Form {
    every_cell,  ///< each cell's value lies below / above
    value,       ///< `expect` and `tolerance`: the median over the selected cells
    ratio,  ///< median at path=first over median at path=second, others equal; every pair must hold
    ascending,   ///< medians do not decrease along the listed values of the path
    similar,     ///< largest over smallest median along the path is at most 1 + within
    difference,  ///< metric at path=first less metric at path=second, others equal, repetition by
                 ///< repetition: the 95 % confidence interval of its mean lies below / above
    linear,  ///< against the path's numeric value: residuals of a least-squares line at most within
             ///< x mean
  } form = Form::every_cell;
  std::optional<double> below, above;    ///< in the metric's unit (seconds, bytes)
  std::string path;                      ///< of ratio, ascending, similar, linear, difference
  std::vector<std::string> values;       ///< ratio, difference: two; ascending: the order
  std::optional<std::string> best_over;  ///< ratio: the smallest over this path's values counts
  std::optional<double> expect;
  double tolerance = 0;          ///< absolute for ratio; a share of `expect` for value
  double within = 0;             ///< of similar and linear
  bool by_construction = false;  ///< `basis: by_construction`, said by the author
  std::string note;              ///< why a claim is not reproduced, as far as the author knows
  std::vector<std::vector<std::string>> together;  ///< of the study: paths that move in lock-step
  std::string file;
  std::size_t line = 0;
};

struct Study {
  std::string name;
  std::string description;
  std::vector<Vary> vary;
  std::vector<std::vector<std::string>> together;  ///< paths that move in lock-step
  std::vector<Where> except;
  std::uint32_t repeat = 1;
  bool paired = false;  ///< repetition n draws alike in every cell
  std::vector<Claim> claims;
  std::vector<std::string> plots;
};

/// One cell: an assignment and a repetition.
struct StudyCell {
  std::string name;               ///< `cell-0007` by position in the full list
  std::vector<Setting> settings;  ///< one per varied path, in the order of `vary`
  std::uint32_t repetition = 0;
  std::uint64_t seed = 0;  ///< hash(study seed, assignment, repetition); paired: without assignment
};

/// Keeps the parsed base scenario, so that a cell costs no parsing.
class LoadedStudy {
 public:
  struct Base;
  LoadedStudy(Study study, std::shared_ptr<const Base> base);

  [[nodiscard]] const Study& study() const { return study_; }
  /// Every cell of the grid, `together` and `except` applied.
  [[nodiscard]] std::vector<StudyCell> cells() const;
  /// The scenario of one cell (its settings and seed applied), with `extra` settings on top.
  [[nodiscard]] Loaded<LoadedScenario> scenario(const StudyCell& cell,
                                                const std::vector<Setting>& extra = {}) const;

 private:
  Study study_;
  std::shared_ptr<const Base> base_;
};

struct StudyOptions {
  /// Instead of what the file says; at least 1.
  std::optional<std::uint32_t> repeat;
  /// Repetitions are accepted although nothing is random in the scenario: the world's own times
  /// vary.
  bool world_varies = false;
};

/// Reads the study and checks that its base scenario and every cell's assignment are acceptable. A
/// scenario file is a study of one cell, by the scenario's name.
Loaded<LoadedStudy> load_study(const std::filesystem::path& file,
                               const std::vector<Setting>& settings = {},
                               const StudyOptions& options = {});

}  // namespace ferry
