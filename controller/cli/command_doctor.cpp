#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "controller/cli/cluster_use.hpp"
#include "controller/cli/commands.hpp"
#include "controller/cli/counted.hpp"
#include "controller/cli/host_reports.hpp"
#include "controller/cli/text_table.hpp"
#include "core/scenario/cluster_fit.hpp"

namespace ferry {
namespace {

using Level = ClusterFinding::Level;

struct Options {
  std::string scenario;
  std::string cluster;
  SettingOptions settings;
  std::string host_reports;
  HostReportOptions hosts;
};

std::string_view to_word(Level level) {
  switch (level) {
    case Level::ok: return "ok";
    case Level::warning: return "warning";
    case Level::failed: return "failed";
  }
  return "?";
}

/// What the files alone tell.
std::vector<ClusterFinding> local_findings(const Options& options, const LoadedCluster& cluster,
                                           const std::optional<LoadedScenario>& scenario,
                                           const std::optional<Undertaking>& undertaking,
                                           const std::string& plan_error) {
  std::size_t functions = 0;
  for (const ClusterHost& host : cluster.cluster.hosts) functions += host.function_count();
  std::vector<ClusterFinding> findings = {
      {Level::ok, "cluster file",
       fmt::format("{}, {}, {}", counted(cluster.cluster.hosts.size(), "host"),
                   counted(cluster.cluster.vms.size(), "VM"),
                   counted(functions, "virtual function")),
       ""}};
  if (!scenario) return findings;
  if (!undertaking) {
    findings.push_back(
        {Level::failed, "scenario", plan_error, "a scenario that has a plan; ferry plan shows it"});
    return findings;
  }
  const Diagnostics misfits =
      check_fit(options.scenario, scenario->scenario, undertaking->instance, cluster);
  for (const Diagnostic& misfit : misfits) {
    const std::size_t semicolon = std::min(misfit.message.rfind("; "), misfit.message.size());
    findings.push_back(
        {Level::failed, "scenario fits",
         fmt::format("{}:{}: {}: {}", misfit.file, misfit.line, misfit.path,
                     misfit.message.substr(0, semicolon)),
         semicolon < misfit.message.size() ? misfit.message.substr(semicolon + 2) : ""});
  }
  if (misfits.empty()) {
    findings.push_back({Level::ok, "scenario fits",
                        fmt::format("{}, {}", counted(undertaking->instance.vms.size(), "VM"),
                                    counted(undertaking->plan.moves.size(), "move")),
                        ""});
  }
  return findings;
}

std::string findings_text(const std::vector<ClusterFinding>& findings) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::size_t> counts(3, 0);
  std::string fixes;
  for (const ClusterFinding& finding : findings) {
    ++counts[static_cast<std::size_t>(finding.level)];
    rows.push_back({finding.subject, std::string(to_word(finding.level)), finding.text});
    if (finding.level == Level::ok || finding.fix.empty()) continue;
    const std::string line = fmt::format("{}: {}\n", finding.subject, finding.fix);
    if (fixes.find(line) == std::string::npos) fixes += line;
  }
  std::string text = text_table({{"check"}, {"result"}, {"what was found"}}, rows, 120);
  if (!fixes.empty()) text += "\nto put it right:\n" + fixes;
  return text + fmt::format("\n{} ok, {} warning{}, {} failed\n", counts[0], counts[1],
                            counts[1] == 1 ? "" : "s", counts[2]);
}

ExitStatus examine(Options& options) {
  const auto settings = options.settings.settings();
  if (!settings) return report_error(ExitStatus::bad_input, settings.error());
  const auto cluster = load_cluster(options.cluster);
  std::optional<LoadedScenario> scenario;
  bool readable = cluster.has_value();
  if (!options.host_reports.empty() && !std::filesystem::is_directory(options.host_reports)) {
    return report_error(ExitStatus::bad_input,
                        fmt::format("--host-reports {}: is no folder", options.host_reports));
  }
  options.hosts.folder = options.host_reports;
  std::error_code unknown;
  options.hosts.beside = std::filesystem::read_symlink("/proc/self/exe", unknown).parent_path();
  if (!cluster) report_bad_input(cluster.error());
  if (!options.scenario.empty()) {
    auto loaded = load_scenario(options.scenario, *settings);
    if (loaded) {
      scenario = std::move(*loaded);
    } else {
      report_bad_input(loaded.error());
      readable = false;
    }
  }
  if (!readable) return ExitStatus::bad_input;
  std::optional<Undertaking> undertaking;
  std::string plan_error;
  if (scenario) {
    Instance instance = expand(scenario->scenario);
    auto plan = make_plan(scenario->scenario, instance);
    if (plan) {
      undertaking = Undertaking{std::move(instance), std::move(*plan)};
    } else {
      plan_error = plan.error();
    }
  }
  ClusterDiagnosis all;
  all.findings = local_findings(options, *cluster, scenario, undertaking, plan_error);
  HostReports reports = gather_host_reports(cluster->cluster, options.hosts);
  const auto of_hosts = judge_host_reports(cluster->cluster, reports.by_host);
  all.findings.insert(all.findings.end(), reports.findings.begin(), reports.findings.end());
  all.findings.insert(all.findings.end(), of_hosts.begin(), of_hosts.end());
  if (const auto there = libvirt_is_there(); !there) {
    std::fputs(findings_text(all.findings).c_str(), stdout);
    std::fflush(stdout);
    return report_error(ExitStatus::no_world, there.error());
  }
  ClusterDiagnosis found =
      diagnose_cluster(cluster->cluster, undertaking ? &undertaking->instance : nullptr, true);
  all.findings.insert(all.findings.end(), found.findings.begin(), found.findings.end());
  std::fputs(findings_text(all.findings).c_str(), stdout);
  return all.failed() ? ExitStatus::failed : ExitStatus::done;
}

}  // namespace

void add_doctor(CLI::App& program, Invocation& invocation) {
  CLI::App* command = program.add_subcommand(
      "doctor", "Look whether a cluster is ready for migrations; nothing is touched");
  auto options = std::make_shared<Options>();
  command
      ->add_option("scenario", options->scenario,
                   "A scenario that should run there; its domains are held against it")
      ->type_name("SCENARIO");
  command->add_option("--cluster", options->cluster, "The cluster file")
      ->type_name("FILE")
      ->required();
  options->settings.add_to(*command);
  command
      ->add_option("--host-reports", options->host_reports,
                   "A folder with HOST.json of hosts, made by ferry-host report --json (default: "
                   "hosts that libvirt reaches by ssh, and this one, are asked for it)")
      ->type_name("DIR");
  command
      ->add_option("--ferry-host", options->hosts.program,
                   "Where the optional ferry-host is on the hosts (default: in the PATH)")
      ->type_name("PROGRAM");
  command->footer(
      "Exit status 1 if a check failed, 3 if this build has no libvirt backend; warnings are no "
      "failure.\n"
      "Examples:\n"
      "  ferry doctor --cluster our-cluster.yaml\n"
      "  ferry doctor sixteen-vms.yaml --cluster our-cluster.yaml\n"
      "  ferry doctor --cluster our-cluster.yaml --host-reports reports");
  command->callback([options, &invocation] {
    invocation.action = [options] { return static_cast<int>(examine(*options)); };
  });
}

}  // namespace ferry
