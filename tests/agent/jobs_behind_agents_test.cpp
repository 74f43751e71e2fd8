// Jobs whose ranks are processes behind agents, with the fake hypervisor: they go through moves of
// their VMs, and through everything that may happen to agents, links, ranks and controllers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "hw_backend/agent/agent_jobs.hpp"
#include "tests/agent/machine.hpp"

namespace ferry::agent {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

/// Three VMs with two ranks each, on three hosts; vm0 and vm1 move, one after the other. Ranks are
/// processes: however slow the machine is, they are waited for.
std::string scenario(const std::string& strategy, const std::string& workload) {
  return R"(ferry: 1
name: agents
platform: scenarios/platforms/nowlab-fdr.yaml
cluster:
  hosts: [{name: host, count: 4, cores: 16, memory: 32GiB, virtual_functions: 4}]
vms:
  - {name: vm, count: 3, on: "host[0-2]", vcpus: 2, memory: 256MiB, ivshmem: 64MiB,
     pages: {zero: 90%, working_set: 8MiB, dirty_rate: 20MB/s, idle_dirty_rate: 1MB/s}}
jobs:
  - {name: job, on: {vms: "vm"}, ranks: 2, strategy: )" +
         strategy + ", workload: " + workload + R"(}
migrations:
  - {name: there, vms: vm0, to: host3, at: 500ms, transport: tcp, timeouts: {suspend: 400s}}
  - {name: after, vms: vm1, to: host3, at: 1500ms, transport: tcp, timeouts: {suspend: 400s}}
schedule: {order: parallel}
)";
}

constexpr const char* iterate =
    "{type: iterate, compute: 2ms, collective: allreduce, message: 8B, iterations: 500}";

void start_agents(Machine& machine, const AgentRun& run) {
  for (std::uint32_t i = 0; i < run.instance.vms.size(); ++i) machine.start_agent(VmId{i});
}

void expect_the_job_went_well(const AgentRun& run) {
  EXPECT_EQ(run.broken, "");
  EXPECT_EQ(run.suspensions, 0U);
  ASSERT_EQ(run.records.moves().size(), run.instance.moves.size());
  ASSERT_EQ(run.records.jobs().size(), 1U);
  EXPECT_EQ(run.job().reason, "");
  EXPECT_GT(run.job().messages, 0U);
}

void expect_all_went_well(const AgentRun& run) {
  expect_the_job_went_well(run);
  for (const MoveRecord& move : run.records.moves()) {
    EXPECT_EQ(move.outcome, Outcome::completed) << move.reason;
  }
}

class JobsBehindAgents : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Strategies, JobsBehindAgents,
                         testing::Values("progress_engine", "migration_thread"));

TEST_P(JobsBehindAgents, go_through_moves_of_their_vms) {
  Machine machine;
  AgentRun run(scenario(GetParam(), iterate));
  start_agents(machine, run);
  run.run(machine);
  expect_all_went_well(run);
  // Each of the two moves is a row for every rank, in order.
  ASSERT_EQ(run.records.ranks().size(), 12U);
  for (const RankRecord& rank : run.records.ranks()) {
    EXPECT_LE(rank.requested, rank.drained);
    EXPECT_LE(rank.drained, rank.ready);
    EXPECT_LE(rank.blocked_from, rank.blocked_to);
  }
  EXPECT_GT(run.job().end, run.job().start);
  EXPECT_FALSE(run.job().measurements.empty());
  for (std::uint32_t vm = 0; vm < 3; ++vm) EXPECT_THAT(machine.jobs(VmId{vm}), IsEmpty());
}

/// Agents die again and again, each time in another moment, and another one starts.
TEST_P(JobsBehindAgents, do_not_notice_that_their_agents_die) {
  Machine machine;
  AgentRun run(scenario(GetParam(), iterate));
  start_agents(machine, run);
  run.beside = [&](World& world) {
    for (std::uint32_t i = 0; i < 24; ++i) {
      const VmId vm{i % 3};
      machine.kill_agent(vm);
      world.clock.sleep_until(world.clock.now() + Duration::milliseconds(40 + 17 * i % 90));
      machine.start_agent(vm);
      world.clock.sleep_until(world.clock.now() + Duration::milliseconds(60));
    }
  };
  run.run(machine);
  expect_all_went_well(run);
}

/// Each link loses and repeats messages; each seed others.
TEST_P(JobsBehindAgents, go_on_whatever_message_is_lost_or_comes_twice) {
  for (const std::uint32_t seed : {0U, 2U, 5U}) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Machine machine;
    AgentRun run(scenario(GetParam(), iterate));
    start_agents(machine, run);
    lose_messages(run, seed);
    run.run(machine);
    expect_all_went_well(run);
  }
}

TEST_P(JobsBehindAgents, end_with_the_name_of_a_rank_that_was_killed) {
  Machine machine;
  AgentRun run(scenario(GetParam(), iterate));
  start_agents(machine, run);
  run.beside = [&](World& world) {
    world.clock.sleep_until(TimePoint::at(Duration::milliseconds(900)));
    std::vector<pid_t> ranks = machine.rank_processes(VmId{1});
    while (ranks.size() != 2) {  // on a busy machine
      world.clock.sleep_until(world.clock.now() + Duration::milliseconds(20));
      ranks = machine.rank_processes(VmId{1});
    }
    kill(ranks.back(), SIGKILL);
  };
  run.run(machine);
  EXPECT_EQ(run.broken, "");
  EXPECT_EQ(run.suspensions, 0U);
  EXPECT_THAT(run.job().reason, HasSubstr("rank 3 of job in vm1 was killed by signal 9"));
  for (const MoveRecord& move : run.records.moves()) {
    EXPECT_EQ(move.outcome, Outcome::completed) << move.reason;
  }
  for (std::uint32_t vm = 0; vm < 3; ++vm) {
    EXPECT_THAT(machine.rank_processes(VmId{vm}), IsEmpty());
    EXPECT_THAT(machine.jobs(VmId{vm}), IsEmpty());
  }
}

/// Agents remember the keys of jobs that are over.
TEST(JobsBehindAgents, run_again_in_the_same_guests_whatever_the_name_of_their_run) {
  Machine machine;
  const std::string folder = machine.name() + std::string(64, 'x');
  for (const std::int64_t origin : {0x18a'0000'0000'0001, 0x18a'0000'0000'0002}) {
    AgentRun run(scenario("progress_engine",
                          "{type: iterate, compute: 2ms, collective: allreduce, message: 8B, "
                          "iterations: 5}"));
    run.run_name = name_of_run(folder, origin);
    run.controller = static_cast<std::uint64_t>(origin);
    if (!machine.has_agent(VmId{0})) start_agents(machine, run);
    run.run(machine);
    expect_the_job_went_well(run);
  }
}

TEST(JobsBehindAgents, end_with_the_reason_of_a_rank_that_fails) {
  for (const auto& [fault, reason] :
       {std::pair("throws", "rank 1 has failed: out of paper"),
        std::pair("exits", "rank 1 of job in vm0 exited with status 9")}) {
    Machine machine;
    AgentRun run(scenario("progress_engine", iterate));
    start_agents(machine, run);
    run.fault = fault;
    run.run(machine);
    EXPECT_EQ(run.broken, "");
    EXPECT_THAT(run.job().reason, HasSubstr(reason));
  }
}

TEST(JobsBehindAgents, whose_program_is_missing_say_so) {
  Machine machine;
  AgentRun run(scenario("progress_engine", iterate));
  run.program = "/nowhere/ferry-rank";
  start_agents(machine, run);
  run.run(machine);
  EXPECT_THAT(run.job().reason, HasSubstr("exited with status 127"));
}

TEST(JobsBehindAgents, do_not_begin_without_an_agent) {
  Machine machine;
  AgentRun run(scenario("progress_engine", iterate));
  machine.start_agent(VmId{0});
  machine.start_agent(VmId{2});
  run.patience = Duration::seconds(4);
  run.run(machine);
  EXPECT_THAT(run.broken, HasSubstr("the agents of vm1 have not answered for job job"));
}

/// The controller is killed when its journal has the record, and another one takes over.
class ControllerGone : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Records, ControllerGone,
                         testing::Values("opens", "suspended", "detach_vf", "remove_ivshmem",
                                         "migration"));

TEST_P(ControllerGone, leaves_jobs_to_the_next_one) {
  Machine machine;
  AgentRun run(scenario("progress_engine", iterate));
  start_agents(machine, run);
  run.journal_file = machine.state(VmId{0}).string() + ".journal";
  const pid_t child = fork();
  if (child == 0) {
    run.run(machine);
    _exit(0);
  }
  const auto text = [&] {
    std::ifstream file(run.journal_file);
    return std::string((std::istreambuf_iterator<char>(file)), {});
  };
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (text().find(GetParam()) == std::string::npos) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);

  AgentRun next(scenario("progress_engine", iterate));
  next.controller = 2;
  next.journal = text();
  next.run(machine);
  expect_the_job_went_well(next);
  for (const MoveRecord& move : next.records.moves()) {
    if (move.outcome == Outcome::completed) continue;
    EXPECT_EQ(move.outcome, Outcome::rolled_back);
    EXPECT_THAT(move.reason, HasSubstr("the controller went down during"));
  }
}

}  // namespace
}  // namespace ferry::agent
