#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <thread>

#include "controller/cli/analysis.hpp"
#include "controller/cli/cluster_cells.hpp"
#include "controller/cli/commands.hpp"
#include "controller/cli/interruption.hpp"
#include "controller/cli/sweep.hpp"

namespace ferry {
namespace {

struct SweepArguments {
  std::string study;
  WorldOption world;
  ClusterOption cluster;
  std::optional<std::uint32_t> repeat;
  SettingOptions settings;
  std::string out;
  std::size_t jobs = std::max(1U, std::thread::hardware_concurrency());
  std::string cell_timeout = "1h";
  bool resume = false;
  bool list = false;
  bool no_sensitivity = false;
  bool no_plots = false;
  bool quiet = false;
};

void print_failures(const SweepOutcome& outcome) {
  constexpr std::size_t shown = 10;
  std::size_t count = 0;
  for (const CellResult& cell : outcome.cells) {
    if (cell.outcome == "completed" || count++ >= shown) continue;
    fmt::print("  {}: {}{}{}\n", cell.cell.name, cell.outcome, cell.reason.empty() ? "" : ": ",
               cell.reason);
  }
  if (count > shown) fmt::print("  and {} more, see cells.csv\n", count - shown);
}

void draw_plots(const LoadedStudy& study, const SweepOutcome& outcome) {
  if (study.study().plots.empty()) return;
  std::string kinds;
  for (const std::string& kind : study.study().plots) {
    kinds += (kinds.empty() ? "" : ",") + kind;
  }
  std::fflush(stdout);
  const auto status = run_analysis({"plot", outcome.folder.string(), "--kind", kinds});
  // The figures of the study are there without their pictures, so this is no failure of the sweep.
  if (!status) {
    fmt::print(stderr, "ferry: no plots: {}\n", status.error());
  } else if (*status != 0) {
    fmt::print(stderr, "ferry: some plots could not be drawn; ferry plot {} draws them again\n",
               outcome.folder.string());
  }
}

/// The same command with what makes it go on in the folder.
std::string command_to_resume(const std::vector<std::string>& arguments,
                              const std::filesystem::path& folder) {
  std::string text = "ferry";
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    if (arguments[i] == "--out") {
      ++i;  // its value
    } else if (arguments[i] != "--resume" && arguments[i].substr(0, 6) != "--out=") {
      text += " " + arguments[i];
    }
  }
  return text + " --resume --out " + folder.string();
}

/// Everything before the first change of a cluster; each cell holds its domains against its
/// scenario once more.
tl::expected<RealWorld, ExitStatus> prepare_sweep(const SweepArguments& options,
                                                  const LoadedStudy& study,
                                                  const LoadedCluster& cluster) {
  // What was left under way there makes the cluster unready, and has a remedy of its own.
  const auto folder = choose_folder(options.out, options.resume, study.study().name);
  if (const auto rest = check_left_behind(folder); options.resume && !rest) {
    return tl::unexpected(report_error(ExitStatus::bad_input, rest.error()));
  }
  const auto undertakings = undertakings_of(study, options.study, cluster);
  if (!undertakings) return tl::unexpected(report_bad_input(undertakings.error()));
  if (const auto there = libvirt_is_there(); !there) {
    return tl::unexpected(report_error(ExitStatus::no_world, there.error()));
  }
  RealWorld real{&cluster, diagnose_cluster(cluster.cluster, nullptr, false)};
  if (real.diagnosis.failed()) {
    fmt::print(stderr, "{}\n", failures_text(real.diagnosis));
    return tl::unexpected(
        report_error(ExitStatus::no_world, "the cluster is not ready and nothing was touched"));
  }
  const std::string text = announcement(*undertakings, cluster, study.cells().size());
  if (auto agreed = confirm_use(options.cluster, cluster, text); !agreed) {
    return tl::unexpected(agreed.error());
  }
  return real;
}

ExitStatus sweep(const SweepArguments& options, const std::vector<std::string>& arguments) {
  if (const auto good = options.world.check_speed(); !good) return good.error();
  const auto settings = options.settings.settings();
  if (!settings) return report_error(ExitStatus::bad_input, settings.error());
  const auto timeout = parse_duration(options.cell_timeout);
  if (!timeout || *timeout == Duration::zero()) {
    return report_error(
        ExitStatus::bad_input,
        fmt::format("--cell-timeout: {}",
                    timeout ? "0 leaves no time; 1h would be right" : timeout.error().message));
  }
  StudyOptions study_options;
  study_options.repeat = options.repeat;
  study_options.world_varies = options.world.name != "sim";
  const auto study = load_study(options.study, *settings, study_options);
  if (!study) return report_bad_input(study.error());
  if (options.list) {
    std::fputs(list_cells(*study).c_str(), stdout);
    return ExitStatus::done;
  }
  const auto cluster = options.cluster.load(options.world.name);
  if (!cluster) return cluster.error();
  std::optional<RealWorld> real;
  if (*cluster) {
    auto prepared = prepare_sweep(options, *study, **cluster);
    if (!prepared) return prepared.error();
    real = std::move(*prepared);
  }
  const auto world = options.world.world();
  if (!world) return world.error();

  SweepOptions sweep_options;
  sweep_options.file = options.study;
  sweep_options.world = *world;
  sweep_options.real = real ? &*real : nullptr;
  sweep_options.speed = options.world.speed();
  sweep_options.jobs = options.jobs;
  sweep_options.resume = options.resume;
  sweep_options.out = options.out;
  sweep_options.quiet = options.quiet;
  sweep_options.sensitivity = !options.no_sensitivity;
  sweep_options.cell_timeout = *timeout;
  sweep_options.command = arguments;
  tl::expected<SweepOutcome, RunError> outcome;
  {
    const InterruptionHandler handler;
    outcome = run_sweep(*study, sweep_options);
  }
  if (!outcome) return report_error(outcome.error().status, outcome.error().message);

  const std::size_t failed = outcome->failed_cells();
  fmt::print("{}: {} cells, {} failed{}\n", study->study().name, outcome->cells.size(), failed,
             outcome->kept > 0 ? fmt::format(", {} kept from before", outcome->kept) : "");
  print_failures(*outcome);
  if (!outcome->claims.empty()) {
    fmt::print("\n{}\n{} of {} claims hold\n", claims_report(outcome->claims),
               outcome->claims.size() - outcome->missed_claims(), outcome->claims.size());
  }
  fmt::print("folder: {}\n", outcome->folder.string());
  if (outcome->interrupted) {
    fmt::print("interrupted; go on with: {}\n", command_to_resume(arguments, outcome->folder));
    return ExitStatus::interrupted;
  }
  if (!options.no_plots) draw_plots(*study, *outcome);
  return failed > 0 || outcome->missed_claims() > 0 ? ExitStatus::failed : ExitStatus::done;
}

}  // namespace

void add_sweep(CLI::App& program, Invocation& invocation) {
  CLI::App* command = program.add_subcommand(
      "sweep", "Execute every cell of a study, judge its claims and draw its plots");
  auto options = std::make_shared<SweepArguments>();
  command
      ->add_option("study", options->study,
                   "A study file, or a scenario file: the study of its one cell")
      ->type_name("STUDY")
      ->required();
  options->world.add_to(*command);
  options->cluster.add_to(*command);
  command
      ->add_option("--repeat", options->repeat,
                   "How often each cell runs, instead of what the study says")
      ->type_name("N")
      ->check(CLI::Range(1, 10'000));
  options->settings.add_to(*command);
  command->add_option("--out", options->out, "The study's folder (default: runs/NAME-NNN)")
      ->type_name("DIR");
  command
      ->add_option("--jobs", options->jobs,
                   "Cells at once (default: the processors; --on hw: always 1)")
      ->type_name("N")
      ->check(CLI::Range(1, 1024));
  command
      ->add_option("--cell-timeout", options->cell_timeout,
                   "Real time after which a cell is given up (default 1h)")
      ->type_name("TIME");
  command->add_flag(
      "--resume", options->resume,
      "Go on in a sweep's folder (without --out: the newest): complete cells are kept");
  command->add_flag("--list", options->list, "List the cells and do nothing");
  command->add_flag(
      "--no-sensitivity", options->no_sensitivity,
      "Do not re-run the claims' cells with each assumed constant halved and doubled");
  command->add_flag("--no-plots", options->no_plots, "Do not draw the study's plots");
  command->add_flag("--quiet", options->quiet, "No progress");
  command->footer(
      "Exit status 1 if a cell failed or a claim was missed, 130 after Ctrl-C: once, and running "
      "cells finish; twice, and they are given up.\n"
      "--on hw runs the cells one after another; with `restore: back` in the cluster file every "
      "cell begins where its scenario starts, and the VMs end there.\n"
      "Examples:\n"
      "  ferry sweep multi-vm.yaml --list\n"
      "  ferry sweep multi-vm.yaml --jobs 8\n"
      "  ferry sweep multi-vm.yaml --resume --out runs/multi-vm-001\n"
      "  ferry sweep sixteen-vms.yaml --repeat 5 --on hw --cluster our-cluster.yaml");
  command->callback([options, &invocation] {
    invocation.action = [options, &invocation] {
      return static_cast<int>(sweep(*options, invocation.arguments));
    };
  });
}

}  // namespace ferry
