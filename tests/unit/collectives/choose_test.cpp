#include "core/mpi/collectives/choose.hpp"

#include <gtest/gtest.h>

namespace ferry::mpi {
namespace {

using enum Algorithm;

struct Choice {
  Collective kind;
  Rank ranks;
  std::size_t bytes;
  Algorithm expected;
};

TEST(Choice, goes_by_bytes_and_ranks) {
  const std::vector<Choice> choices = {
      {Collective::barrier, 64, 0, dissemination},
      {Collective::bcast, 64, 12287, binomial},
      {Collective::bcast, 7, 100'000'000, binomial},
      {Collective::bcast, 64, 12288, scatter_doubling},
      {Collective::bcast, 63, 12288, binomial},
      {Collective::bcast, 63, 63 * 2048 - 1, binomial},
      {Collective::bcast, 63, 63 * 2048, scatter_ring},
      {Collective::bcast, 8000, 1 << 20, binomial},
      {Collective::bcast, 8192, 1 << 20, scatter_doubling},
      {Collective::bcast, 64, 524288, scatter_ring},
      {Collective::reduce, 64, 2048, binomial},
      {Collective::reduce, 64, 2056, rabenseifner},
      {Collective::allreduce, 64, 8, recursive_doubling},
      {Collective::allreduce, 64, 2048, recursive_doubling},
      {Collective::allreduce, 64, 2056, rabenseifner},
      {Collective::allreduce, 64, 64'000'000, rabenseifner},
      {Collective::allreduce, 48, 48 * 8192 - 8, rabenseifner},
      {Collective::allreduce, 48, 48 * 8192, ring},
      {Collective::gather, 64, 5999, binomial},
      {Collective::gather, 64, 6000, linear},
      {Collective::scatter, 64, 5999, binomial},
      {Collective::scatter, 64, 6000, linear},
      {Collective::gatherv, 64, 8, linear},
      {Collective::scatterv, 64, 8, linear},
      {Collective::allgather, 64, 8191, recursive_doubling},
      {Collective::allgather, 64, 8192, ring},
      {Collective::allgather, 1024, 8191, recursive_doubling},
      {Collective::allgather, 80, 8191, bruck},
      {Collective::allgather, 80, 8192, ring},
      {Collective::allgather, 6, 13653, bruck},
      {Collective::allgather, 6, 13654, ring},
      {Collective::allgatherv, 80, 80 * 8192 - 1, bruck},
      {Collective::allgatherv, 80, 80 * 8192, ring},
      {Collective::alltoall, 8, 256, bruck},
      {Collective::alltoall, 7, 256, linear},
      {Collective::alltoall, 8, 257, linear},
      {Collective::alltoall, 8, 32769, pairwise},
      {Collective::alltoallv, 64, 8, linear},
      {Collective::reduce_scatter, 64, 524287, recursive_halving},
      {Collective::reduce_scatter, 64, 524288, pairwise},
      {Collective::scan, 64, 8, recursive_doubling},
  };
  for (const Choice& choice : choices) {
    const AlgorithmChoice chosen =
        choose_algorithm(choice.kind, choice.ranks, choice.bytes, nullptr, {});
    EXPECT_EQ(to_name(chosen.algorithm), to_name(choice.expected))
        << to_name(choice.kind) << ", " << choice.ranks << " ranks, " << choice.bytes << " bytes";
    EXPECT_FALSE(chosen.reason.empty());
  }
}

TEST(Choice, is_always_one_that_can_be) {
  std::vector<std::uint32_t> group;
  for (Rank ranks = 1; ranks <= 40; ++ranks) {
    group.push_back(static_cast<std::uint32_t>(ranks) / 3);
    const LocalityGroups groups(group);
    for (const AlgorithmEntry& entry : all_algorithms()) {
      for (const std::size_t bytes : {0, 1, 300, 3000, 30'000, 3'000'000}) {
        CollectiveSettings settings;
        for (const bool set : {false, true}) {
          if (set) settings.algorithm[static_cast<std::size_t>(entry.collective)] = entry.algorithm;
          for (const LocalityGroups* given :
               {static_cast<const LocalityGroups*>(nullptr), &groups}) {
            const AlgorithmChoice chosen =
                choose_algorithm(entry.collective, ranks, bytes, given, settings);
            EXPECT_TRUE(applies(chosen.algorithm, entry.collective, ranks));
            EXPECT_TRUE(chosen.algorithm != two_level || (given != nullptr && !given->flat()));
          }
        }
      }
    }
  }
}

TEST(Choice, uses_leaders_where_groups_have_several_ranks) {
  const std::vector<std::uint32_t> fours = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2};
  const LocalityGroups groups(fours);
  const auto chosen = [&](Collective kind, std::size_t bytes) {
    return choose_algorithm(kind, 12, bytes, &groups, {});
  };
  EXPECT_EQ(chosen(Collective::allreduce, 8).algorithm, two_level);
  EXPECT_EQ(chosen(Collective::allreduce, 8).between, recursive_doubling);
  EXPECT_EQ(chosen(Collective::allreduce, 1 << 20).between, ring);
  EXPECT_EQ(chosen(Collective::bcast, 8).algorithm, two_level);
  EXPECT_EQ(chosen(Collective::bcast, 1 << 20).algorithm, scatter_ring);
  EXPECT_EQ(chosen(Collective::alltoall, 8).algorithm, bruck);
  CollectiveSettings one_level;
  one_level.two_level = false;
  EXPECT_EQ(choose_algorithm(Collective::allreduce, 12, 8, &groups, one_level).algorithm,
            recursive_doubling);
  const LocalityGroups together(std::vector<std::uint32_t>(12, 5));
  EXPECT_EQ(choose_algorithm(Collective::barrier, 12, 0, &together, {}).algorithm, dissemination);
}

TEST(Choice, can_be_set_by_name) {
  CollectiveSettings settings;
  settings.algorithm[static_cast<std::size_t>(Collective::allreduce)] =
      *parse_algorithm(Collective::allreduce, "ring");
  const AlgorithmChoice chosen = choose_algorithm(Collective::allreduce, 64, 8, nullptr, settings);
  EXPECT_EQ(chosen.algorithm, ring);
  EXPECT_EQ(chosen.reason, "it was set");
  EXPECT_EQ(parse_algorithm(Collective::allgather, "brook").error(),
            "'brook' is no algorithm of allgather; write one of recursive_doubling, bruck, ring, "
            "two_level");
}

TEST(Groups, are_numbered_by_their_lowest_rank_and_list_their_members_in_order) {
  const LocalityGroups groups(std::vector<std::uint32_t>{9, 4, 9, 4, 7});
  ASSERT_EQ(groups.count(), 3U);
  EXPECT_EQ(std::vector<Rank>(groups.members(0).begin(), groups.members(0).end()),
            (std::vector<Rank>{0, 2}));
  EXPECT_EQ(std::vector<Rank>(groups.members(1).begin(), groups.members(1).end()),
            (std::vector<Rank>{1, 3}));
  EXPECT_EQ(groups.group_of(4), 2U);
  EXPECT_FALSE(groups.flat());
  EXPECT_TRUE(LocalityGroups(std::vector<std::uint32_t>{1, 2, 3}).flat());
  EXPECT_TRUE(LocalityGroups(std::vector<std::uint32_t>{3, 3, 3}).flat());
}

}  // namespace
}  // namespace ferry::mpi
