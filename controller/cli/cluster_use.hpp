// From `--cluster FILE` to a cluster that may be migrated in: read, held against the scenario and
// against what runs there, and confirmed by the user.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "controller/cli/exit_status.hpp"
#include "controller/cli/run_output.hpp"
#include "controller/cli/worlds.hpp"
#include "controller/plan.hpp"
#include "core/scenario/cluster_file.hpp"
#include "core/scenario/document.hpp"
#include "core/scenario/instance.hpp"

namespace CLI {
class App;
}

namespace ferry {

/// `--cluster` and `--yes` of a command.
struct ClusterOption {
  std::string file;
  bool yes = false;

  void add_to(CLI::App& command);
  /// The file, read; nothing if `world` is not hw. Errors have been said: no file for hw, a file
  /// for another world, or a file that is not right.
  [[nodiscard]] tl::expected<std::optional<LoadedCluster>, ExitStatus> load(
      std::string_view world) const;
};

/// The libvirt backend, or the sentence that says how to get it.
tl::expected<void, std::string> libvirt_is_there();

/// One scenario that will run, and the schedule of it.
struct Undertaking {
  Instance instance;
  Plan plan;
};

/// Moves that are about to be made, for people: "about to migrate 4 VMs on 2 hosts", then one line
/// a move, ten at most. `runs`: how often.
std::string announcement(const std::vector<Undertaking>& undertakings, const LoadedCluster& cluster,
                         std::size_t runs);

/// The clusters whose use was confirmed before, by what their files say: a cluster file that
/// changed is a new one.
class Confirmations {
 public:
  /// `file` has one line for each cluster.
  explicit Confirmations(std::filesystem::path file) : file_(std::move(file)) {}
  /// $XDG_STATE_HOME/ferry/confirmed, else ~/.local/state/ferry/confirmed; empty if the environment
  /// names neither.
  static std::filesystem::path default_file();

  [[nodiscard]] bool has(const LoadedCluster& cluster) const;
  /// Error: a sentence.
  [[nodiscard]] tl::expected<void, std::string> add(const LoadedCluster& cluster) const;

 private:
  std::filesystem::path file_;
};

/// The first use of a cluster is announced and asked for on the terminal; `yes` is the answer where
/// there is none. Error: the exit status, after saying what would be right; nothing was touched.
tl::expected<void, ExitStatus> confirm_use(const ClusterOption& option,
                                           const LoadedCluster& cluster,
                                           const std::string& announcement);

/// What failed, one line each with what would put it right; empty if nothing did.
std::string failures_text(const ClusterDiagnosis& diagnosis);

/// Everything before the first change: the files fit, libvirt is there, the domains are as the
/// scenario says, and the user agrees. `scenario_file` is for messages. Error: the exit status,
/// after saying why.
tl::expected<RealWorld, ExitStatus> prepare_cluster(const ClusterOption& option,
                                                    const LoadedCluster& cluster,
                                                    const std::string& scenario_file,
                                                    const LoadedScenario& loaded);

}  // namespace ferry
