// ferry-agent: runs in a guest, as root, and speaks with the controller through the hypervisor.
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "hw_backend/agent/agent.hpp"

namespace {

constexpr const char* usage =
    "ferry-agent [--channel WHERE] [--state FOLDER]\n"
    "  Starts and watches the ranks of Ferry's jobs in this guest.\n"
    "  --channel  /dev/virtio-ports/NAME, or unix:PATH; default: the only port there is\n"
    "             with a name that begins with org.ferry.agent\n"
    "  --state    what must outlive it; in memory; default: /run/ferry\n"
    "  --version\n"
    "Exit status: 0 stopped by a signal, 2 wrong arguments, 3 it cannot run here.\n";

std::string default_channel() {
  std::vector<std::string> found;
  std::error_code error;
  for (std::filesystem::directory_iterator each("/dev/virtio-ports", error);
       !error && each != std::filesystem::directory_iterator(); each.increment(error)) {
    const std::string name = each->path().filename();
    if (name.rfind("org.ferry.agent", 0) == 0) found.push_back(each->path());
  }
  return found.size() == 1 ? found.front() : std::string();
}

}  // namespace

int main(int count, char** words) {
  ferry::agent::AgentSettings settings;
  for (int i = 1; i < count; i += 2) {
    const std::string word = words[i];
    if (word == "--version") {
      std::puts("ferry-agent " FERRY_VERSION);
      return 0;
    }
    if (word == "--help") {
      std::fputs(usage, stdout);
      return 0;
    }
    std::string value = i + 1 < count ? words[i + 1] : "";
    if (word == "--channel" && !value.empty()) {
      settings.channel = value;
    } else if (word == "--state" && !value.empty()) {
      settings.state = std::filesystem::absolute(value);
    } else {
      std::fprintf(stderr, "ferry-agent: %s is no option, or has no value\n%s", word.c_str(),
                   usage);
      return 2;
    }
  }
  if (settings.channel.empty()) settings.channel = default_channel();
  if (settings.channel.empty()) {
    std::fputs(
        "ferry-agent: /dev/virtio-ports has not exactly one port org.ferry.agent*; give the domain "
        "a <channel> with such a name, or say --channel\n",
        stderr);
    return 3;
  }
  signal(SIGPIPE, SIG_IGN);
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  sigprocmask(SIG_BLOCK, &ends, nullptr);
  const int stop = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
  const ferry::Result<> ran = ferry::agent::Agent(std::move(settings)).run(stop);
  if (ran) return 0;
  std::fprintf(stderr, "ferry-agent: %s\n", ran.error().reason.c_str());
  return 3;
}
