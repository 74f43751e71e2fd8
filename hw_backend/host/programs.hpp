// Other programs, run for what they print.
#pragma once

#include <string>
#include <vector>

#include "core/units/units.hpp"

namespace ferry::host {

inline constexpr Duration program_patience = Duration::milliseconds(30'000);

struct Program {
  std::vector<std::string> words;  ///< the program, looked for in PATH unless it has a slash
  Duration patience;
};

struct ProgramResult {
  int status = -1;     ///< its exit status; -1: it was not started, was killed or took too long
  std::string output;  ///< 16 MiB at most
  std::string errors;  ///< what it said on standard error, or why it has no status
};

/// Blocks until it ends. It reads nothing, and is killed when its time is up or it says too much.
[[nodiscard]] ProgramResult run_program(const Program& program);
/// Several, of which up to 16 run at once; in their order.
[[nodiscard]] std::vector<ProgramResult> run_programs(const std::vector<Program>& programs);

}  // namespace ferry::host
