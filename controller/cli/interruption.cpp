#include "controller/cli/interruption.hpp"

#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <string_view>

namespace ferry {
namespace {

std::atomic<int> current_level{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler must not wait");

void say(std::string_view text) {
  // Nothing can be done about a message that cannot be written.
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size());
}

void raise_level(int signal) {
  const int saved_errno = errno;
  const int before = current_level.load();
  if (signal == SIGTERM || before == 1) {
    current_level.store(2);
    if (before < 2) say("\nferry: cancelling what runs\n");
  } else if (before == 0) {
    current_level.store(1);
    say("\nferry: nothing new is started, what runs may finish; Ctrl-C again cancels it\n");
  } else {
    struct sigaction fallback {};
    fallback.sa_handler = SIG_DFL;
    ::sigaction(SIGINT, &fallback, nullptr);
    ::raise(SIGINT);
  }
  errno = saved_errno;
}

}  // namespace

InterruptionHandler::InterruptionHandler() {
  current_level.store(0);
  struct sigaction action {};
  action.sa_handler = raise_level;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGINT, &action, &old_interrupt_);  // no SA_RESTART: waits end, and see the level
  ::sigaction(SIGTERM, &action, &old_terminate_);
}

InterruptionHandler::~InterruptionHandler() {
  ::sigaction(SIGINT, &old_interrupt_, nullptr);
  ::sigaction(SIGTERM, &old_terminate_, nullptr);
}

Interruption InterruptionHandler::level() {
  return static_cast<Interruption>(current_level.load());
}

void leave_interruptions_to_the_parent(pid_t parent) {
  struct sigaction action {};
  ::sigemptyset(&action.sa_mask);
  action.sa_handler = SIG_IGN;
  ::sigaction(SIGINT, &action, nullptr);
  action.sa_handler = SIG_DFL;
  ::sigaction(SIGTERM, &action, nullptr);
  current_level.store(0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
}

}  // namespace ferry
