// Messages and time of the algorithms against their formulas.
#include <gtest/gtest.h>

#include <bit>
#include <functional>

#include "tests/unit/collectives/schedule_world.hpp"

namespace ferry::mpi {
namespace {

std::size_t floor_lg(std::size_t p) { return static_cast<std::size_t>(std::bit_width(p)) - 1; }
std::size_t ceil_lg(std::size_t p) {
  return p == 1 ? 0 : static_cast<std::size_t>(std::bit_width(p - 1));
}
/// Pairs that act as one so that a power of two is left.
std::size_t pairs(std::size_t p) { return p - std::bit_floor(p); }
/// Messages of one exchange of all that act, per round.
std::size_t exchange(std::size_t p) { return std::bit_floor(p) * floor_lg(p); }
std::size_t if_folded(std::size_t p, std::size_t count) { return pairs(p) > 0 ? count : 0; }

using Formula = std::function<std::size_t(std::size_t)>;
struct Count {
  Collective kind;
  Algorithm algorithm;
  Formula messages;
  Formula time;  ///< in messages after each other
};

std::vector<Schedule> schedules_of(Collective kind, Algorithm algorithm, Rank ranks,
                                   std::size_t block) {
  const bool whole = kind == Collective::bcast || kind == Collective::reduce ||
                     kind == Collective::allreduce || kind == Collective::scan;
  const std::vector<std::size_t> sizes(static_cast<std::size_t>(ranks), block);
  std::vector<Schedule> schedules(static_cast<std::size_t>(ranks));
  for (Rank rank = 0; rank < ranks; ++rank) {
    const std::size_t size = whole ? block * static_cast<std::size_t>(ranks) : block;
    build_schedule({algorithm, algorithm, ""},
                   {kind, rank, ranks, ranks / 3, size, 4, sizes, sizes}, nullptr,
                   schedules[static_cast<std::size_t>(rank)]);
  }
  return schedules;
}

std::vector<Count> counts() {
  using enum Collective;
  using enum Algorithm;
  const Formula tree = [](std::size_t p) { return p - 1; };
  const Formula all_pairs = [](std::size_t p) { return p * (p - 1); };
  const Formula all_rounds = [](std::size_t p) { return p * ceil_lg(p); };
  const Formula one = [](std::size_t p) { return p > 1 ? 1 : 0; };
  const Formula folded = [](std::size_t p) { return exchange(p) + 2 * pairs(p); };
  const Formula folded_time = [](std::size_t p) { return floor_lg(p) + if_folded(p, 2); };
  const auto window = static_cast<std::size_t>(alltoall_window);
  const Formula windows = [=](std::size_t p) { return (p - 1 + window - 1) / window; };
  const auto kept = [](std::size_t p) {  // blocks that each rank has after a binomial scatter
    std::size_t sum = p;
    for (std::size_t i = 1; i < p; ++i) sum += std::min(i & (~i + 1), p - i);
    return sum;
  };
  return {
      {barrier, dissemination, all_rounds, ceil_lg},
      {bcast, binomial, tree, floor_lg},
      {bcast, scatter_ring, [=](std::size_t p) { return p - 1 + p * p - kept(p); }, {}},
      {reduce, binomial, tree, floor_lg},
      {reduce, rabenseifner,
       [](std::size_t p) { return pairs(p) + exchange(p) + std::bit_floor(p) - 1; },
       [](std::size_t p) { return 2 * floor_lg(p) + if_folded(p, 1); }},
      {allreduce, recursive_doubling, folded, folded_time},
      {allreduce, rabenseifner, [](std::size_t p) { return 2 * exchange(p) + 2 * pairs(p); },
       [](std::size_t p) { return 2 * floor_lg(p) + if_folded(p, 2); }},
      {allreduce, ring, [](std::size_t p) { return 2 * p * (p - 1); },
       [](std::size_t p) { return 2 * (p - 1); }},
      {gather, binomial, tree, floor_lg},
      {gather, linear, tree, one},
      {scatter, binomial, tree, floor_lg},
      {scatter, linear, tree, one},
      {allgather, recursive_doubling, all_rounds, ceil_lg},
      {allgather, bruck, all_rounds, ceil_lg},
      {allgather, ring, all_pairs, tree},
      {alltoall, bruck, all_rounds, ceil_lg},
      {alltoall, pairwise, all_pairs, tree},
      {alltoall, linear, all_pairs, windows},
      {reduce_scatter, recursive_halving, folded, folded_time},
      {reduce_scatter, pairwise, all_pairs, tree},
      {scan, recursive_doubling,
       [](std::size_t p) {
         std::size_t messages = 0;
         for (std::size_t distance = 1; distance < p; distance *= 2) messages += p - distance;
         return messages;
       },
       floor_lg},
  };
}

TEST(Schedules, have_as_many_messages_and_as_long_a_chain_as_their_formulas_say) {
  for (const Count& count : counts()) {
    for (const Rank ranks : {1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 16, 17, 32, 33, 64, 70}) {
      if (!applies(count.algorithm, count.kind, ranks)) continue;
      const auto schedules = schedules_of(count.kind, count.algorithm, ranks, 4);
      const auto p = static_cast<std::size_t>(ranks);
      const std::string what = std::string(to_name(count.kind)) + " by " +
                               std::string(to_name(count.algorithm)) + ", " +
                               std::to_string(ranks) + " ranks";
      EXPECT_EQ(message_count(schedules), count.messages(p)) << what;
      if (!count.time) continue;
      // Where ranks act in pairs the formula is for the slowest of them; others may be a step
      // ahead.
      const std::size_t time = critical_path(schedules);
      EXPECT_LE(time, count.time(p)) << what;
      const bool folds = count.kind == Collective::allreduce || count.kind == Collective::reduce ||
                         count.kind == Collective::reduce_scatter;
      EXPECT_GE(time + (folds ? if_folded(p, 1) : 0), count.time(p)) << what;
    }
  }
}

/// The most that one rank sends.
std::size_t most_bytes_sent(const std::vector<Schedule>& schedules) {
  std::size_t most = 0;
  for (const Schedule& schedule : schedules) {
    std::size_t bytes = 0;
    for (const Step& step : schedule.steps)
      if (step.kind == Step::Kind::send) bytes += step.from.size;
    most = std::max(most, bytes);
  }
  return most;
}

TEST(Schedules, of_long_vectors_send_no_more_bytes_than_their_formulas_say) {
  constexpr std::size_t block = 4096;
  for (const Rank ranks : {2, 4, 8, 16, 64}) {
    const std::size_t moved = block * (static_cast<std::size_t>(ranks) - 1);
    using enum Collective;
    const auto most = [&](Collective kind, Algorithm algorithm) {
      return most_bytes_sent(schedules_of(kind, algorithm, ranks, block));
    };
    EXPECT_EQ(most(allreduce, Algorithm::rabenseifner), 2 * moved);
    EXPECT_EQ(most(allreduce, Algorithm::ring), 2 * moved);
    EXPECT_EQ(most(reduce_scatter, Algorithm::recursive_halving), moved);
    EXPECT_EQ(most(reduce_scatter, Algorithm::pairwise), moved);
    EXPECT_EQ(most(allgather, Algorithm::ring), moved);
    EXPECT_EQ(most(alltoall, Algorithm::bruck), block * static_cast<std::size_t>(ranks) / 2 *
                                                    ceil_lg(static_cast<std::size_t>(ranks)));
  }
}

TEST(Schedules, of_short_reductions_copy_nothing) {
  for (const Rank ranks : {2, 3, 8, 17})
    for (const Schedule& schedule :
         schedules_of(Collective::allreduce, Algorithm::recursive_doubling, ranks, 4))
      for (const Step& step : schedule.steps) EXPECT_NE(step.kind, Step::Kind::copy);
}

}  // namespace
}  // namespace ferry::mpi
