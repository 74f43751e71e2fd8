// What `ferry explain` prints: how the ranks of jobs reach each other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "core/channel/survey.hpp"
#include "core/scenario/document.hpp"
#include "core/scenario/instance.hpp"

namespace ferry {

/// What is asked for.
struct ExplainRequest {
  std::optional<std::string> job;                                ///< none: every job
  std::optional<std::pair<std::uint32_t, std::uint32_t>> ranks;  ///< none: one pair of each class
};

/// How the ranks of one job reach each other as the scenario begins.
struct ExplainedJob {
  JobId job;
  std::shared_ptr<const RouteTable> table;  ///< jobs of one policy share it
  std::vector<AlikePairs> pairs;            ///< with `ranks` one, whose count is 0
};

/// Error: a sentence about what was asked for, or about what the scenario lacks for it.
tl::expected<std::vector<ExplainedJob>, std::string> explain(const Scenario& scenario,
                                                             const Instance& instance,
                                                             const ExplainRequest& request);

/// Tables for a terminal. Of many jobs the first ten.
std::string explained_text(const Scenario& scenario, const Instance& instance,
                           const std::vector<ExplainedJob>& jobs);
/// One row for each job, class of pairs and range of sizes.
std::string explained_csv(const Scenario& scenario, const Instance& instance,
                          const std::vector<ExplainedJob>& jobs);
/// Everything: also the reasons, and the times of every candidate by size.
std::string explained_json(const Scenario& scenario, const Instance& instance,
                           const std::vector<ExplainedJob>& jobs);

}  // namespace ferry
