#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "controller/cli/commands.hpp"
#include "controller/cli/past_run.hpp"

namespace ferry {

void add_status(CLI::App& program, Invocation& invocation) {
  struct Options {
    std::string run;
    bool json = false;
  };
  CLI::App* command = program.add_subcommand(
      "status", "Where a run stands that is at work, finished, or left by a crash");
  auto options = std::make_shared<Options>();
  command->add_option("run", options->run, "A run folder")->type_name("RUN")->required();
  command->add_flag("--json", options->json, "JSON instead of a table");
  command->footer(
      "Reads the run folder alone: its journal has every step before it is taken. `on` is the host "
      "that the journal has the VM on.\n"
      "Example:\n"
      "  ferry status runs/sixteen-vms-001");
  command->callback([options, &invocation] {
    invocation.action = [options] {
      const auto run = load_past_run(options->run);
      if (!run) return static_cast<int>(report_error(ExitStatus::bad_input, run.error()));
      fmt::print("{}", options->json ? status_json(**run) : status_text(**run));
      return static_cast<int>(ExitStatus::done);
    };
  });
}

}  // namespace ferry
