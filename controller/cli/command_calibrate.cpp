#include <CLI/CLI.hpp>
#include <filesystem>

#include "controller/cli/analysis.hpp"
#include "controller/cli/commands.hpp"

namespace ferry {

void add_calibrate(CLI::App& program, Invocation& invocation) {
  struct Options {
    std::vector<std::string> runs;
    std::string platform;
    std::string out;
  };
  CLI::App* command =
      program.add_subcommand("calibrate", "Fit a platform file's constants to runs");
  auto options = std::make_shared<Options>();
  command->add_option("runs", options->runs, "Run folders or study folders")
      ->type_name("RUN")
      ->required();
  command->add_option("--platform", options->platform, "The platform file to start from")
      ->type_name("IN.yaml")
      ->required();
  command->add_option("--out", options->out, "The platform file to write; it must not exist")
      ->type_name("OUT.yaml")
      ->required();
  command->footer(
      "Moves that ran alone determine each operation's cost, and, where they met MPI ranks, what\n"
      "those add (mpi: notice, drain_channel, open_device, reactivate); moves that overlapped\n"
      "determine the serial part of the control path, or, where the platform names processors,\n"
      "what the control path and a stream need of them. What no run determines is kept as it is.\n"
      "Moves by post-copy, with compression, several streams or device: vfio, and by rdma without\n"
      "pin_all, say nothing of streams, prepare and finish: it prints how many those are. Moves\n"
      "within a bandwidth limit say nothing of streams.\n"
      "Example:\n"
      "  ferry calibrate runs/lab-one-* --platform scenarios/platforms/lab-tcg.yaml \\\n"
      "      --out my-cluster.yaml");
  command->callback([options, &invocation] {
    invocation.action = [options] {
      // The fit simulates: with this very program.
      const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
      std::vector<std::string> arguments = {"calibrate"};
      arguments.insert(arguments.end(), options->runs.begin(), options->runs.end());
      arguments.insert(arguments.end(),
                       {"--platform", options->platform, "--out", options->out, "--ferry", self});
      return run_analysis_command(arguments);
    };
  });
}

}  // namespace ferry
