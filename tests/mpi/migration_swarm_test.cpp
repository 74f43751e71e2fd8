// Seeds of the swarm. `FERRY_SWARM_SEED=17` runs that one alone, `FERRY_SWARM_SEEDS=5000` so many.
#include "tests/mpi/migration_swarm.hpp"

#include <sys/mman.h>

#include <cstdlib>

#include "sim_backend/sim_world.hpp"
#include "tests/contract/forked.hpp"

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
  const Seeds range = seeds(250);
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

TEST(SimulatedSwarm, does_the_same_again) {
  const Seeds range = seeds(12);
  for (std::uint64_t seed = range.first; seed <= range.last; ++seed) {
    EXPECT_EQ(simulate(seed), simulate(seed)) << "seed " << seed;
  }
}

}  // namespace
}  // namespace ferry::mpi
