#include "core/mpi/collectives/planner.hpp"

#include <gtest/gtest.h>

namespace ferry::mpi {
namespace {

CollectiveShape allreduce_of(std::size_t size) {
  return {Collective::allreduce, 1, 8, 0, size, 8, {}, {}};
}

std::shared_ptr<const JobLocality> pairs_of_ranks() {
  return std::make_shared<const JobLocality>(std::vector<std::uint32_t>{0, 0, 1, 1, 2, 2, 3, 3});
}

TEST(Planner, builds_a_schedule_once_for_each_call) {
  CollectivePlanner planner(1, 8, {});
  const auto first = planner.start(allreduce_of(8));
  EXPECT_EQ(planner.start(allreduce_of(16))->steps[0].from.size, 16U);
  EXPECT_EQ(planner.start(allreduce_of(8)), first);
  std::vector<std::size_t> sizes(8, 4);
  const auto gathered = planner.start({Collective::allgatherv, 1, 8, 0, 0, 1, sizes, {}});
  sizes[3] = 5;
  EXPECT_NE(planner.start({Collective::allgatherv, 1, 8, 0, 0, 1, sizes, {}}), gathered);
  sizes[3] = 4;
  EXPECT_EQ(planner.start({Collective::allgatherv, 1, 8, 0, 0, 1, sizes, {}}), gathered);
  EXPECT_EQ(planner.cache().size(), 4U);
}

TEST(Planner, keeps_only_so_many_and_not_those_that_were_used_long_ago) {
  CollectivePlanner planner(1, 8, {});
  const auto kept = planner.start(allreduce_of(8));
  for (std::size_t size = 24; size < 8 * 100; size += 8) {
    (void)planner.start(allreduce_of(size));
    EXPECT_EQ(planner.start(allreduce_of(8)), kept);
    EXPECT_LE(planner.cache().size(), ScheduleCache::most_schedules);
  }
  // Who still uses an old schedule keeps it.
  const auto used = planner.start(allreduce_of(1000));
  const std::size_t steps = used->steps.size();
  for (std::size_t size = 8008; size < 8 * 1100; size += 8) (void)planner.start(allreduce_of(size));
  EXPECT_EQ(used->steps.size(), steps);
  EXPECT_EQ(used->steps[0].from.size, 1000U);
}

TEST(Planner, bounds_the_steps_that_it_keeps) {
  constexpr Rank ranks = 6000;
  CollectivePlanner planner(1, ranks, {});
  for (const std::size_t size : {40'000, 40'001, 40'002}) {
    const auto schedule = planner.start({Collective::alltoall, 1, ranks, 0, size, 1, {}, {}});
    EXPECT_GT(schedule->steps.size(), 2U * (ranks - 1));
    EXPECT_LE(planner.cache().steps(), ScheduleCache::most_steps);
  }
  EXPECT_EQ(planner.cache().size(), 1U);
}

TEST(Planner, goes_by_new_groups_from_the_agreed_collective_on) {
  CollectivePlanner planner(1, 8, {});
  const CollectiveShape shape = allreduce_of(8);
  const auto flat = planner.start(shape);
  planner.know(1, pairs_of_ranks());
  EXPECT_EQ(planner.start(shape), flat);
  ASSERT_EQ(planner.turns().ask(1)->number, 2U);
  EXPECT_EQ(planner.start(shape), nullptr);
  planner.turns().agree(1, 3);
  EXPECT_EQ(planner.start(shape), flat);
  EXPECT_EQ(planner.choose(shape).algorithm, Algorithm::recursive_doubling);
  // Rank 1 is no leader: it sends to rank 0 and receives from it.
  const auto grouped = planner.start(shape);
  EXPECT_EQ(grouped->steps.size(), 2U);
  EXPECT_EQ(planner.choose(shape).algorithm, Algorithm::two_level);
}

}  // namespace
}  // namespace ferry::mpi
