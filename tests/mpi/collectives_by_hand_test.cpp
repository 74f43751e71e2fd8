// Schedules written by hand: the engine carries them out as they say, and notices ranks that call
// different collectives.
#include "core/mpi/engine.hpp"
#include "tests/mpi/mpi_job.hpp"

namespace ferry::mpi {
namespace {

class CollectivesByHand : public MpiJob {};
FERRY_FOR_EVERY_FABRIC_AND_PROCESSES(CollectivesByHand);

/// All to their right neighbours, `hops` times, and each adds what passes: a sum over a ring.
std::shared_ptr<const Schedule> ring_sum(Rank rank, Rank ranks, std::size_t size) {
  auto schedule = std::make_shared<Schedule>();
  schedule->scratch = 2 * size;
  const Rank right = (rank + 1) % ranks;
  const Rank left = (rank + ranks - 1) % ranks;
  const Piece in{Region::input, 0, size};
  const Piece out{Region::output, 0, size};
  const auto add_round = [&](std::uint32_t first) {
    const auto last = static_cast<std::uint32_t>(schedule->steps.size());
    schedule->rounds.push_back({first, last - first, 0, 0});
  };
  schedule->steps.push_back({Step::Kind::copy, 0, in, out});
  add_round(0);
  for (Rank hop = 0; hop + 1 < ranks; ++hop) {
    const auto first = static_cast<std::uint32_t>(schedule->steps.size());
    const auto half = [&](Rank which) {
      return Piece{Region::scratch, static_cast<std::size_t>(which % 2) * size, size};
    };
    schedule->steps.push_back({Step::Kind::send, right, hop == 0 ? in : half(hop - 1), {}});
    schedule->steps.push_back({Step::Kind::receive, left, {}, half(hop)});
    schedule->steps.push_back({Step::Kind::reduce, 0, half(hop), out});
    add_round(first);
    // What is received into was sent two rounds ago.
    schedule->rounds.back().sends_ended_before = hop == 0 ? 0 : static_cast<std::uint32_t>(hop);
    schedule->rounds.back().sends_ended_between = schedule->rounds.back().sends_ended_before;
  }
  return schedule;
}

Request start_sum(Communicator& world, const std::vector<std::int64_t>& from,
                  std::vector<std::int64_t>& into) {
  const std::size_t size = from.size() * sizeof(std::int64_t);
  Communicator::State& state = world.state();
  return state.engine->start_schedule(
      state, {Collective::allreduce, ElementType::int64, Reduction::sum, 0, size},
      ring_sum(world.rank(), world.size(), size), {from.data(), size}, {into.data(), size});
}

TEST_P(CollectivesByHand, a_schedule_is_carried_out_for_every_protocol) {
  run_job(5, [](Communicator& world) {
    for (const std::size_t count : {0, 1, 128, 129, 8192, 8193, 30'000}) {
      const std::vector<std::int64_t> from(count, world.rank() + 1);
      std::vector<std::int64_t> into(count);
      Request request = start_sum(world, from, into);
      world.wait(request);
      EXPECT_EQ(into, std::vector<std::int64_t>(count, 15)) << count;
    }
  });
}

TEST_P(CollectivesByHand, several_are_under_way_at_once_with_messages_between) {
  run_job(4, [](Communicator& world) {
    std::vector<std::vector<std::int64_t>> from;
    std::vector<std::vector<std::int64_t>> into(20);
    std::vector<Request> requests;
    for (std::int64_t i = 0; i < 20; ++i)
      from.push_back(std::vector<std::int64_t>(static_cast<std::size_t>(i) * 20, i * world.rank()));
    for (std::size_t i = 0; i < 20; ++i) {
      into[i].resize(from[i].size());
      requests.push_back(start_sum(world, from[i], into[i]));
    }
    const Rank other = world.rank() ^ 1;
    int got = 0;
    const int mine = world.rank();
    world.sendrecv({&mine, sizeof(mine)}, other, 0, {&got, sizeof(got)}, other, 0);
    EXPECT_EQ(got, other);
    // The last started are waited for first.
    for (std::size_t i = 20; i-- > 0;) {
      world.wait(requests[i]);
      EXPECT_EQ(into[i], std::vector<std::int64_t>(i * 20, static_cast<std::int64_t>(i) * 6));
    }
  });
}

/// Nobody keeps such a schedule, and with so many tasks what the last collective used is fetched
/// ahead.
TEST_P(CollectivesByHand, a_schedule_that_is_over_leaves_nothing_that_is_read) {
  if (GetParam() != &simulated_world_under_test()) GTEST_SKIP() << "others fetch nothing ahead";
  run_job(130, [](Communicator& world) {
    const std::vector<std::int64_t> from(1, 1);
    std::vector<std::int64_t> into(1);
    Request request = start_sum(world, from, into);
    world.wait(request);
    EXPECT_EQ(into[0], 130);
    for (int i = 0; i < 3; ++i) EXPECT_FALSE(world.iprobe(any_source, any_tag));  // takes time
  });
}

TEST_P(CollectivesByHand, ranks_that_call_different_sizes_are_named) {
  run_job(
      options(3),
      [](Communicator& world) {
        const std::size_t count = world.rank() == 1 ? 2 : 1;
        const std::vector<std::int64_t> from(count, 1);
        std::vector<std::int64_t> into(count);
        Request request = start_sum(world, from, into);
        world.wait(request);
      },
      [](Job&, const Result<void>& ended) {
        ASSERT_FALSE(ended);
        EXPECT_THAT(ended.error().reason,
                    testing::AnyOf("collective 0 of communicator world: rank 1 calls allreduce of "
                                   "16 bytes, rank 0 calls allreduce of 8 bytes",
                                   "collective 0 of communicator world: rank 2 calls allreduce of "
                                   "8 bytes, rank 1 calls allreduce of 16 bytes"));
      });
}

TEST_P(CollectivesByHand, ranks_that_call_different_collectives_are_named) {
  run_job(
      options(2),
      [](Communicator& world) {
        const std::vector<std::int64_t> from(1, 1);
        std::vector<std::int64_t> into(1);
        Communicator::State& state = world.state();
        Request request = state.engine->start_schedule(
            state,
            {world.rank() == 0 ? Collective::bcast : Collective::allreduce, ElementType::int64,
             Reduction::sum, 0, 8},
            ring_sum(world.rank(), 2, 8), {from.data(), 8}, {into.data(), 8});
        world.wait(request);
      },
      [](Job&, const Result<void>& ended) {
        ASSERT_FALSE(ended);
        EXPECT_THAT(ended.error().reason,
                    testing::AnyOf("collective 0 of communicator world: rank 0 calls bcast of 8 "
                                   "bytes, root 0, rank 1 calls allreduce of 8 bytes",
                                   "collective 0 of communicator world: rank 1 calls allreduce of "
                                   "8 bytes, rank 0 calls bcast of 8 bytes, root 0"));
      });
}

}  // namespace
}  // namespace ferry::mpi
