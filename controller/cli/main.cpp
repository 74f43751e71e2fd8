// The command line.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>

#include "controller/cli/commands.hpp"
#include "controller/cli/worlds.hpp"
#include "core/scenario/report.hpp"

namespace {

std::string version() {
  std::string worlds = "threads";
  if (ferry::simulation_is_built_in) {
    worlds = fmt::format("sim (SimGrid {}), threads", ferry::simulation_engine_version);
  }
  if (ferry::libvirt_is_built_in)
    worlds += fmt::format(", hw (libvirt {})", ferry::libvirt_version());
  return fmt::format("ferry {}\nworlds: {}", FERRY_VERSION, worlds);
}

/// A word that is no command: says which one may be meant.
bool refuse_unknown_command(const CLI::App& program, const std::vector<std::string>& arguments) {
  if (arguments.size() < 2 || arguments[1].empty() || arguments[1].front() == '-') return false;
  std::vector<std::string> names;
  for (const CLI::App* command : program.get_subcommands({})) names.push_back(command->get_name());
  if (std::find(names.begin(), names.end(), arguments[1]) != names.end()) return false;
  const std::vector<std::string_view> words(names.begin(), names.end());
  const std::string_view near = ferry::nearest(arguments[1], words);
  fmt::print(stderr, "ferry: {} is not a command; {}\n", arguments[1],
             near.empty() ? fmt::format("one of {} would be right", ferry::listed(words))
                          : fmt::format("did you mean {}?", near));
  return true;
}

int run(const std::vector<std::string>& arguments) {
  CLI::App program(
      "Studies and carries out the live migration of virtual machines that run MPI jobs over "
      "SR-IOV "
      "InfiniBand.");
  program.name("ferry");
  program.set_version_flag("--version", version());
  program.require_subcommand(1);
  program.get_formatter()->column_width(34);
  program.footer(
      "Exit status: 0 done; 1 ran, and a migration failed, a claim was missed or runs differ; 2 "
      "bad input;\n"
      "3 the world is not available or broke; 130 interrupted.\n"
      "Examples:\n"
      "  ferry check sixteen-vms.yaml\n"
      "  ferry run sixteen-vms.yaml\n"
      "  ferry sweep multi-vm.yaml\n"
      "  ferry plot runs/multi-vm-001");
  ferry::Invocation invocation;
  invocation.arguments = arguments;
  ferry::add_check(program, invocation);
  ferry::add_plan(program, invocation);
  ferry::add_explain(program, invocation);
  ferry::add_run(program, invocation);
  ferry::add_resume(program, invocation);
  ferry::add_status(program, invocation);
  ferry::add_cancel(program, invocation);
  ferry::add_sweep(program, invocation);
  ferry::add_compare(program, invocation);
  ferry::add_calibrate(program, invocation);
  ferry::add_plot(program, invocation);
  ferry::add_doctor(program, invocation);
  ferry::add_schema(program, invocation);

  if (refuse_unknown_command(program, arguments)) {
    return static_cast<int>(ferry::ExitStatus::bad_input);
  }
  try {
    // CLI11 takes the arguments without the program's name, last one first.
    std::vector<std::string> rest(arguments.rbegin(), arguments.rend() - 1);
    program.parse(rest);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help, --version
      program.exit(error);
      return 0;
    }
    fmt::print(stderr, "ferry: {}; --help shows what is right\n", error.what());
    return static_cast<int>(ferry::ExitStatus::bad_input);
  }
  return invocation.action();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const int status = run({argv, argv + argc});
    if (std::fflush(stdout) != 0) {
      fmt::print(stderr, "ferry: standard output cannot be written\n");
      return static_cast<int>(ferry::ExitStatus::no_world);
    }
    return status;
  } catch (const std::exception& error) {
    fmt::print(stderr, "ferry: {}\n", error.what());
    return static_cast<int>(ferry::ExitStatus::no_world);
  }
}
