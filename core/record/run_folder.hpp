// A folder that appears complete or not at all; or early, for work that must not be lost.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "core/record/link_usage.hpp"
#include "core/record/run_records.hpp"
#include "core/record/summary.hpp"
#include "core/scenario/instance.hpp"

namespace ferry {

/// A folder in the making: files go to `DIR.partial`, `commit` (or `appear`) renames it to `DIR`.
class NewFolder {
 public:
  /// Makes `DIR.partial` and the folders above it. Error: a sentence, if `folder` or its partial
  /// folder exists or cannot be made.
  static tl::expected<NewFolder, std::string> create(const std::filesystem::path& folder);

  /// One that is there already and is to be completed; files are replaced.
  static NewFolder of_existing(std::filesystem::path folder);

  NewFolder(NewFolder&& other) noexcept
      : folder_(std::move(other.folder_)),
        partial_(std::exchange(other.partial_, {})),
        parents_(std::move(other.parents_)),
        appeared_(other.appeared_) {}
  NewFolder& operator=(NewFolder&&) = delete;
  /// Removes what was written and the folders above that were made for it, unless it has appeared.
  ~NewFolder();

  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  /// Where files are written until `commit`.
  [[nodiscard]] const std::filesystem::path& partial() const { return partial_; }

  /// Writes one file. Error: a sentence.
  [[nodiscard]] tl::expected<void, std::string> write(std::string_view file, std::string_view text);
  /// Lets the folder appear before it is complete, for work that must not be lost. From here on
  /// `partial` is `folder`. Error: as of `commit`.
  [[nodiscard]] tl::expected<void, std::string> appear();
  [[nodiscard]] bool appeared() const { return appeared_; }
  /// Lets the folder appear. Error: a sentence, if a folder of this name appeared meanwhile.
  [[nodiscard]] tl::expected<void, std::string> commit();

 private:
  explicit NewFolder(std::filesystem::path folder, std::filesystem::path partial)
      : folder_(std::move(folder)), partial_(std::move(partial)) {}

  std::filesystem::path folder_;
  std::filesystem::path partial_;               // empty once committed
  std::vector<std::filesystem::path> parents_;  // that were made, the innermost first
  bool appeared_ = false;
};

/// Writes a file through a temporary beside it, so that readers see the old text or the new. Error:
/// a sentence.
[[nodiscard]] tl::expected<void, std::string> replace_file(const std::filesystem::path& file,
                                                           std::string_view text);

/// What `run.json` says beside the time that the run took.
struct RunInformation {
  std::string name;   ///< of the scenario
  std::string world;  ///< sim, threads, hw
  std::uint64_t seed = 0;
  std::vector<std::string> command;                           ///< as given to the shell
  std::string host;                                           ///< that ran the controller
  std::string started_at;                                     ///< UTC, ISO 8601
  std::vector<std::pair<std::string, std::string>> versions;  ///< of ferry, SimGrid, the compiler
  std::string cluster;  ///< the cluster file of a real run; empty: none
  bool interrupted = false;
  std::optional<RunVerdict> verdict;  ///< of a run that is at its end
  /// Of a run that another process finished: its command, and when it took over.
  std::optional<std::pair<std::vector<std::string>, std::string>> resumed;
  /// Of a cell of a study: which one.
  struct Cell {
    std::string study;
    std::string name;
    std::vector<std::pair<std::string, std::string>> assignment;
    std::uint32_t repetition = 0;
  };
  std::optional<Cell> cell;
};

/// How long it took; asked for when everything else is written.
struct RunTimes {
  Duration wall;      ///< since the process began its work
  Duration simulate;  ///< from world built to records written
};

/// What a run folder is made from.
struct RunContents {
  const RunRecords& records;
  const Instance& instance;
  std::string_view resolved;         ///< text of resolved.yaml
  bool trace = true;                 ///< write trace.json
  std::string_view journal;          ///< text of the journal; empty if it is already in the folder
  const LinkUsage* links = nullptr;  ///< none where the world does not know
};

/// Writes every file of a run folder but `run.json`. Error: a sentence.
[[nodiscard]] tl::expected<void, std::string> write_run_files(NewFolder& folder,
                                                              const RunContents& contents);
/// Text of `run.json` while the run goes on: `unfinished` is true, and `controller_pid` is this
/// process.
std::string run_json_of_unfinished(const RunInformation& information);
/// Text of `run.json`.
std::string run_json(const RunInformation& information, const RunTimes& times);

/// The most memory that this process has held (VmHWM).
Bytes peak_memory();

}  // namespace ferry
