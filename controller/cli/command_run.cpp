#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "controller/cli/cluster_use.hpp"
#include "controller/cli/commands.hpp"
#include "controller/cli/interruption.hpp"
#include "controller/cli/progress.hpp"
#include "controller/cli/run_output.hpp"
#include "core/record/journal_file.hpp"

namespace ferry {
namespace {

struct RunArguments {
  std::string scenario;
  WorldOption world;
  ClusterOption cluster;
  SettingOptions settings;
  std::string out;
  bool quiet = false;
};

ExitStatus run(const RunArguments& options, const std::vector<std::string>& arguments) {
  const std::int64_t began = real_nanoseconds();
  if (const auto good = options.world.check_speed(); !good) return good.error();
  const auto settings = options.settings.settings();
  if (!settings) return report_error(ExitStatus::bad_input, settings.error());
  const auto loaded = load_scenario(options.scenario, *settings);
  if (!loaded) return report_bad_input(loaded.error());
  const auto cluster = options.cluster.load(options.world.name);
  if (!cluster) return cluster.error();
  std::optional<RealWorld> real;
  if (*cluster) {
    auto prepared = prepare_cluster(options.cluster, **cluster, options.scenario, *loaded);
    if (!prepared) return prepared.error();
    real = std::move(*prepared);
  }
  const auto world = options.world.world();
  if (!world) return world.error();
  RunInformation information = describe_process(arguments, *world, real ? &*real : nullptr);
  auto folder = make_run_folder(options.out, loaded->scenario.name);
  if (!folder) return report_error(ExitStatus::bad_input, folder.error());
  if (*world != WorldKind::sim) {
    auto written = write_before_run(*folder, *loaded, real ? &**cluster : nullptr, information);
    if (!written) return report_error(ExitStatus::bad_input, written.error());
  }

  const InterruptionHandler handler;
  RunOptions run_options;
  run_options.world = *world;
  run_options.speed = options.world.speed();
  run_options.interruption = InterruptionHandler::level;
  if (real) {
    run_options.cluster = &**cluster;
    run_options.run_name = folder->folder().filename().string();
  }
  // A real world is changed step by step, so its journal must be on disk while it runs, where
  // others can see it; a simulated one ends with this process, and its journal is written with the
  // rest.
  std::optional<JournalFile> journal;
  std::optional<AppearingJournal> appearing;
  if (*world != WorldKind::sim) {
    journal.emplace(folder->partial() / "journal");
    appearing.emplace(*folder, *journal);
    run_options.journal = &*appearing;
  }
  tl::expected<std::unique_ptr<RunOutcome>, RunError> outcome;
  {
    ProgressDisplay display("migrations", options.quiet);
    run_options.on_progress = [&display](const SessionProgress& progress) {
      display.show(progress);
    };
    outcome = run_scenario_in_memory(*loaded, run_options);
  }
  const std::filesystem::path path = folder->folder();
  if (!outcome) {
    if (outcome.error().status == ExitStatus::bad_input) {
      return report_bad_plan(options.scenario, outcome.error().message);
    }
    const bool left = *world == WorldKind::hw && folder->appeared();
    return report_error(outcome.error().status,
                        outcome.error().message +
                            (left ? fmt::format("; {0} has the journal, and ferry resume {0} goes "
                                                "on from there",
                                                path.string())
                                  : ""));
  }
  if (auto written =
          write_run(std::move(*folder), *loaded, **outcome, std::move(information), began);
      !written) {
    return report_error(ExitStatus::no_world, written.error());
  }
  fmt::print("{}folder: {}\n", run_report(*loaded, **outcome, *world), path.string());
  if ((*outcome)->interrupted) return ExitStatus::interrupted;
  return (*outcome)->verdict.all_well() ? ExitStatus::done : ExitStatus::failed;
}

}  // namespace

void add_run(CLI::App& program, Invocation& invocation) {
  CLI::App* command =
      program.add_subcommand("run", "Execute a scenario once and write its run folder");
  auto options = std::make_shared<RunArguments>();
  command->add_option("scenario", options->scenario, "A scenario file")
      ->type_name("SCENARIO")
      ->required();
  options->world.add_to(*command);
  options->cluster.add_to(*command);
  options->settings.add_to(*command);
  command->add_option("--out", options->out, "The run folder (default: runs/NAME-NNN)")
      ->type_name("DIR");
  command->add_flag("--quiet", options->quiet, "No progress");
  command->footer(
      "Exit status 1 if a migration did not complete, 130 after Ctrl-C: once, and nothing new is "
      "started; twice, and what runs is rolled back.\n"
      "--on hw migrates real machines, which stay where the scenario takes them; before that the "
      "domains are held against the scenario, and the first use of a cluster is asked for.\n"
      "Examples:\n"
      "  ferry run sixteen-vms.yaml\n"
      "  ferry run sixteen-vms.yaml --set migrations.leave.transport=tcp --out runs/tcp\n"
      "  ferry run sixteen-vms.yaml --on threads --speed 10\n"
      "  ferry run sixteen-vms.yaml --on hw --cluster our-cluster.yaml");
  command->callback([options, &invocation] {
    invocation.action = [options, &invocation] {
      return static_cast<int>(run(*options, invocation.arguments));
    };
  });
}

}  // namespace ferry
