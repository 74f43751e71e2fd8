#include "core/mpi/workloads/graph500.hpp"

#include <gtest/gtest.h>

#include "tests/unit/workloads/recording_calls.hpp"

namespace ferry::mpi {
namespace {

std::uint64_t edges_of_search(const SearchPlan& plan, std::uint32_t search, std::uint32_t ranks) {
  std::uint64_t sum = 0;
  for (std::uint32_t level = 0; level < plan.levels(search); ++level) {
    for (std::uint32_t rank = 0; rank < ranks; ++rank) sum += plan.looked_at(search, level, rank);
  }
  return sum;
}

TEST(SearchPlan, looks_at_nearly_every_edge_from_both_ends) {
  // 2^10 x 16 edges; self loops are left out, and a few vertices are not reached.
  const SearchPlan plan(10, 16, 4, 1);
  EXPECT_EQ(plan.searches(), graph500_searches);
  for (std::uint32_t search = 0; search < plan.searches(); ++search) {
    const std::uint64_t edges = edges_of_search(plan, search, 4);
    EXPECT_LE(edges, 2U * 1024 * 16);
    EXPECT_GE(edges, 2U * 1024 * 16 * 9 / 10);
    EXPECT_GE(plan.levels(search), 3U);
    EXPECT_LE(plan.levels(search), 10U);
  }
}

TEST(SearchPlan, is_the_same_again_for_a_seed_and_another_for_another) {
  const SearchPlan once(9, 8, 3, 5);
  const SearchPlan again(9, 8, 3, 5);
  const SearchPlan other(9, 8, 3, 6);
  bool differs = false;
  for (std::uint32_t search = 0; search < once.searches(); ++search) {
    ASSERT_EQ(once.levels(search), again.levels(search));
    for (std::uint32_t level = 0; level < once.levels(search); ++level) {
      ASSERT_EQ(once.edges(search, level, 0, 2), again.edges(search, level, 0, 2));
    }
    differs = differs || edges_of_search(once, search, 3) != edges_of_search(other, search, 3);
  }
  EXPECT_TRUE(differs);
}

TEST(SearchPlan, scales_the_levels_of_large_graphs_and_spreads_them_evenly) {
  const SearchPlan small(16, 4, 80, 2);
  const SearchPlan large(20, 4, 80, 2);
  for (std::uint32_t search = 0; search < 3; ++search) {
    ASSERT_EQ(small.levels(search), large.levels(search));
    EXPECT_EQ(edges_of_search(small, search, 80) * 16, edges_of_search(large, search, 80));
    for (std::uint32_t level = 0; level < large.levels(search); ++level) {
      std::uint64_t sum = 0;
      for (std::uint32_t to = 0; to < 80; ++to) sum += large.edges(search, level, 7, to);
      EXPECT_EQ(sum, large.looked_at(search, level, 7));
    }
  }
}

TEST(Graph500, receives_what_the_others_send) {
  constexpr std::uint32_t ranks = 3;
  const SearchPlan plan(8, 16, ranks, 1);
  std::vector<std::unique_ptr<RecordingCalls>> calls;
  RankLog log;
  for (std::uint32_t rank = 0; rank < ranks; ++rank) {
    calls.push_back(std::make_unique<RecordingCalls>(static_cast<Rank>(rank), 3));
    log = {};
    run_graph500(plan, 4, Duration::nanoseconds(100), *calls.back(), log);
    EXPECT_EQ(log.samples.size(), 4U);
  }
  for (std::size_t call = 0; call < calls[0]->sent_parts.size(); ++call) {
    for (std::size_t from = 0; from < ranks; ++from) {
      for (std::size_t to = 0; to < ranks; ++to) {
        EXPECT_EQ(calls[from]->sent_parts[call][to], calls[to]->received_parts[call][from]);
      }
    }
  }
}

}  // namespace
}  // namespace ferry::mpi
