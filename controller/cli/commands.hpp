// The commands of `ferry`, one file each. Each adds itself to the program and, if it is chosen,
// leaves what is to be done in the invocation.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "controller/cli/exit_status.hpp"
#include "controller/cli/run_scenario.hpp"
#include "core/scenario/document.hpp"

namespace CLI {
class App;
}

namespace ferry {

struct Invocation {
  std::vector<std::string> arguments;  ///< of the process, its name first
  std::function<int()> action;         ///< of the chosen command; gives the exit status
};

void add_check(CLI::App& program, Invocation& invocation);
void add_plan(CLI::App& program, Invocation& invocation);
void add_explain(CLI::App& program, Invocation& invocation);
void add_run(CLI::App& program, Invocation& invocation);
void add_resume(CLI::App& program, Invocation& invocation);
void add_status(CLI::App& program, Invocation& invocation);
void add_cancel(CLI::App& program, Invocation& invocation);
void add_sweep(CLI::App& program, Invocation& invocation);
void add_compare(CLI::App& program, Invocation& invocation);
void add_calibrate(CLI::App& program, Invocation& invocation);
void add_plot(CLI::App& program, Invocation& invocation);
void add_schema(CLI::App& program, Invocation& invocation);
void add_doctor(CLI::App& program, Invocation& invocation);

/// `--set` and `--seed` of a command.
struct SettingOptions {
  std::vector<std::string> texts;  ///< PATH=VALUE
  std::optional<std::uint64_t> seed;

  void add_to(CLI::App& command);
  /// The settings; the seed last. Error: a sentence about the first text that is not PATH=VALUE.
  [[nodiscard]] tl::expected<std::vector<Setting>, std::string> settings() const;
};

/// `--on` and `--speed` of a command.
struct WorldOption {
  std::string name = "sim";
  std::optional<double> speed_option;

  void add_to(CLI::App& command);
  [[nodiscard]] double speed() const { return speed_option.value_or(1.0); }
  /// The exit status after saying that a speed is given to a world that has none.
  [[nodiscard]] tl::expected<void, ExitStatus> check_speed() const;
  /// The world, or the exit status after saying why it is not there.
  [[nodiscard]] tl::expected<WorldKind, ExitStatus> world() const;
};

}  // namespace ferry
