// Expansion with its checks: what is wrong with a scenario beyond its single values.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/scenario/instance.hpp"
#include "core/scenario/problem.hpp"
#include "core/scenario/reader.hpp"

namespace ferry {

/// Told of what cannot work; `where` leads from the file's root to the value, list items by
/// position.
class ScenarioProblems {
 public:
  virtual ~ScenarioProblems() = default;
  virtual void add(Problem problem, const std::vector<PathStep>& where, std::string message) = 0;
  /// True if an earlier error below `key` makes names of that list uncertain: then a reference that
  /// leads nowhere is no news.
  [[nodiscard]] virtual bool names_uncertain(std::string_view list) const = 0;
  /// True if some value below `key` could not be read.
  [[nodiscard]] virtual bool has_errors_in(std::string_view key) const = 0;
  /// True if anything was wrong so far.
  [[nodiscard]] virtual bool any() const = 0;
};

/// Expands as far as the scenario makes sense and reports the rest. The instance is complete only
/// if nothing was reported.
Instance expand_checked(const Scenario& scenario, ScenarioProblems& problems);

}  // namespace ferry
