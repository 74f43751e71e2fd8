// What a study claims, held against what its cells gave. Pure functions.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/scenario/study.hpp"

namespace ferry {

/// What one cell gave.
struct CellResult {
  StudyCell cell;
  std::map<std::string, std::string> metrics;  ///< as in summary.csv; an empty text: no value
  std::string outcome;                         ///< `completed`, or how the first failure is called
  std::string reason;

  /// A metric as a number, in the metric's unit.
  [[nodiscard]] std::optional<double> value(const std::string& metric) const;
};

enum class Holds {
  yes,
  no,
  not_reproduced,  ///< no, and the claim's note says why
};
std::string_view to_name(Holds holds);

/// What a claim looked at, as numbers.
struct ClaimMeasure {
  std::string quantity;  ///< "total_seconds", or what is made of metrics: "a / b of total_seconds"
  double low = 0;        ///< over what the claim looks at
  double high = 0;
  std::optional<double> least;  ///< what the claim allows
  std::optional<double> greatest;
};

struct ClaimVerdict {
  std::string expected;  ///< "below 3 s"
  std::string got;       ///< "1.98 s to 2.41 s"; empty if nothing can be said
  Holds holds = Holds::no;
  std::string reason;  ///< empty if it holds: the claim's note, else which cells break it
  std::optional<ClaimMeasure> measure{};  ///< none if nothing can be said

  [[nodiscard]] bool met() const { return holds == Holds::yes; }
};

/// Whether a verdict stands when assumed constants have other values.
struct Robustness {
  std::vector<std::string> changes;    ///< what turns the verdict: "streams.rdma.bandwidth halved"
  std::vector<std::string> not_tried;  ///< what could not be tried, with the reason in brackets

  /// "yes", or "no: " and what turns it; behind it what was not tried.
  [[nodiscard]] std::string text() const;
};

/// Whether a cell is among those that a claim speaks of.
bool selects(const Claim& claim, const StudyCell& cell);

/// `every_cell` looks at each cell, `difference` at pairs of cells of one repetition; all other
/// forms at medians over the repetitions of an assignment. A selected cell without a value breaks
/// the claim.
ClaimVerdict evaluate(const Claim& claim, const std::vector<CellResult>& cells);

/// `fitted` if a constant was fitted to the claim, `by construction` if its author says so, else
/// `predicted`.
std::string basis_of(const Claim& claim, const std::vector<SourcedConstant>& constants);

/// A number as people write it, in the metric's unit: "2.412 s", "1.5 GiB", "0.802".
std::string value_text(double value, std::string_view metric);

/// The numeric value of a varied path's text: a quantity in its base unit, or a plain number.
std::optional<double> numeric_value(std::string_view text);

}  // namespace ferry
