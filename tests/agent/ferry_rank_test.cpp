// `ferry-rank` behind agents: its jobs go through moves, by the memory of their VM, and by that of
// their host, whose device is closed and opened again.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "core/mpi/workloads/run_workload.hpp"
#include "tests/agent/machine.hpp"
#include "tests/scratch_folder.hpp"

namespace ferry::agent {
namespace {

namespace fs = std::filesystem;

/// Ranks are processes: however slow the machine is, moves wait for them.
std::string scenario(const std::string& strategy, std::uint32_t ranks) {
  return fmt::format(R"(ferry: 1
name: real-ranks
platform: scenarios/platforms/nowlab-fdr.yaml
cluster:
  hosts: [{{name: host, count: 2, cores: 16, memory: 32GiB, virtual_functions: 4}}]
vms:
  - {{name: vm, count: 2, on: host0, vcpus: 2, memory: 256MiB, ivshmem: 64MiB,
     pages: {{zero: 90%, working_set: 8MiB, dirty_rate: 20MB/s, idle_dirty_rate: 1MB/s}}}}
jobs:
  - {{name: job, on: {{vms: vm}}, ranks: {}, strategy: {},
     workload: {{type: iterate, compute: 2ms, collective: allreduce, message: 64KiB, iterations: 400}}}}
migrations:
  - {{name: there, vms: vm, to: host1, at: 300ms, transport: tcp,
     timeouts: {{suspend: 400s}}}}
schedule: {{order: parallel, batch: all}}
)",
                     ranks, strategy);
}

void start_agents(Machine& machine, const AgentRun& run) {
  for (std::uint32_t i = 0; i < run.instance.vms.size(); ++i) machine.start_agent(VmId{i});
}

void expect_all_moved(const AgentRun& run) {
  EXPECT_EQ(run.broken, "");
  EXPECT_EQ(run.suspensions, 0U);
  for (const MoveRecord& move : run.records.moves()) {
    EXPECT_EQ(move.outcome, Outcome::completed) << move.reason;
  }
  ASSERT_EQ(run.records.jobs().size(), 1U);
}

void expect_all_went_well(const AgentRun& run, std::size_t ranks) {
  expect_all_moved(run);
  EXPECT_EQ(run.job().reason, "");
  EXPECT_GT(run.job().messages, 0U);
  EXPECT_FALSE(run.job().measurements.empty());
  EXPECT_EQ(run.records.ranks().size(), ranks);
}

std::string text_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

class FerryRankBehindAgents : public testing::TestWithParam<const char*> {
 protected:
  /// Each rank has a /dev/shm of its own, as in a guest, and a file is the memory of their host.
  fs::path use_device(AgentRun& run) const {
    fs::path device = folder_ / "device";
    std::ofstream(device) << "";
    fs::resize_file(device, 8U << 20U);
    const fs::path alone = folder_ / "alone";
    std::ofstream(alone) << "#!/bin/sh\nexec unshare -m sh -c 'mount -t tmpfs none /dev/shm && "
                            "exec \"$@\"' sh \"$@\"\n";
    chmod(alone.c_str(), 0755);
    run.rank_arguments = {alone,  FERRY_RANK_PROGRAM, "--job", "{job}", "--device",
                          "none", "--ivshmem",        device};
    return device;
  }
  ScratchFolder scratch_;
  const fs::path folder_ = scratch_.path();
};
INSTANTIATE_TEST_SUITE_P(Strategies, FerryRankBehindAgents,
                         testing::Values("progress_engine", "migration_thread"));

TEST_P(FerryRankBehindAgents, goes_through_moves_over_the_memory_of_its_machine) {
  Machine machine;
  AgentRun run(scenario(GetParam(), 2));
  run.rank_arguments = {FERRY_RANK_PROGRAM, "--job", "{job}", "--device", "none"};
  start_agents(machine, run);
  run.run(machine);
  expect_all_went_well(run, 4);
}

/// A file of the controller's machine; each agent is handed what its ranks need of it, over links
/// that lose messages.
TEST_P(FerryRankBehindAgents, replays_a_trace_that_its_machine_does_not_have) {
  constexpr std::uint32_t rounds = 300;
  constexpr std::uint32_t ranks = 4;
  const fs::path trace = folder_ / "app.ti";
  {
    std::ofstream out(trace);
    for (std::uint32_t rank = 0; rank < ranks; ++rank) {
      out << rank << " init\n";
      for (std::uint32_t i = 0; i < rounds; ++i) {
        out << rank << " compute 1000000\n" << rank << " allreduce 65536 0\n";
        out << rank << " sendRecv 4096 " << (rank + 1) % ranks << " 4096 "
            << (rank + ranks - 1) % ranks << "\n";
      }
      // What makes it larger than one message.
      for (int i = 0; i < 20'000; ++i) out << rank << " compute 0.000001\n";
      out << rank << " finalize\n";
    }
  }
  Machine machine;
  std::string text = scenario(GetParam(), 2);
  const std::size_t from = text.find("{type: iterate");
  text.replace(from, text.find('}', from) + 1 - from,
               fmt::format("{{type: trace, file: {}}}", trace.string()));
  AgentRun run(text);
  run.rank_arguments = {FERRY_RANK_PROGRAM, "--job", "{job}", "--device", "none"};
  lose_messages(run, 0);
  start_agents(machine, run);
  run.run(machine);
  expect_all_moved(run);
  EXPECT_EQ(run.job().reason, "");
  const std::uint64_t sent = mpi::expected_traffic(run.programs.begin()->second, 0).messages;
  EXPECT_EQ(sent, rounds);  // beside the collectives
  EXPECT_GE(run.job().messages, ranks * rounds);
}

TEST_P(FerryRankBehindAgents, closes_the_device_of_its_host_and_opens_it_after_the_move) {
  if (geteuid() != 0) GTEST_SKIP() << "a /dev/shm of one's own needs root";
  Machine machine;
  AgentRun run(scenario(GetParam(), 1));
  use_device(run);
  start_agents(machine, run);
  run.run(machine);
  expect_all_went_well(run, 2);
}

TEST_P(FerryRankBehindAgents, ends_its_job_with_the_reason_if_its_device_does_not_come_back) {
  if (geteuid() != 0) GTEST_SKIP() << "a /dev/shm of one's own needs root";
  Machine machine;
  std::string text = scenario(GetParam(), 1);
  // The migration takes a while. Ranks look for their device five seconds, the clock of moves runs
  // faster.
  text.insert(text.find(", transport: tcp"), ", memory: {bandwidth_limit: 5MB/s}");
  text.insert(text.find("suspend: 400s"), "ivshmem: 5s, ");
  AgentRun run(text);
  run.journal_file = folder_ / "journal";
  const fs::path device = use_device(run);
  run.beside = [&](World& world) {
    while (text_of(run.journal_file).find("suspended") == std::string::npos) {
      world.clock.sleep_until(world.clock.now() + Duration::milliseconds(10));
    }
    fs::remove(device);  // it is closed by now
  };
  start_agents(machine, run);
  run.run(machine);
  expect_all_moved(run);
  EXPECT_THAT(run.job().reason,
              testing::ContainsRegex("rank [01] in vm[01] on host1: a device has not come back: "
                                     "there is no IVShmem memory .*/device"));
}

}  // namespace
}  // namespace ferry::agent
