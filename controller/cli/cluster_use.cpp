#include "controller/cli/cluster_use.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <set>

#include "controller/cli/counted.hpp"
#include "controller/cli/exit_status.hpp"
#include "core/ports/randomness.hpp"
#include "core/scenario/cluster_fit.hpp"

namespace ferry {
namespace {

std::string identity_of(const LoadedCluster& cluster) {
  return fmt::format("{:016x}", stable_hash(cluster.resolved));
}

/// Asks on the terminal; anything but y or yes is a no.
bool asks_and_hears_yes() {
  fmt::print(stderr, "Go on? [y/N] ");
  std::string answer;
  if (!std::getline(std::cin, answer)) fmt::print(stderr, "\n");
  return answer == "y" || answer == "Y" || answer == "yes";
}

}  // namespace

void ClusterOption::add_to(CLI::App& command) {
  command.add_option("--cluster", file, "With --on hw: the cluster file")->type_name("FILE");
  command.add_flag("--yes", yes, "With --on hw: do not ask before the first use of a cluster");
}

tl::expected<std::optional<LoadedCluster>, ExitStatus> ClusterOption::load(
    std::string_view world) const {
  if (world != "hw") {
    if (file.empty()) return std::nullopt;
    return tl::unexpected(report_error(
        ExitStatus::bad_input,
        fmt::format("--cluster {}: is for --on hw; leave it out, or write --on hw", file)));
  }
  if (file.empty()) {
    return tl::unexpected(report_error(
        ExitStatus::bad_input, "--on hw: needs to know the hosts; --cluster FILE would be right"));
  }
  auto loaded = load_cluster(file);
  if (!loaded) return tl::unexpected(report_bad_input(loaded.error()));
  return std::move(*loaded);
}

tl::expected<void, std::string> libvirt_is_there() {
  if (libvirt_is_built_in) return {};
  return tl::unexpected<std::string>(
      "--on hw: this build has no libvirt backend (it was configured with FERRY_LIBVIRT=OFF, or "
      "libvirt's headers were not there); install libvirt-dev and build again with "
      "FERRY_LIBVIRT=ON");
}

std::string announcement(const std::vector<Undertaking>& undertakings, const LoadedCluster& cluster,
                         std::size_t runs) {
  std::set<std::string> vms;
  std::set<std::string> hosts;
  std::vector<std::string> lines;
  std::set<std::string> seen;
  for (const Undertaking& undertaking : undertakings) {
    const Instance& instance = undertaking.instance;
    for (const PlannedMove& move : undertaking.plan.moves) {
      const std::string& vm = instance.vms[instance.moves[move.move].vm.index].name;
      const std::string& from = instance.hosts[move.from.index].name;
      const std::string& to = instance.hosts[move.to.index].name;
      vms.insert(vm);
      hosts.insert({from, to});
      const ClusterVm* real = cluster.cluster.vm(vm);
      const std::string line = fmt::format("  {} (domain {}) from {} to {}\n", vm,
                                           real != nullptr ? real->domain : "?", from, to);
      if (seen.insert(line).second) lines.push_back(line);
    }
  }
  std::string text = fmt::format("about to migrate {} on {} of {}{}:\n", counted(vms.size(), "VM"),
                                 counted(hosts.size(), "host"), cluster.file,
                                 runs > 1 ? fmt::format(", in {} runs", runs) : "");
  constexpr std::size_t shown = 10;
  for (std::size_t i = 0; i < std::min(shown, lines.size()); ++i) text += lines[i];
  if (lines.size() > shown) text += fmt::format("  and {} more\n", lines.size() - shown);
  return text;
}

std::filesystem::path Confirmations::default_file() {
  const auto variable = [](const char* name) -> std::filesystem::path {
    const char* value = std::getenv(name);
    // The XDG base directory specification has relative paths ignored.
    return value != nullptr && value[0] == '/' ? value : "";
  };
  std::filesystem::path state = variable("XDG_STATE_HOME");
  if (state.empty()) {
    const std::filesystem::path home = variable("HOME");
    if (home.empty()) return {};
    state = home / ".local" / "state";
  }
  return state / "ferry" / "confirmed";
}

bool Confirmations::has(const LoadedCluster& cluster) const {
  std::ifstream stream(file_);
  const std::string identity = identity_of(cluster);
  for (std::string line; std::getline(stream, line);) {
    if (line.substr(0, identity.size()) == identity) return true;
  }
  return false;
}

tl::expected<void, std::string> Confirmations::add(const LoadedCluster& cluster) const {
  if (has(cluster)) return {};
  std::error_code error;
  std::filesystem::create_directories(file_.parent_path(), error);
  std::ofstream stream(file_, std::ios::app);
  stream << fmt::format("{} {}\n", identity_of(cluster), cluster.file);
  stream.flush();
  if (stream) return {};
  return tl::unexpected(fmt::format(
      "{}: cannot be written, so the next run in this cluster asks again", file_.string()));
}

tl::expected<void, ExitStatus> confirm_use(const ClusterOption& option,
                                           const LoadedCluster& cluster,
                                           const std::string& announcement) {
  const Confirmations confirmations(Confirmations::default_file());
  if (confirmations.has(cluster)) return {};
  if (!option.yes) {
    fmt::print(stderr, "ferry: {}", announcement);
    if (::isatty(STDIN_FILENO) == 0) {
      return tl::unexpected(report_error(
          ExitStatus::bad_input,
          "this is the first use of this cluster and nobody can be asked, so nothing was touched; "
          "--yes would be right"));
    }
    if (!asks_and_hears_yes()) {
      return tl::unexpected(report_error(ExitStatus::bad_input, "nothing was touched"));
    }
  }
  if (auto kept = confirmations.add(cluster); !kept) {
    fmt::print(stderr, "ferry: {}\n", kept.error());
  }
  return {};
}

bool ClusterDiagnosis::failed() const {
  return std::any_of(findings.begin(), findings.end(), [](const ClusterFinding& finding) {
    return finding.level == ClusterFinding::Level::failed;
  });
}

tl::expected<RealWorld, ExitStatus> prepare_cluster(const ClusterOption& option,
                                                    const LoadedCluster& cluster,
                                                    const std::string& scenario_file,
                                                    const LoadedScenario& loaded) {
  Undertaking undertaking;
  undertaking.instance = expand(loaded.scenario);
  const Diagnostics misfits =
      check_fit(scenario_file, loaded.scenario, undertaking.instance, cluster);
  if (!misfits.empty()) return tl::unexpected(report_bad_input(misfits));
  auto plan = make_plan(loaded.scenario, undertaking.instance);
  if (!plan) return tl::unexpected(report_bad_plan(scenario_file, plan.error()));
  undertaking.plan = std::move(*plan);
  if (const auto there = libvirt_is_there(); !there) {
    return tl::unexpected(report_error(ExitStatus::no_world, there.error()));
  }
  RealWorld real{&cluster, diagnose_cluster(cluster.cluster, &undertaking.instance, true)};
  if (real.diagnosis.failed()) {
    fmt::print(stderr, "{}\n", failures_text(real.diagnosis));
    return tl::unexpected(report_error(
        ExitStatus::no_world,
        fmt::format(
            "the cluster is not ready and nothing was touched; ferry doctor {} --cluster {} "
            "shows all of it",
            scenario_file, cluster.file)));
  }
  if (auto agreed = confirm_use(option, cluster, announcement({undertaking}, cluster, 1));
      !agreed) {
    return tl::unexpected(agreed.error());
  }
  return real;
}

std::string failures_text(const ClusterDiagnosis& diagnosis) {
  std::string text;
  for (const ClusterFinding& finding : diagnosis.findings) {
    if (finding.level != ClusterFinding::Level::failed) continue;
    text += fmt::format("{}{}: {}{}{}", text.empty() ? "" : "\n", finding.subject, finding.text,
                        finding.fix.empty() ? "" : "; ", finding.fix);
  }
  return text;
}

}  // namespace ferry
