#include <CLI/CLI.hpp>

#include "controller/cli/analysis.hpp"
#include "controller/cli/commands.hpp"

namespace ferry {

void add_plot(CLI::App& program, Invocation& invocation) {
  struct Options {
    std::string path;
    std::string kind;
    std::string out;
    bool data = false;
  };
  CLI::App* command = program.add_subcommand("plot", "Draw a run or a study (PNG and SVG)");
  auto options = std::make_shared<Options>();
  command->add_option("path", options->path, "A run folder or a study folder")
      ->type_name("RUN|STUDY")
      ->required();
  command
      ->add_option("--kind", options->kind,
                   "breakdown, multi_vm, timeline or downtime_cdf, or several with commas between; "
                   "default: what the study lists under plots, or what fits")
      ->type_name("K");
  command->add_flag("--data", options->data, "Also write what is drawn as CSV");
  command->add_option("--out", options->out, "Where to write (default: plots in the folder)")
      ->type_name("DIR");
  command->footer(
      "Examples:\n"
      "  ferry plot runs/sixteen-vms-001 --kind timeline\n"
      "  ferry plot runs/multi-vm-001 --data");
  command->callback([options, &invocation] {
    invocation.action = [options] {
      std::vector<std::string> arguments = {"plot", options->path};
      if (!options->kind.empty()) arguments.insert(arguments.end(), {"--kind", options->kind});
      if (options->data) arguments.emplace_back("--data");
      if (!options->out.empty()) arguments.insert(arguments.end(), {"--out", options->out});
      return run_analysis_command(arguments);
    };
  });
}

}  // namespace ferry
