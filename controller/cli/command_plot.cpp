#include <CLI/CLI.hpp>

#include "controller/cli/analysis.hpp"
#include "controller/cli/commands.hpp"

namespace ferry {

void add_plot(CLI::App& program, Invocation& invocation) {
  struct Options {
    std::string path;
    std::string kind;
    std::string out;
    std::string x;
    std::string y;
    std::string by;
    bool data = false;
  };
  CLI::App* command = program.add_subcommand(
      "plot", "Draw a run or a study (PNG and SVG), or write a page about it");
  auto options = std::make_shared<Options>();
  command->add_option("path", options->path, "A run folder or a study folder")
      ->type_name("RUN|STUDY")
      ->required();
  command
      ->add_option(
          "--kind", options->kind,
          "breakdown, multi_vm, timeline, downtime_cdf, links, latency, overlap, application, "
          "curve, sensitivity, or report (one HTML page), or several with commas between; default: "
          "what the study lists under plots, or what fits")
      ->type_name("K");
  command->add_option("--x", options->x, "curve: the path on the x axis")->type_name("PATH");
  command->add_option("--y", options->y, "curve: the metric, a column of cells.csv")
      ->type_name("METRIC");
  command
      ->add_option("--by", options->by,
                   "curve: the path with a line for each value; the rest has panels")
      ->type_name("PATH");
  command->add_flag("--data", options->data, "Also write what is drawn as CSV");
  command->add_option("--out", options->out, "Where to write (default: plots in the folder)")
      ->type_name("DIR");
  command->footer(
      "breakdown: the seven phases. multi_vm: makespan by number of VMs. timeline: phases of each "
      "VM over time. downtime_cdf: how long VMs pause. links: how full the links were. latency: "
      "what OSU benchmarks measured by message size, and the time that migrations exposed. "
      "overlap: "
      "how much of a migration computation hides. application: run times, and what migrations add "
      "to them by strategy. curve: a metric over a path of numbers, with 95 % confidence intervals "
      "of the mean over repetitions "
      "(Student's t). sensitivity: the claims with each assumed constant halved and doubled. "
      "report: a page with all that fits, and provenance, slowest VMs, failures, commands.\n"
      "Examples:\n"
      "  ferry plot runs/sixteen-vms-001 --kind timeline\n"
      "  ferry plot runs/multi-vm-001 --data\n"
      "  ferry plot runs/convergence-001 --kind curve --x dirty_rate --y downtime_max_seconds\n"
      "  ferry plot runs/evacuate-1000-001 --kind report");
  command->callback([options, &invocation] {
    invocation.action = [options] {
      std::vector<std::string> arguments = {"plot", options->path};
      if (!options->kind.empty()) arguments.insert(arguments.end(), {"--kind", options->kind});
      if (options->data) arguments.emplace_back("--data");
      if (!options->x.empty()) arguments.insert(arguments.end(), {"--x", options->x});
      if (!options->y.empty()) arguments.insert(arguments.end(), {"--y", options->y});
      if (!options->by.empty()) arguments.insert(arguments.end(), {"--by", options->by});
      if (!options->out.empty()) arguments.insert(arguments.end(), {"--out", options->out});
      return run_analysis_command(arguments);
    };
  });
}

}  // namespace ferry
