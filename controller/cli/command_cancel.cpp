#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>

#include "controller/cli/commands.hpp"
#include "controller/cli/interruption.hpp"
#include "controller/cli/past_run.hpp"
#include "core/record/journal_file.hpp"

namespace ferry {
namespace {

struct CancelArguments {
  std::string run;
  bool after_current = false;
};

/// A process by a descriptor, which another process of the same number cannot take.
class ProcessHandle {
 public:
  explicit ProcessHandle(pid_t pid)
      : descriptor_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U))) {}
  ~ProcessHandle() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  ProcessHandle(const ProcessHandle&) = delete;
  ProcessHandle& operator=(const ProcessHandle&) = delete;
  /// Whether it was sent; errno says why not.
  [[nodiscard]] bool signal(int number) const {
    return descriptor_ >= 0 &&
           ::syscall(SYS_pidfd_send_signal, descriptor_, number, nullptr, 0U) == 0;
  }

 private:
  int descriptor_;
};

ExitStatus cancel(const CancelArguments& options) {
  const auto run = load_past_run(options.run);
  if (!run) return report_error(ExitStatus::bad_input, run.error());
  const std::string folder = (*run)->folder.string();
  if (!(*run)->writer) {
    fmt::print("{}", status_text(**run));
    return report_error(
        ExitStatus::bad_input,
        has_work_left(**run) && (*run)->world == "hw"
            ? fmt::format("{}: no controller is at work on it; ferry resume {} --settle brings to "
                          "rest what one left",
                          folder, folder)
            : fmt::format("{}: no controller is at work on it", folder));
  }
  const int pid = *(*run)->writer;
  if (pid == 0) {
    return report_error(ExitStatus::bad_input,
                        fmt::format("{}: its controller is a process of another machine or "
                                    "container; ferry cancel would be right there",
                                    folder));
  }
  const ProcessHandle process(pid);
  if (journal_writer((*run)->journal()) == pid &&
      !process.signal(options.after_current ? SIGINT : SIGTERM) && errno != ESRCH) {
    return report_error(ExitStatus::no_world,
                        fmt::format("{}: its controller, process {}, cannot be told: {}", folder,
                                    pid, std::strerror(errno)));
  }
  fmt::print(stderr, "ferry: process {} was told to {}\n", pid,
             options.after_current ? "start nothing new" : "cancel what runs and roll back");
  const InterruptionHandler handler;  // Ctrl-C ends the wait, and nothing else
  if (!await_journal_writer((*run)->journal())) {
    return report_error(ExitStatus::interrupted,
                        fmt::format("{}: no longer waiting for process {}; ferry status {} shows "
                                    "where it stands",
                                    folder, pid, folder));
  }
  const auto ended = load_past_run(options.run);
  if (!ended) return report_error(ExitStatus::bad_input, ended.error());
  fmt::print("{}", status_text(**ended));
  const bool by_itself =
      !(*ended)->history.controllers.empty() && (*ended)->history.controllers.back().ended;
  if (by_itself) return ExitStatus::done;
  return report_error(ExitStatus::no_world,
                      fmt::format("{}: its controller ended without bringing all to rest", folder));
}

}  // namespace

void add_cancel(CLI::App& program, Invocation& invocation) {
  CLI::App* command =
      program.add_subcommand("cancel", "Stop a run that is at work at the next safe point");
  auto options = std::make_shared<CancelArguments>();
  command->add_option("run", options->run, "A run folder")->type_name("RUN")->required();
  command->add_flag(
      "--after-current", options->after_current,
      "Let moves that are under way finish; without it they are rolled back, if memory "
      "has not arrived");
  command->footer(
      "Waits until the controller has ended and shows how. As Ctrl-C twice in the controller's own "
      "terminal, or with --after-current once.\n"
      "Examples:\n"
      "  ferry cancel runs/sixteen-vms-001\n"
      "  ferry cancel runs/sixteen-vms-001 --after-current");
  command->callback([options, &invocation] {
    invocation.action = [options] { return static_cast<int>(cancel(*options)); };
  });
}

}  // namespace ferry
