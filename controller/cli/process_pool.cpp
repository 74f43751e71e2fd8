#include "controller/cli/process_pool.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <system_error>

#include "controller/cli/interruption.hpp"
#include "core/units/check.hpp"

namespace ferry {
namespace {

using RealTime = std::chrono::steady_clock::time_point;

/// How long a process that was asked to end may take before it is killed.
constexpr std::chrono::seconds grace{5};

struct Worker {
  std::size_t task = 0;
  pid_t process = -1;
  int pipe = -1;
  std::string output;
  std::optional<RealTime> deadline;
  std::optional<RealTime> kill_at;  ///< set once it was asked to end
  TaskEnd::How how = TaskEnd::How::exited;
};

[[noreturn]] void work(const ProcessTask& task, int descriptor, pid_t parent) {
  leave_interruptions_to_the_parent(parent);
  TaskOutput output(descriptor);
  int status = exception_status;
  try {
    status = task(output);
  } catch (const std::exception& error) {
    try {
      output.write(error.what());
    } catch (const std::exception&) {
      // The parent is gone; nobody asks for the reason.
    }
  }
  std::fflush(nullptr);
  ::_exit(status);  // the parent's destructors and exit handlers are not the worker's
}

Worker start(std::size_t index, const ProcessTask& task, const ProcessPoolOptions& options,
             const std::vector<Worker>& others) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw std::system_error(errno, std::generic_category(), "no pipe for a worker process");
  }
  std::fflush(nullptr);  // or the worker would write what is still buffered once more
  const pid_t parent = ::getpid();
  const pid_t process = ::fork();
  if (process < 0) {
    const int error = errno;
    ::close(ends[0]);
    ::close(ends[1]);
    throw std::system_error(error, std::generic_category(), "no worker process");
  }
  if (process == 0) {
    ::close(ends[0]);
    for (const Worker& other : others) ::close(other.pipe);
    work(task, ends[1], parent);
  }
  ::close(ends[1]);
  Worker worker;
  worker.task = index;
  worker.process = process;
  worker.pipe = ends[0];
  if (options.timeout) {
    worker.deadline = std::chrono::steady_clock::now() +
                      std::chrono::nanoseconds(options.timeout->count_nanoseconds());
  }
  return worker;
}

void ask_to_end(Worker& worker, TaskEnd::How how) {
  if (worker.kill_at) return;
  worker.how = how;
  worker.kill_at = std::chrono::steady_clock::now() + grace;
  ::kill(worker.process, SIGTERM);
}

/// Reads what is there; false at the end of the output, which comes when the process has ended.
bool read_some(Worker& worker) {
  std::array<char, 16384> block{};
  const ssize_t got = ::read(worker.pipe, block.data(), block.size());
  if (got > 0) {
    worker.output.append(block.data(), static_cast<std::size_t>(got));
    return true;
  }
  return got < 0 && (errno == EINTR || errno == EAGAIN);
}

TaskEnd finish(Worker& worker) {
  ::close(worker.pipe);
  int status = 0;
  while (::waitpid(worker.process, &status, 0) < 0 && errno == EINTR) {
  }
  TaskEnd end;
  end.output = std::move(worker.output);
  if (WIFSIGNALED(status)) {
    end.how = worker.kill_at ? worker.how : TaskEnd::How::signalled;
    end.status = WTERMSIG(status);
  } else {
    end.how = TaskEnd::How::exited;  // also if it ended by itself just when it was asked to
    end.status = WEXITSTATUS(status);
  }
  return end;
}

/// Leaves no process behind, also when something is thrown.
struct Workers {
  std::vector<Worker> list;
  ~Workers() {
    for (Worker& worker : list) {
      ::kill(worker.process, SIGKILL);
      finish(worker);
    }
  }
};

}  // namespace

void TaskOutput::write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor_, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw std::runtime_error("the parent process is gone");
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

std::string TaskEnd::reason() const {
  switch (how) {
    case How::timed_out: return "took longer than it may";
    case How::cancelled: return "was cancelled";
    case How::signalled:
      return fmt::format("was killed by signal {} ({})", status, ::strsignal(status));
    case How::exited: break;
  }
  if (!output.empty()) return output;
  return fmt::format("ended with status {}", status);
}

std::vector<std::optional<TaskEnd>> run_processes(
    const std::vector<ProcessTask>& tasks, const ProcessPoolOptions& options,
    const std::function<void(std::size_t, const TaskEnd&)>& on_end) {
  check(options.jobs > 0, "a pool has at least one process");
  std::vector<std::optional<TaskEnd>> ends(tasks.size());
  Workers workers;
  std::size_t next = 0;
  for (;;) {
    const Interruption level = options.interruption ? options.interruption() : Interruption::none;
    while (level == Interruption::none && next < tasks.size() &&
           workers.list.size() < options.jobs) {
      workers.list.push_back(start(next, tasks[next], options, workers.list));
      ++next;
    }
    if (workers.list.empty()) return ends;

    std::vector<pollfd> waits;
    for (const Worker& worker : workers.list) waits.push_back({worker.pipe, POLLIN, 0});
    // The time limit is for deadlines, and for a signal that came just before the wait.
    const int ready = ::poll(waits.data(), waits.size(), 100);
    if (ready < 0 && errno != EINTR) {
      throw std::system_error(errno, std::generic_category(), "no word from worker processes");
    }
    const RealTime now = std::chrono::steady_clock::now();
    std::vector<Worker> still_running;
    std::vector<Worker> done;
    for (std::size_t i = 0; i < workers.list.size(); ++i) {
      Worker& worker = workers.list[i];
      const bool has_news = ready > 0 && waits[i].revents != 0;
      if (has_news && !read_some(worker)) {
        done.push_back(std::move(worker));
        continue;
      }
      if (level == Interruption::cancel) ask_to_end(worker, TaskEnd::How::cancelled);
      if (worker.deadline && now >= *worker.deadline) ask_to_end(worker, TaskEnd::How::timed_out);
      if (worker.kill_at && now >= *worker.kill_at) ::kill(worker.process, SIGKILL);
      still_running.push_back(std::move(worker));
    }
    workers.list = std::move(still_running);
    for (Worker& worker : done) {
      const std::size_t task = worker.task;
      ends[task] = finish(worker);
      if (on_end) on_end(task, *ends[task]);
    }
  }
}

}  // namespace ferry
