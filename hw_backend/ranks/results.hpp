// The run folder of a job that was started without a controller.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "core/record/run_folder.hpp"
#include "hw_backend/ranks/rank_program.hpp"

namespace ferry::ranks {

/// Of rank 0. Errors are sentences.
class Results {
 public:
  /// `folder` empty: nothing is written but a line for people on standard output.
  Results(std::vector<std::string> command, std::filesystem::path folder);
  /// Before the job runs: whether the folder can be made.
  [[nodiscard]] tl::expected<void, std::string> prepare(const PreparedJob& job);
  [[nodiscard]] tl::expected<void, std::string> write(const PreparedJob& job,
                                                      const JobRecord& record, bool interrupted);

 private:
  std::vector<std::string> command_;
  std::filesystem::path wanted_;
  std::optional<NewFolder> folder_;
  std::string started_at_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

}  // namespace ferry::ranks
