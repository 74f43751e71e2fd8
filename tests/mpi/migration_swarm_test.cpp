// Seeds of the swarm. `FERRY_SWARM_SEED=17` runs that one alone, `FERRY_SWARM_SEEDS=5000` so many.
#include "tests/mpi/migration_swarm.hpp"

#include <gmock/gmock.h>
#include <sys/mman.h>

#include <cstdlib>

#include "sim_backend/sim_world.hpp"
#include "tests/contract/forked.hpp"
#include "tests/sanitized.hpp"

namespace ferry::mpi {
namespace {

struct Seeds {
  std::uint64_t first = 1;
  std::uint64_t last = 1;
};
Seeds seeds(std::uint64_t count) {
  if (const char* one = std::getenv("FERRY_SWARM_SEED")) {
    const std::uint64_t seed = std::strtoull(one, nullptr, 10);
    return {seed, seed};
  }
  if (const char* many = std::getenv("FERRY_SWARM_SEEDS")) {
    return {1, std::strtoull(many, nullptr, 10)};
  }
  return {1, count};
}

/// Of one simulation, in a process of its own.
SwarmEnd simulate(std::uint64_t seed) {
  void* shared =
      mmap(nullptr, sizeof(SwarmEnd), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto* end = new (shared) SwarmEnd();
  run_forked(std::chrono::seconds(60), [&] {
    const SwarmPlan plan = draw_swarm(seed);
    const SimStatistics statistics =
        run_simulated(plan.cluster.instance, plan.cluster.platform, SimOptions{},
                      [&](World& world) { *end = run_swarm(world, plan, true); });
    EXPECT_EQ(statistics.packets_lost, 0U) << "something was sent to a device that was gone";
  });
  const SwarmEnd kept = *end;
  munmap(shared, sizeof(SwarmEnd));
  return kept;
}

TEST(SimulatedSwarm, loses_and_doubles_nothing_whenever_vms_move) {
  std::uint64_t suspended = 0;
  std::uint64_t refused = 0;
  std::uint64_t relocated = 0;
  const Seeds range = seeds(sanitized ? 80 : 250);
  for (std::uint64_t seed = range.first; seed <= range.last; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const SwarmEnd end = simulate(seed);
    suspended += end.suspended;
    refused += end.refused;
    relocated += end.relocated;
    ASSERT_FALSE(testing::Test::HasFailure()) << "seed " << seed;
  }
  if (range.last - range.first < 100) return;
  EXPECT_GT(suspended, range.last / 2);
  EXPECT_GT(relocated, range.last) << "collectives go by what moves have changed";
  EXPECT_GT(refused, range.last / 50) << "some ranks do not answer in time";
}

TEST(SimulatedJob, ends_with_the_reason_when_the_vm_of_a_rank_is_lost) {
  enum class Does { computes, waits, is_suspended };
  for (const Strategy strategy : {Strategy::progress_engine, Strategy::migration_thread}) {
    for (const Does does : {Does::computes, Does::waits, Does::is_suspended}) {
      SCOPED_TRACE(testing::Message() << to_name(strategy) << ", " << static_cast<int>(does));
      run_forked(std::chrono::seconds(60), [&] {
        MovingCluster cluster = moving_cluster({0, 1, 2}, 1);
        cluster.instance.jobs[0].strategy = strategy;
        cluster.instance.cluster_faults.push_back({.kind = ClusterFaultSpec::Kind::host_down,
                                                   .host = HostId{1},
                                                   .from = TimePoint() + ms(50)});
        run_simulated(cluster.instance, cluster.platform, SimOptions{}, [&](World& world) {
          MovingJob moving(world, cluster);
          moving.job->start([&](Process& process) {
            Communicator ranks = process.world();
            ranks.barrier();
            const bool works = does != Does::waits && ranks.rank() == 1;
            if (works && world.processor.compute(VmId{1}, ms(200)) == Wake::cancelled) {
              throw JobAborted("it was stopped");
            }
            std::byte byte{};
            ranks.recv({&byte, 1}, (ranks.rank() + 1) % 3, 1);  // nobody sends it
          });
          if (does == Does::is_suspended) {
            sleep(world, ms(10));
            // Rank 1 computes: with the progress engine it answers no more; with a migration
            // thread all have answered, and wait.
            const SuspendRequest request{JobId{0}, 1, {VmId{0}}};
            EXPECT_TRUE(succeeded(moving.jobs.suspend(request, after(world, ms(5000)))));
            sleep(world, ms(100));
            EXPECT_TRUE(succeeded(moving.jobs.reactivate(request, after(world, ms(5000)))));
          }
          const Result<void> ended = moving.job->join();
          ASSERT_FALSE(ended);
          EXPECT_THAT(ended.error().reason, testing::StartsWith("rank 1 has ended: it was "));
          EXPECT_EQ(moving.jobs.suspensions(), 0U);
        });
      });
    }
  }
}

TEST(SimulatedSwarm, does_the_same_again) {
  const Seeds range = seeds(12);
  for (std::uint64_t seed = range.first; seed <= range.last; ++seed) {
    EXPECT_EQ(simulate(seed), simulate(seed)) << "seed " << seed;
  }
}

}  // namespace
}  // namespace ferry::mpi
