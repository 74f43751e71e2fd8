#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <stdexcept>

#include "controller/cli/cluster_use.hpp"
#include "controller/cli/commands.hpp"
#include "controller/cli/interruption.hpp"
#include "controller/cli/past_run.hpp"
#include "controller/cli/progress.hpp"
#include "controller/cli/run_output.hpp"
#include "core/record/journal_file.hpp"

namespace ferry {
namespace {

struct ResumeArguments {
  std::string run;
  bool settle = false;
  bool quiet = false;
};

/// Why there is nothing that could be resumed; nothing if there is.
std::optional<ExitStatus> refuse(const PastRun& run) {
  const std::string folder = run.folder.string();
  if (run.writer) {
    return report_error(
        ExitStatus::bad_input,
        fmt::format(
            "{0}: a controller{1} is at work on it; ferry status {0} shows where it stands, "
            "ferry cancel {0} stops it",
            folder, *run.writer > 0 ? fmt::format(" (process {})", *run.writer) : ""));
  }
  if (run.world != "hw") {
    return report_error(
        ExitStatus::no_world,
        fmt::format("{}: its world was {} and ended with the process that ran it, so there is "
                    "nothing to resume; ferry run would be right",
                    folder, run.world == "sim" ? "simulated" : "a rehearsal on threads"));
  }
  if (!has_work_left(run)) {
    fmt::print("{}", status_text(run));
    fmt::print("nothing is left to do\n");
    return ExitStatus::done;
  }
  if (!run.cluster) {
    return report_error(
        ExitStatus::bad_input,
        fmt::format("{}: has no cluster.yaml, which says where its domains are", folder));
  }
  if (const auto there = libvirt_is_there(); !there) {
    return report_error(ExitStatus::no_world, there.error());
  }
  return std::nullopt;
}

ExitStatus resume(const ResumeArguments& options, const std::vector<std::string>& arguments) {
  const std::int64_t began = real_nanoseconds();
  auto read = load_past_run(options.run);
  if (!read) return report_error(ExitStatus::bad_input, read.error());
  if (const auto refused = refuse(**read)) return *refused;

  // From here on this process is the controller. What was read before the lock is read again.
  std::optional<JournalFile> journal;
  try {
    journal.emplace((*read)->journal());
  } catch (const std::runtime_error& error) {
    return report_error(ExitStatus::bad_input, error.what());
  }
  read = load_past_run(options.run, &*journal);
  if (!read) return report_error(ExitStatus::bad_input, read.error());
  const PastRun& run = **read;
  RunInformation information = describe_process(run.command, WorldKind::hw);
  information.resumed = {arguments, information.started_at};
  information.started_at = run.started_at;
  information.cluster = run.cluster->file;
  NewFolder folder = NewFolder::of_existing(run.folder);
  if (auto written = write_before_run(folder, run.loaded, &*run.cluster, information); !written) {
    return report_error(ExitStatus::bad_input, written.error());
  }

  const InterruptionHandler handler;
  RunOptions run_options;
  run_options.world = WorldKind::hw;
  run_options.cluster = &*run.cluster;
  run_options.run_name = run.folder.filename().string();
  run_options.interruption = InterruptionHandler::level;
  run_options.journal = &*journal;
  run_options.history = &run.history;
  run_options.settle_only = options.settle;
  tl::expected<std::unique_ptr<RunOutcome>, RunError> outcome;
  {
    ProgressDisplay display("migrations", options.quiet);
    run_options.on_progress = [&display](const SessionProgress& progress) {
      display.show(progress);
    };
    outcome = run_scenario_in_memory(run.loaded, run_options);
  }
  if (!outcome) return report_error(outcome.error().status, outcome.error().message);
  if (!(*outcome)->unsettled.empty()) {
    for (const std::string& vm : (*outcome)->unsettled) fmt::print(stderr, "{}\n", vm);
    return report_error(ExitStatus::no_world,
                        fmt::format("not every VM could be brought to rest; what was done is in "
                                    "the journal, and ferry resume {} goes on from there",
                                    run.folder.string()));
  }
  if (auto written =
          write_run(std::move(folder), run.loaded, **outcome, std::move(information), began);
      !written) {
    return report_error(ExitStatus::no_world, written.error());
  }
  fmt::print("{}folder: {}\n", run_report(run.loaded, **outcome, WorldKind::hw),
             run.folder.string());
  if ((*outcome)->interrupted) return ExitStatus::interrupted;
  return (*outcome)->verdict.all_well() ? ExitStatus::done : ExitStatus::failed;
}

}  // namespace

void add_resume(CLI::App& program, Invocation& invocation) {
  CLI::App* command = program.add_subcommand(
      "resume", "Finish or roll back what a run left under way, and go on with it");
  auto options = std::make_shared<ResumeArguments>();
  command->add_option("run", options->run, "The folder of a run --on hw")
      ->type_name("RUN")
      ->required();
  command->add_flag("--settle", options->settle,
                    "Only bring to rest what was under way; begin nothing");
  command->add_flag("--quiet", options->quiet, "No progress");
  command->footer(
      "For a run whose controller went down or was interrupted. Each VM that was under way goes "
      "forward if its memory has arrived, else back; its jobs are reactivated; then the moves that "
      "have not been made follow. Exit status as of ferry run; 3 if a VM could not be brought to "
      "rest.\n"
      "Examples:\n"
      "  ferry resume runs/sixteen-vms-001\n"
      "  ferry resume runs/sixteen-vms-001 --settle");
  command->callback([options, &invocation] {
    invocation.action = [options, &invocation] {
      return static_cast<int>(resume(*options, invocation.arguments));
    };
  });
}

}  // namespace ferry
