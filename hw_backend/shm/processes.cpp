#include "hw_backend/shm/processes.hpp"

#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <thread>

#include "core/ports/world_error.hpp"

namespace ferry::shm {
namespace {

constexpr int body_threw = 70;

struct Child {
  std::uint32_t rank = 0;
  pid_t process = 0;
  bool running = true;
  bool ended_by_us = false;
  int status = 0;
};

[[noreturn]] void be_rank(std::uint32_t rank, std::shared_ptr<Region> region, pid_t launcher,
                          const std::function<void(std::uint32_t, std::shared_ptr<Region>)>& body) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // no rank outlives its launcher
  if (getppid() != launcher) _exit(body_threw);
  int status = 0;
  try {
    body(rank, std::move(region));
  } catch (const std::exception& error) {
    fmt::print(stderr, "rank {}: {}\n", rank, error.what());
    status = body_threw;
  } catch (...) {
    fmt::print(stderr, "rank {}: it threw what is no std::exception\n", rank);
    status = body_threw;
  }
  std::fflush(nullptr);
  _exit(status);  // without the launcher's atexit handlers
}

/// The processor after the first `rank` usable ones, if there are that many for all.
void bind_rank(std::uint32_t rank, std::uint32_t count) {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  if (sched_getaffinity(0, sizeof usable, &usable) != 0) return;
  if (static_cast<std::uint32_t>(CPU_COUNT(&usable)) < count) return;
  for (int processor = 0; processor < CPU_SETSIZE; ++processor) {
    if (!CPU_ISSET(processor, &usable) || rank-- != 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(processor, &one);
    sched_setaffinity(0, sizeof one, &one);  // if it is refused, it is slower
    return;
  }
}

bool went_well(int status) { return WIFEXITED(status) && WEXITSTATUS(status) == 0; }

void end_others(std::vector<Child>& children) {
  for (Child& child : children) {
    if (!child.running) continue;
    child.ended_by_us = true;
    kill(child.process, SIGKILL);
  }
}

RankFailure failure_of(const Child& child) {
  return {.rank = child.rank,
          .signal = WIFSIGNALED(child.status) ? WTERMSIG(child.status) : 0,
          .exit_status = WIFEXITED(child.status) ? WEXITSTATUS(child.status) : 0,
          .ended = child.ended_by_us};
}

/// Notes who has ended; false if nobody had.
bool reap(std::vector<Child>& children, Region& region, const LaunchSettings& settings) {
  bool any = false;
  for (Child& child : children) {
    if (!child.running || waitpid(child.process, &child.status, WNOHANG) != child.process) continue;
    any = true;
    child.running = false;
    if (went_well(child.status)) continue;
    region.bury(child.process);
    region.condemn(failure_of(child).to_text());
    if (!settings.others_survive && !child.ended_by_us) end_others(children);
  }
  return any;
}

}  // namespace

std::string RankFailure::to_text() const {
  if (ended) return fmt::format("rank {} was ended by the launcher", rank);
  if (signal != 0) {
    return fmt::format("rank {} was killed by signal {} ({})", rank, signal, strsignal(signal));
  }
  return fmt::format("rank {} exited with status {}", rank, exit_status);
}

std::vector<RankFailure> run_shm_processes(
    std::uint32_t count, const std::function<void(std::uint32_t, std::shared_ptr<Region>)>& body,
    const LaunchSettings& settings) {
  const std::shared_ptr<Region> region = Region::make_anonymous(settings.sizes);
  const pid_t launcher = getpid();
  std::fflush(nullptr);  // or the children would print it again
  std::vector<Child> children;
  for (std::uint32_t rank = 0; rank < count; ++rank) {
    const pid_t process = fork();
    if (process == 0 && settings.bind) bind_rank(rank, count);
    if (process == 0) be_rank(rank, region, launcher, body);
    if (process < 0) {
      const std::string why = std::strerror(errno);
      end_others(children);
      while (reap(children, *region, settings)) {
      }
      throw WorldError(fmt::format("rank {} cannot be started: {}", rank, why));
    }
    children.push_back({.rank = rank, .process = process});
  }
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::nanoseconds(settings.limit.count_nanoseconds());
  const auto running = [&] {
    for (const Child& child : children) {
      if (child.running) return true;
    }
    return false;
  };
  while (running()) {
    if (reap(children, *region, settings)) continue;
    if (std::chrono::steady_clock::now() >= end) end_others(children);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  std::vector<RankFailure> failures;
  for (const Child& child : children) {
    if (!went_well(child.status)) failures.push_back(failure_of(child));
  }
  return failures;
}

}  // namespace ferry::shm
