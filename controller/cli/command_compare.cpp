#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "controller/cli/analysis.hpp"
#include "controller/cli/commands.hpp"
#include "core/units/units.hpp"

namespace ferry {

void add_compare(CLI::App& program, Invocation& invocation) {
  struct Options {
    std::vector<std::string> first;
    std::vector<std::string> second;
    std::string tolerance;
    bool plot = false;
  };
  CLI::App* command = program.add_subcommand("compare", "Compare runs or studies phase by phase");
  auto options = std::make_shared<Options>();
  command->add_option("a", options->first, "Runs or studies of the first side")
      ->type_name("A")
      ->required();
  command->add_option("--with", options->second, "Runs or studies of the second side")
      ->type_name("B")
      ->required();
  command
      ->add_option("--tolerance", options->tolerance,
                   "How far the medians of B may be from those of A (default: 5%)")
      ->type_name("PERCENT");
  command->add_flag("--plot", options->plot, "Draw the comparison as well");
  command->footer(
      "The scenarios must be equal, platform and cluster file apart; what differs is listed. "
      "Several "
      "runs of a side, and the repetitions of a study, are pooled.\n"
      "Exit status 1 if a difference is beyond the tolerance.\n"
      "Example:\n"
      "  ferry compare runs/one-vm-001 runs/one-vm-002 --with runs/one-vm-003 --tolerance 10%");
  command->callback([options, &invocation] {
    invocation.action = [options] {
      const std::string& tolerance = options->tolerance;
      if (!tolerance.empty() && !(tolerance.back() == '%' && parse_ratio(tolerance))) {
        const auto message = fmt::format(
            "--tolerance {}: is not a percentage that is zero or more; 5% would be right",
            tolerance);
        return static_cast<int>(report_error(ExitStatus::bad_input, message));
      }
      std::vector<std::string> arguments = {"compare"};
      arguments.insert(arguments.end(), options->first.begin(), options->first.end());
      arguments.emplace_back("--with");
      arguments.insert(arguments.end(), options->second.begin(), options->second.end());
      if (!tolerance.empty()) arguments.insert(arguments.end(), {"--tolerance", tolerance});
      if (options->plot) arguments.emplace_back("--plot");
      return run_analysis_command(arguments);
    };
  });
}

}  // namespace ferry
