// The Python package that plots and compares.
#pragma once

#include <filesystem>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "controller/cli/exit_status.hpp"

namespace ferry {

/// Where the package is: the folder that holds `ferry_analysis`. Looked for in $FERRY_ANALYSIS,
/// else beside the program (PREFIX/share/ferry/analysis, or `analysis` of a source tree above it).
/// Error: a sentence.
tl::expected<std::filesystem::path, std::string> find_analysis();

/// Runs `python3 -m ferry_analysis ARGUMENTS...` (or $FERRY_PYTHON) with this process's outputs and
/// waits. The package's exit status; without Python or its libraries an error, a sentence.
tl::expected<int, std::string> run_analysis(const std::vector<std::string>& arguments);

/// The same as a command of the program: the error goes to standard error and becomes `no_world`.
int run_analysis_command(const std::vector<std::string>& arguments);

}  // namespace ferry
