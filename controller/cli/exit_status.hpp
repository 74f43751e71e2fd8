// What the program's exit status means, and saying why.
#pragma once

#include <string>

#include "core/scenario/document.hpp"

namespace ferry {

enum class ExitStatus : int {
  done = 0,
  failed = 1,     ///< it ran, and a migration failed, a claim was missed or runs differ
  bad_input = 2,  ///< a file, an argument or a place to write to is not right; nothing was written
  no_world = 3,   ///< the world, or a program that is needed, is not available or broke
  interrupted = 130,  ///< by Ctrl-C; what ran is on disk
};

/// Says what is wrong on standard error: one line each.
ExitStatus report_bad_input(const Diagnostics& diagnostics);
/// A scenario that has no plan: "FILE: TEXT" on standard error.
ExitStatus report_bad_plan(const std::string& file, const std::string& text);
/// "ferry: TEXT" on standard error.
ExitStatus report_error(ExitStatus status, const std::string& text);

}  // namespace ferry
