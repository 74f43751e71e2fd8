#include "controller/cli/exit_status.hpp"

#include <fmt/format.h>

#include <cstdio>

namespace ferry {

ExitStatus report_bad_input(const Diagnostics& diagnostics) {
  for (const Diagnostic& diagnostic : diagnostics) fmt::print(stderr, "{}\n", diagnostic.text());
  return ExitStatus::bad_input;
}

ExitStatus report_bad_plan(const std::string& file, const std::string& text) {
  fmt::print(stderr, "{}: {}\n", file, text);
  return ExitStatus::bad_input;
}

ExitStatus report_error(ExitStatus status, const std::string& text) {
  fmt::print(stderr, "ferry: {}\n", text);
  return status;
}

}  // namespace ferry
