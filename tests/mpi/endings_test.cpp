// How jobs end that do not end well.
#include <atomic>

#include "core/mpi/communicator_state.hpp"
#include "core/mpi/engine.hpp"
#include "tests/mpi/mpi_job.hpp"

namespace ferry::mpi {
namespace {

class Endings : public MpiJob {};
FERRY_FOR_EVERY_FABRIC(Endings);

TEST_P(Endings, an_abort_from_outside_ends_every_blocked_rank) {
  run([](World& world) {
    const UniformChooser chooser(every_protocol());
    Job job({world.executor, world.processor, world.fabric}, chooser, options(4));
    job.start([](Process& process) {
      int value = 0;
      process.world().recv({&value, sizeof(value)}, any_source, any_tag);
      ADD_FAILURE() << "nobody sends";
    });
    sleep(world, ms(5));
    job.abort("the operator said so");
    job.abort("a later reason");
    const Result<void> ended = job.join();
    ASSERT_FALSE(ended);
    EXPECT_EQ(ended.error().reason, "the operator said so");
  });
}

TEST_P(Endings, an_abort_ends_a_rank_that_sends_and_never_waits) {
  run([](World& world) {
    const UniformChooser chooser(every_protocol());
    Job job({world.executor, world.processor, world.fabric}, chooser, options(2));
    std::atomic<bool> aborted = false;
    std::atomic<int> sent = 0;
    job.start([&](Process& process) {
      int value = 0;
      if (process.rank().index == 0) process.world().recv({&value, sizeof(value)}, 1, 7);
      while (!aborted) sleep(world, ms(1));
      for (int i = 0; i < 8; ++i) {  // fewer than would have to wait for room
        process.world().send({&value, sizeof(value)}, 0, 5);
        ++sent;
      }
    });
    sleep(world, ms(5));
    job.abort("the operator said so");
    aborted = true;
    const Result<void> ended = job.join();
    ASSERT_FALSE(ended);
    EXPECT_EQ(sent.load(), 0);
  });
}

TEST_P(Endings, what_a_rank_throws_ends_the_others_and_is_thrown_by_join) {
  run([](World& world) {
    const UniformChooser chooser(every_protocol());
    Job job({world.executor, world.processor, world.fabric}, chooser, options(4));
    job.start([](Process& process) {
      if (process.rank().index == 2) throw std::runtime_error("division by zero");
      process.world().recv({}, any_source, any_tag);
      ADD_FAILURE() << "nobody sends";
    });
    bool thrown = false;
    try {
      (void)job.join();
    } catch (const std::runtime_error& error) {
      thrown = error.what() == std::string("division by zero");
    }
    EXPECT_TRUE(thrown);
    const Result<void> ended = job.join();
    ASSERT_FALSE(ended);
    EXPECT_EQ(ended.error().reason, "rank 2 of job has failed");
  });
}

TEST_P(Endings, a_job_says_who_waits_for_whom) {
  if (GetParam() != &simulated_world_under_test()) {
    GTEST_SKIP() << "only where tasks take turns can it be asked while no task of the job runs";
  }
  run([](World& world) {
    const UniformChooser chooser(every_protocol());
    JobOptions with = options(4);
    with.process.migration_thread = false;
    Job job({world.executor, world.processor, world.fabric}, chooser, with);
    std::vector<std::byte> large(100'000);
    job.start([&](Process& process) {
      Communicator communicator = process.world();
      std::vector<std::byte> got(8);
      switch (process.rank().index) {
        case 0: communicator.recv({got.data(), 8}, 1, 7); break;
        case 1: communicator.send({large.data(), large.size()}, 2, 5); break;
        case 2: communicator.probe(any_source, 6); break;
        default: {
          std::vector<Request> both = {communicator.irecv({got.data(), 8}, any_source, any_tag),
                                       communicator.issend({got.data(), 8}, 0, 3)};
          communicator.wait_all(both);
        }
      }
    });
    sleep(world, ms(50));
    const std::string text = job.describe_waits();
    job.abort("seen enough");
    (void)job.join();
    EXPECT_EQ(text,
              "rank 0 waits for a message from rank 1, tag 7, communicator world (0 of 8 bytes)\n"
              "rank 1 waits for rank 2 to receive 100000 bytes, tag 5, communicator world\n"
              "rank 2 waits for a message from any rank, tag 6, communicator world (to look at "
              "it)\n"
              "rank 3 waits for a message from any rank, any tag, communicator world (0 of 8 "
              "bytes)\n"
              "rank 3 waits for rank 0 to receive 8 bytes, tag 3, communicator world\n");
  });
}

TEST(Deadlock, ends_the_job_and_says_who_waits_for_whom_where_the_world_notices) {
  const WorldUnderTest& simulated = simulated_world_under_test();
  if (const auto missing = simulated.missing()) GTEST_SKIP() << *missing;
  SmallCluster cluster = small_cluster();
  simulated.run(cluster.instance, cluster.platform, [](World& world) {
    const UniformChooser chooser(every_protocol());
    JobOptions with;
    with.name = "lu";
    with.places.resize(3, {.vm = std::nullopt, .host = HostId{0}, .container = 0, .socket = 0});
    Job job({world.executor, world.processor, world.fabric}, chooser, with);
    job.start([](Process& process) {
      Communicator communicator = process.world();
      double value = 0;
      if (process.rank().index == 2) return;
      const Rank other = 1 - communicator.rank();
      communicator.recv({&value, sizeof(value)}, other, 10 + communicator.rank());
    });
    const Result<void> ended = job.join();
    ASSERT_FALSE(ended);
    EXPECT_EQ(ended.error().reason,
              "the ranks of lu wait for each other:\n"
              "rank 0 waits for a message from rank 1, tag 10, communicator world (0 of 8 bytes)\n"
              "rank 1 waits for a message from rank 0, tag 11, communicator world (0 of 8 bytes)");
  });
}

TEST(Deadlock, in_a_collective_names_its_step) {
  const WorldUnderTest& simulated = simulated_world_under_test();
  if (const auto missing = simulated.missing()) GTEST_SKIP() << *missing;
  SmallCluster cluster = small_cluster();
  simulated.run(cluster.instance, cluster.platform, [](World& world) {
    const UniformChooser chooser(every_protocol());
    JobOptions with;
    with.places.resize(2, {.vm = std::nullopt, .host = HostId{0}, .container = 0, .socket = 0});
    Job job({world.executor, world.processor, world.fabric}, chooser, with);
    job.start([](Process& process) {
      Communicator communicator = process.world();
      communicator.barrier();
      if (process.rank().index == 1) communicator.barrier();
    });
    const Result<void> ended = job.join();
    ASSERT_FALSE(ended);
    EXPECT_EQ(ended.error().reason,
              "the ranks of job wait for each other:\n"
              "rank 1 waits for barrier number 1 of communicator world\n"
              "  in round 0: a message from rank 0, tag 1, communicator world (0 of 0 bytes)");
  });
}

}  // namespace
}  // namespace ferry::mpi
