// Tasks in forked processes, a few at a time. One world per process, so a sweep forks for every
// cell; a task that crashes takes nothing with it.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "controller/session.hpp"
#include "core/units/units.hpp"

namespace ferry {

/// The worker's end of the pipe to its parent.
class TaskOutput {
 public:
  explicit TaskOutput(int descriptor) : descriptor_(descriptor) {}
  /// Blocks while the pipe is full; the parent reads all the time. Throws std::runtime_error if the
  /// parent is gone.
  void write(std::string_view text);

 private:
  int descriptor_;
};

/// Runs in its own process; returns that process's exit status. A std::exception that leaves it is
/// written to the output and becomes `exception_status`.
using ProcessTask = std::function<int(TaskOutput&)>;
inline constexpr int exception_status = 125;

/// How a task ended.
struct TaskEnd {
  enum class How { exited, signalled, timed_out, cancelled } how = How::exited;
  int status = 0;      ///< exit status, or the signal's number
  std::string output;  ///< what it wrote

  [[nodiscard]] bool succeeded() const { return how == How::exited && status == 0; }
  /// A clause without final stop: "was killed by signal 11 (Segmentation fault)".
  [[nodiscard]] std::string reason() const;
};

struct ProcessPoolOptions {
  std::size_t jobs = 1;                        ///< at once; at least 1
  std::optional<Duration> timeout;             ///< of each task, in real time
  std::function<Interruption()> interruption;  ///< may be empty
};

/// Runs every task and returns how each ended, in the order of `tasks`; none for those that were
/// not started because of an interruption. `on_end` is called in this process as tasks end. The
/// caller must have one thread. All children have been waited for on return. Throws
/// std::system_error if no process can be made.
std::vector<std::optional<TaskEnd>> run_processes(
    const std::vector<ProcessTask>& tasks, const ProcessPoolOptions& options,
    const std::function<void(std::size_t task, const TaskEnd& end)>& on_end = {});

}  // namespace ferry
