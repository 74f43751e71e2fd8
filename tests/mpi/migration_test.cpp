// Jobs whose VMs move: single moves that strike at known moments.
#include <atomic>

#include "tests/mpi/migration_swarm.hpp"
#include "tests/mpi/mpi_job.hpp"

namespace ferry::mpi {
namespace {

class Migration : public Contract {
 protected:
  /// Two VMs on two hosts, one rank each.
  static MovingCluster pair_of_vms(Strategy strategy) {
    MovingCluster cluster = moving_cluster({0, 1}, 1);
    cluster.instance.jobs[0].strategy = strategy;
    return cluster;
  }
  void run_in(const MovingCluster& cluster, const std::function<void(World&)>& body) const {
    GetParam()->run(cluster.instance, cluster.platform, body);
  }
};
FERRY_FOR_EVERY_WORLD(Migration);

/// Rank 0 and rank 1 send each other numbered messages of `size` bytes, until `rounds` are done.
void ping_pong(Communicator& world, std::size_t size, int rounds,
               const std::function<void()>& work) {
  std::vector<std::byte> into(size);
  for (int round = 0; round < rounds; ++round) {
    const std::vector<std::byte> bytes = bytes_like(size, static_cast<std::size_t>(round));
    for (Rank sender = 0; sender < 2; ++sender) {
      if (world.rank() == sender) {
        world.send(ConstBuffer(bytes.data(), size), 1 - sender, round);
      } else {
        into.assign(size, std::byte{0});
        world.recv(Buffer(into.data(), size), sender, round);
        ASSERT_EQ(into, bytes);
      }
    }
    work();
  }
}

TEST_P(Migration, of_either_side_leaves_every_message_intact) {
  for (const Strategy strategy : {Strategy::progress_engine, Strategy::migration_thread}) {
    for (const std::size_t size : {8U, 20'000U, 3'000'000U}) {
      SCOPED_TRACE(testing::Message() << to_name(strategy) << ", " << size << " B");
      const MovingCluster cluster = pair_of_vms(strategy);
      run_in(cluster, [&](World& world) {
        MovingJob moving(world, cluster);
        moving.job->start([&](Process& process) {
          Communicator ranks = process.world();
          const VmId vm{process.rank().index};
          ping_pong(ranks, size, 40, [&] { world.processor.compute(vm, ms(1)); });
        });
        sleep(world, ms(3));
        EXPECT_TRUE(moving.move({VmId{0}}, {HostId{2}}));
        EXPECT_TRUE(moving.move({VmId{1}}, {HostId{2}}));  // now they are together
        EXPECT_TRUE(moving.job->join());
        moving.expect_nothing_left();
        EXPECT_EQ(moving.log.ranks.size(), 4U);
      });
    }
  }
}

TEST_P(Migration, of_a_job_that_does_not_answer_times_out_and_later_requests_go_on) {
  for (const Reconnect reconnect : {Reconnect::lazy, Reconnect::eager}) {
    MovingCluster cluster = pair_of_vms(Strategy::progress_engine);
    cluster.instance.jobs[0].reconnect = reconnect;
    run_in(cluster, [&](World& world) {
      MovingJob moving(world, cluster);
      std::atomic<bool> answers = false;
      std::atomic<int> away = 0;
      moving.job->start([&](Process& process) {
        Communicator ranks = process.world();
        ranks.barrier();
        ++away;
        while (!answers) sleep(world, ms(1));  // outside the library
        ranks.barrier();
      });
      EXPECT_TRUE(comes_true(world, [&] { return away == 2; }));
      EXPECT_FALSE(moving.move({VmId{0}}, {HostId{2}}, ms(20)));
      EXPECT_EQ(moving.jobs.suspensions(), 0U);
      answers = true;
      // The ranks may have ended before they read this: then it is done for them.
      EXPECT_TRUE(moving.move({VmId{1}}, {HostId{3}}));
      EXPECT_TRUE(moving.job->join());
      EXPECT_TRUE(moving.move({VmId{0}}, {HostId{2}})) << "an ended job is ready";
      moving.expect_nothing_left();
    });
  }
}

TEST_P(Migration, is_refused_for_epochs_that_were_seen_or_ended_before_they_came) {
  const MovingCluster cluster = pair_of_vms(Strategy::progress_engine);
  run_in(cluster, [&](World& world) {
    MovingJob moving(world, cluster);
    moving.job->start([](Process&) {});
    EXPECT_TRUE(moving.job->join());
    const auto request = [](std::uint64_t epoch) {
      return SuspendRequest{JobId{0}, epoch, {VmId{0}}};
    };
    const TimePoint late = after(world, Duration::seconds(600));
    EXPECT_TRUE(succeeded(moving.jobs.reactivate(request(3), late)));  // it never came
    EXPECT_TRUE(failed_as(FailureKind::refused, moving.jobs.suspend(request(3), late)));
    EXPECT_TRUE(succeeded(moving.jobs.suspend(request(5), late)));
    EXPECT_TRUE(succeeded(moving.jobs.suspend(request(4), late)));  // overtaken
    EXPECT_TRUE(failed_as(FailureKind::refused, moving.jobs.suspend(request(4), late)));
    EXPECT_EQ(moving.jobs.suspensions(), 2U);
    EXPECT_TRUE(succeeded(moving.jobs.reactivate(request(5), late)));
    EXPECT_TRUE(succeeded(moving.jobs.reactivate(request(4), late)));
    EXPECT_TRUE(succeeded(moving.jobs.reactivate(request(4), late)));  // again: nothing
    EXPECT_EQ(moving.jobs.suspensions(), 0U);
  });
}

TEST_P(Migration, lets_collectives_of_every_communicator_go_by_the_new_hosts) {
  for (const Strategy strategy : {Strategy::progress_engine, Strategy::migration_thread}) {
    SCOPED_TRACE(to_name(strategy));
    MovingCluster cluster = moving_cluster({0, 1, 2, 3}, 1);
    cluster.instance.jobs[0].strategy = strategy;
    run_in(cluster, [&](World& world) {
      MovingJob moving(world, cluster);
      std::atomic<bool> moved = false;
      moving.job->start([&](Process& process) {
        Communicator ranks = process.world();
        Communicator dup = ranks.dup();
        const auto algorithm = [](const Communicator& of) {
          CollectiveShape shape;
          shape.kind = Collective::allreduce;
          shape.size = 8;
          return of.state().planner->choose(shape).algorithm;
        };
        EXPECT_NE(algorithm(ranks), Algorithm::two_level) << "each is on a host of its own";
        std::int64_t seen = 0;
        while (seen == 0) {
          const std::int64_t mine = moved ? 1 : 0;
          ranks.allreduce({&mine, sizeof mine}, {&seen, sizeof seen}, ElementType::int64,
                          Reduction::maximum);
          world.processor.compute(VmId{process.rank().index}, ms(1));
        }
        // In the first at the latest all have answered; the second goes by what they agreed on.
        for (int i = 0; i < 2; ++i) {
          ranks.barrier();
          dup.barrier();
        }
        const std::optional<Communicator> made_later = ranks.split(0, -ranks.rank());
        for (const Communicator& each : {ranks, dup, *made_later}) {
          EXPECT_EQ(algorithm(each), Algorithm::two_level);
          EXPECT_EQ(each.state().planner->generation(), ranks.state().planner->generation());
        }
      });
      EXPECT_TRUE(moving.move({VmId{1}, VmId{3}}, {HostId{0}, HostId{2}}));
      moved = true;
      const Result<void> ended = moving.job->join();
      EXPECT_TRUE(ended) << ended.error().reason;
      moving.expect_nothing_left();
    });
  }
}

TEST_P(Migration, of_random_jobs_at_random_moments_leaves_every_message_intact) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const SwarmPlan plan = draw_swarm(seed);
    run_in(plan.cluster, [&](World& world) { run_swarm(world, plan, false); });
  }
}

}  // namespace
}  // namespace ferry::mpi
