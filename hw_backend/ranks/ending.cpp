#include "hw_backend/ranks/ending.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "core/ports/world_error.hpp"

namespace ferry::ranks {
namespace {

sigset_t ending_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  return signals;
}

}  // namespace

void take_signals() {
  const sigset_t signals = ending_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

EndListener::EndListener(Executor& executor, shm::Region& region, mpi::Engine& engine)
    : region_(region) {
  const sigset_t signals = ending_signals();
  signals_ = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  stop_ = eventfd(0, EFD_CLOEXEC);
  if (signals_ < 0 || stop_ < 0) throw WorldError("no file descriptors are left for a rank");
  verdict_ = executor.spawn("verdict", [this, &engine] {
    if (!region_.await_verdict(stopped_)) return;
    why_ = *region_.verdict();
    engine.abort(why_);
  });
  signal_thread_ = std::thread([this] { read_signals(); });
}

EndListener::~EndListener() {
  stopped_ = true;
  const std::uint64_t one = 1;
  while (write(stop_, &one, sizeof(one)) < 0 && errno == EINTR) {
  }
  region_.wake_listeners();
  signal_thread_.join();
  verdict_->join();
  close(stop_);
  close(signals_);
}

void EndListener::read_signals() {
  std::array<pollfd, 2> files{{{signals_, POLLIN, 0}, {stop_, POLLIN, 0}}};
  while (!stopped_) {
    if (poll(files.data(), files.size(), -1) <= 0) continue;
    signalfd_siginfo signal{};
    if (read(signals_, &signal, sizeof(signal)) == sizeof(signal)) {
      region_.condemn(interrupted_by_signal);
    }
  }
}

}  // namespace ferry::ranks
