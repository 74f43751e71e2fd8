// What a move costs its job, against closed forms: two ranks that compute and then exchange a
// message, again and again, in the simulated world.
#include "sim_backend/sim_world.hpp"
#include "tests/contract/forked.hpp"
#include "tests/mpi/moving_job.hpp"

namespace ferry::mpi {
namespace {

constexpr int iterations = 8;
constexpr Duration lock_cost = Duration::nanoseconds(200);

struct Cost {
  Duration exposed;   ///< of the job's time, against the same job without a move
  Duration elapsed;   ///< from the request to the end of the reactivation
  Duration left;      ///< of the computation when the request came
  Duration downtime;  ///< in it the guest computes nothing
  Duration blocked;   ///< of rank 0, as it says itself
};

Duration run_job(World& world, MovingJob& moving, Duration work,
                 const std::function<void()>& also) {
  const TimePoint start = world.clock.now();
  moving.job->start([&](Process& process) {
    Communicator ranks = process.world();
    std::int64_t mine = 0;
    std::int64_t other = 0;
    for (int i = 0; i < iterations; ++i) {
      world.processor.compute(VmId{process.rank().index}, work);
      ranks.sendrecv(ConstBuffer(&mine, sizeof mine), 1 - ranks.rank(), i,
                     Buffer(&other, sizeof other), 1 - ranks.rank(), i);
    }
  });
  also();
  EXPECT_TRUE(moving.job->join());
  return world.clock.now() - start;
}

/// The move begins in the third iteration, when `share` of its computation is left.
void expose(Strategy strategy, Duration work, double share,
            const std::function<void(const Cost&)>& look) {
  run_forked(std::chrono::seconds(60), [&] {
    MovingCluster cluster = moving_cluster({0, 1}, 1);
    cluster.instance.jobs[0].strategy = strategy;
    cluster.platform.mpi.runtime.lock = lock_cost;
    run_simulated(cluster.instance, cluster.platform, SimOptions{}, [&](World& world) {
      MovingJob still(world, cluster);
      const Duration undisturbed = run_job(world, still, work, [] {});
      MovingJob moving(world, cluster);
      Cost cost;
      cost.left = work * share;
      const Duration disturbed = run_job(world, moving, work, [&] {
        sleep(world, work * (3 - share));
        const TimePoint requested = world.clock.now();
        EXPECT_TRUE(moving.move({VmId{0}}, {HostId{2}}));
        cost.elapsed = world.clock.now() - requested;
      });
      cost.exposed = disturbed - undisturbed;
      cost.downtime = moving.downtime;
      cost.blocked = moving.log.ranks.at(0).blocked_to - moving.log.ranks.at(0).blocked_from;
      look(cost);
    });
  });
}

void expect_near(Duration is, Duration expected) {
  EXPECT_NEAR(is.to_seconds(), expected.to_seconds(), 0.05 * expected.to_seconds());
}

TEST(ExposedTime, with_the_progress_engine_is_all_that_follows_the_next_call) {
  for (const double share : {0.05, 0.5, 0.9}) {
    expose(Strategy::progress_engine, Duration::milliseconds(100), share, [&](const Cost& cost) {
      expect_near(cost.exposed, cost.elapsed - cost.left);
      expect_near(cost.blocked, cost.exposed);
    });
  }
}

TEST(ExposedTime, with_a_migration_thread_is_what_the_computation_does_not_hide) {
  for (const double share : {0.05, 0.5, 0.9}) {
    expose(Strategy::migration_thread, Duration::milliseconds(60), share, [&](const Cost& cost) {
      ASSERT_GT(cost.elapsed, cost.left);
      expect_near(cost.exposed, cost.elapsed - cost.left);
      expect_near(cost.blocked, cost.exposed);
    });
  }
}

TEST(ExposedTime, with_a_migration_thread_is_the_downtime_where_the_computation_outlasts_the_move) {
  expose(Strategy::migration_thread, Duration::seconds(2), 0.9, [](const Cost& cost) {
    ASSERT_LT(cost.elapsed, cost.left);
    expect_near(cost.exposed, cost.downtime);
    EXPECT_EQ(cost.blocked, Duration::zero());
  });
}

}  // namespace
}  // namespace ferry::mpi
