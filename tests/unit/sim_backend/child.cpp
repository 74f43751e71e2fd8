#include "tests/unit/sim_backend/child.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <exception>

namespace ferry {

std::string text_from_child(const std::function<std::string()>& body) {
  constexpr unsigned int seconds_at_most = 60;
  int ends[2];
  if (pipe(ends) != 0) {
    ADD_FAILURE() << "no pipe to a child";
    return "";
  }
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    alarm(seconds_at_most);
    close(ends[0]);
    int status = 0;
    std::string text;
    const auto failures = [] {
      return testing::UnitTest::GetInstance()->current_test_info()->result()->total_part_count();
    };
    const int failures_before = failures();
    try {
      text = body();
    } catch (const std::exception& error) {
      text = error.what();
      status = 1;
    }
    if (failures() != failures_before) status = 3;  // printed already
    for (std::size_t done = 0; done < text.size();) {
      const ssize_t written = write(ends[1], text.data() + done, text.size() - done);
      if (written <= 0) _exit(2);
      done += static_cast<std::size_t>(written);
    }
    _exit(status);
  }
  close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t got = 0; (got = read(ends[0], buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(got));
  }
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (status != 0) {
    ADD_FAILURE() << "the child ended with status " << status << ": " << text;
    return "";
  }
  return text;
}

std::vector<double> numbers_from_child(const std::function<std::vector<double>()>& body) {
  const std::string bytes = text_from_child([&] {
    const std::vector<double> numbers = body();
    return std::string(reinterpret_cast<const char*>(numbers.data()),
                       numbers.size() * sizeof(double));
  });
  std::vector<double> numbers(bytes.size() / sizeof(double));
  std::memcpy(numbers.data(), bytes.data(), numbers.size() * sizeof(double));
  return numbers;
}

PlainWorld::PlainWorld(std::uint32_t hosts) {
  for (std::uint32_t i = 0; i < hosts; ++i) {
    instance.hosts.push_back({.name = "host" + std::to_string(i),
                              .cores = 16,
                              .memory = Bytes::gibi(256),
                              .virtual_functions = 64,
                              .ivshmem = Bytes::gibi(16)});
  }
  instance.networks.push_back(
      {.name = "network",
       .topology = Star{},
       .link = {.bandwidth = Bandwidth::bytes_per_second(1e9), .latency = Duration::zero()},
       .carries = {Transport::tcp, Transport::ipoib, Transport::rdma}});
  platform.streams.fill({.bandwidth = Bandwidth::unlimited()});
}

VmSpec& PlainWorld::add_vm(HostId host, Bytes memory) {
  VmSpec vm;
  vm.name = "vm" + std::to_string(instance.vms.size());
  vm.host = host;
  vm.memory = memory;
  instance.vms.push_back(vm);
  return instance.vms.back();
}

void PlainWorld::simulate(const std::function<void(World&)>& body,
                          const SimOptions& options) const {
  run_simulated(instance, platform, options, body);
}

double seconds_at(const World& world) { return world.clock.now().to_seconds(); }

}  // namespace ferry
