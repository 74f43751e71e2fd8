#include "hw_backend/host/programs.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

extern char** environ;

namespace ferry::host {
namespace {

using WallClock = std::chrono::steady_clock;

constexpr std::size_t most_output = std::size_t{16} << 20U;
constexpr std::size_t most_at_once = 16;

class Pipe {
 public:
  Pipe() : made_(pipe2(ends_.data(), O_CLOEXEC) == 0) {}
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  [[nodiscard]] bool is_made() const { return made_; }
  [[nodiscard]] int end(std::size_t which) const { return ends_.at(which); }
  void close_end(std::size_t which) {
    if (ends_.at(which) >= 0) close(ends_.at(which));
    ends_.at(which) = -1;
  }

 private:
  std::array<int, 2> ends_ = {-1, -1};
  bool made_;
};

int start(const std::vector<std::string>& words, const Pipe& output, const Pipe& errors,
          pid_t& process) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output.end(1), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors.end(1), STDERR_FILENO);
  const int error =
      posix_spawnp(&process, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

/// False: nothing more will come, or it is too much.
bool take(Pipe& pipe, std::string& text) {
  std::array<char, 4096> piece{};
  const ssize_t got = read(pipe.end(0), piece.data(), piece.size());
  if (got < 0 && errno == EINTR) return true;
  if (got > 0) text.append(piece.data(), static_cast<std::size_t>(got));
  if (got > 0 && text.size() <= most_output) return true;
  pipe.close_end(0);
  return false;
}

/// Reads both to their ends; what is wrong if they do not end well.
std::string take_all(Pipe& output, Pipe& errors, ProgramResult& result,
                     WallClock::time_point until) {
  while (output.end(0) >= 0 || errors.end(0) >= 0) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - WallClock::now()).count();
    if (left <= 0) return "it took too long";
    std::array<pollfd, 2> wanted = {pollfd{output.end(0), POLLIN, 0}, {errors.end(0), POLLIN, 0}};
    if (poll(wanted.data(), wanted.size(), static_cast<int>(left)) < 0) continue;
    if (wanted[0].revents != 0) take(output, result.output);
    if (wanted[1].revents != 0) take(errors, result.errors);
    if (std::max(result.output.size(), result.errors.size()) > most_output) {
      return "it said more than 16 MiB";
    }
  }
  return {};
}

/// What `waitpid` gives. After `until` it is killed, which is what is wrong then.
int await_end(pid_t process, WallClock::time_point until, std::string& wrong) {
  int status = 0;
  for (;;) {
    const pid_t ended = waitpid(process, &status, WNOHANG);
    if (ended == process || (ended < 0 && errno != EINTR)) return status;
    if (WallClock::now() >= until) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  if (wrong.empty()) wrong = "it took too long";
  kill(process, SIGKILL);
  while (waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

}  // namespace

ProgramResult run_program(const Program& program) {
  ProgramResult result;
  Pipe output;
  Pipe errors;
  if (!output.is_made() || !errors.is_made()) {
    result.errors = std::strerror(errno);
    return result;
  }
  pid_t process = -1;
  if (const int error = start(program.words, output, errors, process); error != 0) {
    result.errors = fmt::format("{}: {}", program.words.front(), std::strerror(error));
    return result;
  }
  output.close_end(1);
  errors.close_end(1);
  const auto until =
      WallClock::now() + std::chrono::nanoseconds(program.patience.count_nanoseconds());
  std::string wrong = take_all(output, errors, result, until);
  const int status = await_end(process, wrong.empty() ? until : WallClock::now(), wrong);
  if (!wrong.empty()) {
    result.errors = wrong;
  } else if (WIFEXITED(status)) {
    result.status = WEXITSTATUS(status);
  } else {
    result.errors = "it was killed by a signal";
  }
  return result;
}

std::vector<ProgramResult> run_programs(const std::vector<Program>& programs) {
  std::vector<ProgramResult> results(programs.size());
  std::atomic<std::size_t> next = 0;
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < std::min(programs.size(), most_at_once); ++i) {
    threads.emplace_back([&] {
      for (std::size_t mine = next++; mine < programs.size(); mine = next++) {
        results[mine] = run_program(programs[mine]);
      }
    });
  }
  threads.clear();  // joins
  return results;
}

}  // namespace ferry::host
