// The cells of a study in a real cluster: one after another in this process, each from where its
// scenario starts.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "controller/cli/cluster_use.hpp"
#include "controller/cli/run_output.hpp"
#include "controller/cli/run_scenario.hpp"
#include "core/scenario/study.hpp"

namespace ferry {

struct ClusterCellOptions {
  const LoadedStudy* study = nullptr;
  const LoadedCluster* cluster = nullptr;
  std::filesystem::path folder;  ///< of the study
  std::vector<std::string> command;
  std::optional<Duration> timeout;             ///< of a cell, in real time: then it is rolled back
  std::function<Interruption()> interruption;  ///< a cell that runs is ended by `cancel` alone
};

class ClusterCells {
 public:
  explicit ClusterCells(ClusterCellOptions options) : options_(std::move(options)) {}

  /// How a cell that has no result ended.
  struct Failure {
    std::string outcome;  ///< `failed`, or `cancelled`: then the sweep was interrupted
    std::string reason;
    bool ends_sweep = false;  ///< no further cell can start from where it should
  };
  /// Brings the VMs to where the cell starts (with `restore: back`), runs it, writes its run folder
  /// and brings the VMs back. A run that was cut short, by its time or by the user, is kept in the
  /// study's folder `cut_short`. `on_progress` may be empty.
  tl::expected<void, Failure> run(const StudyCell& cell, const std::filesystem::path& folder,
                                  const std::function<void(const SessionProgress&)>& on_progress);

 private:
  using Done = tl::expected<void, Failure>;
  struct Ready {
    LoadedScenario loaded;
    Instance instance;
    RealWorld real;
  };

  tl::expected<Ready, Failure> ready(const StudyCell& cell);
  Done execute(const StudyCell& cell, const std::filesystem::path& folder, const Ready& ready,
               const std::function<void(const SessionProgress&)>& on_progress,
               std::vector<HostId>& places);
  /// A run of its own, in the study's folder `back`.
  Done bring_back(const Ready& ready, const std::vector<HostId>& places);

  ClusterCellOptions options_;
};

/// Whether the runs of a study's folder in a real cluster are all at rest; a folder that is not
/// there has none. Error: a sentence that names the first that is left unfinished.
tl::expected<void, std::string> check_left_behind(const std::filesystem::path& study);
/// Cells that another controller finished go to the folder `resumed`, those that were cut short to
/// `cut_short`: their times are no measurement, so they run anew. Error: a sentence.
tl::expected<void, std::string> put_resumed_and_cut_aside(const std::filesystem::path& study);

/// What every cell of a study would do in a cluster, each assignment once. Error: everything that
/// does not fit; `study_file` is for messages.
Loaded<std::vector<Undertaking>> undertakings_of(const LoadedStudy& study,
                                                 const std::string& study_file,
                                                 const LoadedCluster& cluster);

}  // namespace ferry
