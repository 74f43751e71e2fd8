#include "controller/cli/analysis.hpp"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

namespace ferry {
namespace {

constexpr const char* default_python = "/usr/bin/python3";
/// Finds modules without importing them, which would take a second.
constexpr const char* missing_modules =
    "import importlib.util as u, sys\n"
    "missing = [m for m in ('matplotlib', 'pandas', 'numpy', 'yaml') if not u.find_spec(m)]\n"
    "sys.exit(0 if not missing else 'missing: ' + ', '.join(missing))\n";
constexpr int cannot_start = 127;

/// Runs a program and waits; its exit status, or 128 + signal.
tl::expected<int, std::string> run_program(
    const std::vector<std::string>& arguments,
    const std::vector<std::pair<std::string, std::string>>& environment) {
  std::vector<char*> pointers;
  pointers.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) {
    pointers.push_back(const_cast<char*>(argument.c_str()));  // NOLINT: execv does not write
  }
  pointers.push_back(nullptr);
  std::fflush(nullptr);
  const pid_t process = ::fork();
  if (process < 0) return tl::unexpected(fmt::format("no process: {}", std::strerror(errno)));
  if (process == 0) {
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
    for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
    ::execv(pointers[0], pointers.data());
    ::_exit(cannot_start);
  }
  int status = 0;
  while (::waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool holds_package(const std::filesystem::path& folder) {
  std::error_code error;
  return std::filesystem::exists(folder / "ferry_analysis" / "__main__.py", error);
}

}  // namespace

tl::expected<std::filesystem::path, std::string> find_analysis() {
  if (const char* given = std::getenv("FERRY_ANALYSIS"); given != nullptr && *given != '\0') {
    if (holds_package(given)) return std::filesystem::path(given);
    return tl::unexpected(fmt::format(
        "FERRY_ANALYSIS={}: no folder ferry_analysis in it; the folder above it would be right",
        given));
  }
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) {
    const std::filesystem::path installed =
        program.parent_path().parent_path() / "share" / "ferry" / "analysis";
    if (holds_package(installed)) return installed;
    for (std::filesystem::path folder = program.parent_path(); folder.has_relative_path();
         folder = folder.parent_path()) {
      if (holds_package(folder / "analysis")) return folder / "analysis";
    }
  }
  if (holds_package(FERRY_SOURCE_ANALYSIS)) return std::filesystem::path(FERRY_SOURCE_ANALYSIS);
  return tl::unexpected(std::string(
      "the Python package ferry_analysis is not beside this program; set FERRY_ANALYSIS "
      "to the folder that holds it"));
}

tl::expected<int, std::string> run_analysis(const std::vector<std::string>& arguments) {
  const auto folder = find_analysis();
  if (!folder) return tl::unexpected(folder.error());
  const char* given = std::getenv("FERRY_PYTHON");
  const std::string python = given != nullptr && *given != '\0' ? given : default_python;
  if (::access(python.c_str(), X_OK) != 0) {
    return tl::unexpected(fmt::format(
        "{} is not there, and plots and comparisons need it (Debian: python3, python3-matplotlib, "
        "python3-pandas, python3-yaml)",
        python));
  }
  const auto complete = run_program({python, "-c", missing_modules}, {});
  if (!complete) return tl::unexpected(complete.error());
  if (*complete != 0) {
    return tl::unexpected(fmt::format(
        "{} lacks libraries that plots and comparisons need (Debian: python3-matplotlib, "
        "python3-pandas, python3-yaml)",
        python));
  }
  std::string path = folder->string();
  if (const char* more = std::getenv("PYTHONPATH"); more != nullptr && *more != '\0') {
    path += fmt::format(":{}", more);
  }
  std::vector<std::string> command = {python, "-m", "ferry_analysis"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return run_program(command, {{"PYTHONPATH", path}, {"PYTHONDONTWRITEBYTECODE", "1"}});
}

int run_analysis_command(const std::vector<std::string>& arguments) {
  const auto status = run_analysis(arguments);
  if (status) return *status;
  fmt::print(stderr, "ferry: {}\n", status.error());
  return static_cast<int>(ExitStatus::no_world);
}

}  // namespace ferry
