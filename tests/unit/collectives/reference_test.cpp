// Every collective by every algorithm against what it means, on real bytes.
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <numeric>
#include <random>

#include "core/mpi/collectives/choose.hpp"
#include "tests/sanitized.hpp"
#include "tests/unit/collectives/meaning.hpp"
#include "tests/unit/collectives/schedule_world.hpp"

namespace ferry::mpi {
namespace {

struct Case : CollectiveCase {
  AlgorithmChoice choice;
  const LocalityGroups* groups = nullptr;

  [[nodiscard]] std::string describe() const {
    std::string text = CollectiveCase::describe() + " by " + std::string(to_name(choice.algorithm));
    if (choice.algorithm == Algorithm::two_level)
      text += " and " + std::string(to_name(choice.between));
    return text;
  }
};

std::size_t at(Rank rank) { return static_cast<std::size_t>(rank); }

Schedule schedule_of(const Case& test, Rank rank) {
  CollectiveShape shape{test.kind, rank, test.ranks, test.root, test.size, sum_element, {}, {}};
  std::vector<std::size_t> sizes = test.sizes;
  std::vector<std::size_t> receive_sizes;
  const bool rooted = test.kind == Collective::gatherv || test.kind == Collective::scatterv;
  if (rooted) {
    shape.size = test.sizes[at(rank)];
    if (rank != test.root) sizes.clear();
  }
  if (test.kind == Collective::alltoallv) {
    sizes = row(test, rank);
    receive_sizes = column(test, rank);
  }
  shape.sizes = sizes;
  shape.receive_sizes = receive_sizes;
  Schedule schedule;
  build_schedule(test.choice, shape, test.groups, schedule);
  return schedule;
}

/// A barrier holds if each rank hears, through whatever ranks, of every other: as a reduction of
/// who has come would.
void expect_all_hear_of_all(const std::vector<Schedule>& schedules, const std::string& what) {
  std::vector<Schedule> carrying = schedules;
  const std::size_t ranks = schedules.size();
  std::vector<RankMemory> memory(ranks);
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    memory[rank].output.resize(ranks);
    memory[rank].output[rank] = std::byte{1};
    // Each signal carries what its sender has heard of; each receive adds it.
    Schedule& schedule = carrying[rank];
    Schedule with;
    std::size_t receives = 0;
    for (const Round& round : schedule.rounds) {
      const std::size_t first = with.steps.size();
      std::vector<Step> adds;
      for (std::size_t i = round.first; i < round.first + round.count; ++i) {
        Step step = schedule.steps[i];
        if (step.kind == Step::Kind::send) step.from = {Region::output, 0, ranks};
        if (step.kind == Step::Kind::receive) {
          step.into = {Region::scratch, receives++ * ranks, ranks};
          adds.push_back({Step::Kind::reduce, 0, step.into, {Region::output, 0, ranks}});
        }
        with.steps.push_back(step);
      }
      with.steps.insert(with.steps.end(), adds.begin(), adds.end());
      with.rounds.push_back({static_cast<std::uint32_t>(first),
                             static_cast<std::uint32_t>(with.steps.size() - first), 0, 0});
    }
    with.scratch = receives * ranks;
    schedule = with;
  }
  const WorldOptions options{7, 100, ElementType::byte, Reduction::bit_or};
  ASSERT_EQ(run_schedules(carrying, memory, options), "") << what;
  for (const RankMemory& rank : memory)
    ASSERT_EQ(rank.output, ByteVector(ranks, std::byte{1})) << what;
}

void run_case(const Case& test, std::uint64_t seeds) {
  std::vector<Schedule> schedules;
  for (Rank rank = 0; rank < test.ranks; ++rank) {
    schedules.push_back(schedule_of(test, rank));
    const RegionSizes sizes = region_sizes(test, rank);
    ASSERT_EQ(broken_rules(schedules.back(), sizes.input, sizes.output, rank, test.ranks), "")
        << test.describe();
  }
  if (test.kind == Collective::barrier) expect_all_hear_of_all(schedules, test.describe());
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    std::vector<RankMemory> memory = random_memory(test, seed);
    const std::vector<RankMemory> before = memory;
    constexpr int eager_percents[] = {50, 0, 100};
    const WorldOptions options{seed, eager_percents[seed % 3], ElementType::int32, Reduction::sum};
    ASSERT_EQ(run_schedules(schedules, memory, options), "") << test.describe();
    for (Rank rank = 0; rank < test.ranks; ++rank) {
      ASSERT_EQ(memory[at(rank)].output, expected_output(test, before, rank))
          << test.describe() << ", rank " << rank << ", seed " << seed;
      ASSERT_EQ(memory[at(rank)].input, before[at(rank)].input) << test.describe();
    }
  }
}

/// Nothing, one element, fewer than ranks, not divisible by them, divisible.
std::vector<std::size_t> interesting_sizes(Collective kind, Rank ranks) {
  if (kind == Collective::barrier || by_sizes(kind)) return {0};
  const std::size_t unit = reduces(kind) ? sum_element : 1;
  return {0, unit, unit * (at(ranks) / 2 + 1), unit * (3 * at(ranks) + 2), unit * 4 * at(ranks)};
}

std::vector<Rank> interesting_roots(Collective kind, Rank ranks) {
  if (!has_root(kind)) return {0};
  std::vector<Rank> roots;
  for (Rank root = 0; root < ranks; ++root)
    if (ranks <= 9 || root < 2 || root == ranks / 2 || root == ranks - 1) roots.push_back(root);
  return roots;
}

void run_sizes(Case test, std::uint64_t seeds) {
  for (const std::size_t size : interesting_sizes(test.kind, test.ranks)) {
    test.size = size;
    for (const Rank root : interesting_roots(test.kind, test.ranks)) {
      test.root = root;
      run_case(test, seeds);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

/// Unequal sizes with zeros, nothing at all, all the same.
void run_uneven(Case test, std::uint64_t seeds) {
  std::mt19937_64 random(at(test.ranks));
  for (const std::size_t largest : {0, 1, 2, 9}) {
    test.sizes = uneven_sizes(test, largest, random);
    for (const Rank root : interesting_roots(test.kind, test.ranks)) {
      test.root = root;
      run_case(test, seeds);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

const std::vector<Rank>& interesting_ranks() {
  static const std::vector<Rank> all = {1,  2,  3,  4,  5,  6,  7,  8,  9, 10,
                                        11, 12, 13, 14, 15, 16, 17, 32, 33};
  static const std::vector<Rank> few = {1, 2, 3, 5, 8, 13, 17, 33};
  return sanitized ? few : all;
}

class EveryAlgorithm : public testing::TestWithParam<AlgorithmEntry> {};

TEST_P(EveryAlgorithm, gives_what_the_collective_means_in_any_order) {
  const auto [kind, algorithm, power_of_two, cost] = GetParam();
  for (const Rank ranks : interesting_ranks()) {
    if (!applies(algorithm, kind, ranks)) {
      EXPECT_TRUE(power_of_two && !std::has_single_bit(static_cast<std::uint32_t>(ranks)));
      continue;
    }
    Case test;
    test.kind = kind;
    test.choice.algorithm = algorithm;
    test.ranks = ranks;
    const std::uint64_t seeds = ranks <= 9 ? 4 : 3;
    if (by_sizes(kind))
      run_uneven(test, seeds);
    else
      run_sizes(test, seeds);
    if (HasFatalFailure()) return;
  }
}

std::vector<AlgorithmEntry> flat_algorithms() {
  std::vector<AlgorithmEntry> flat;
  for (const AlgorithmEntry& entry : all_algorithms())
    if (entry.algorithm != Algorithm::two_level) flat.push_back(entry);
  return flat;
}

std::string test_name(const testing::TestParamInfo<AlgorithmEntry>& info) {
  return std::string(to_name(info.param.collective)) + "_by_" +
         std::string(to_name(info.param.algorithm));
}

INSTANTIATE_TEST_SUITE_P(Collectives, EveryAlgorithm, testing::ValuesIn(flat_algorithms()),
                         test_name);

std::vector<std::uint32_t> grouping(const std::string& how, Rank ranks) {
  std::mt19937_64 random(at(ranks));
  std::vector<std::uint32_t> group;
  for (Rank rank = 0; rank < ranks; ++rank) {
    const auto number = static_cast<std::uint32_t>(rank);
    if (how == "blocks of four") group.push_back(number / 4);
    if (how == "round robin of three") group.push_back(number % 3);
    if (how == "each alone") group.push_back(number);
    if (how == "all together") group.push_back(17);
    if (how == "random, numbers with gaps")
      group.push_back(1000 - 7 * static_cast<std::uint32_t>(random() % 5));
  }
  return group;
}

class EveryTwoLevel : public testing::TestWithParam<AlgorithmEntry> {};

TEST_P(EveryTwoLevel, gives_the_same_with_any_groups_and_any_algorithm_between_leaders) {
  for (const char* how : {"blocks of four", "round robin of three", "each alone", "all together",
                          "random, numbers with gaps"}) {
    for (const Rank ranks : interesting_ranks()) {
      const LocalityGroups groups(grouping(how, ranks));
      for (const AlgorithmEntry& between : flat_algorithms()) {
        if (between.collective != GetParam().collective) continue;
        SCOPED_TRACE(how);
        Case test;
        test.kind = GetParam().collective;
        test.choice = {Algorithm::two_level, between.algorithm, ""};
        test.ranks = ranks;
        test.groups = &groups;
        run_sizes(test, ranks <= 9 ? 3 : 1);
        if (HasFatalFailure()) return;
      }
    }
  }
}

std::vector<AlgorithmEntry> two_level_algorithms() {
  std::vector<AlgorithmEntry> result;
  for (const AlgorithmEntry& entry : all_algorithms())
    if (entry.algorithm == Algorithm::two_level) result.push_back(entry);
  return result;
}

INSTANTIATE_TEST_SUITE_P(Collectives, EveryTwoLevel, testing::ValuesIn(two_level_algorithms()),
                         test_name);

TEST(TwoLevels, send_each_group_its_data_once) {
  const LocalityGroups groups(grouping("round robin of three", 17));
  for (const Collective kind : {Collective::barrier, Collective::bcast, Collective::reduce,
                                Collective::allreduce, Collective::allgather}) {
    Case test;
    test.kind = kind;
    test.choice = {Algorithm::two_level, Algorithm::binomial, ""};
    test.ranks = 17;
    test.root = 7;
    if (!has_root(kind)) test.root = 0;
    test.size = 64;
    test.groups = &groups;
    std::size_t between = 0;
    for (Rank rank = 0; rank < test.ranks; ++rank)
      for (const Step& step : schedule_of(test, rank).steps)
        if (step.kind == Step::Kind::send && groups.group_of(step.peer) != groups.group_of(rank))
          ++between;
    // A tree of three leaders has two messages; dissemination and a ring have 3 x 2; three leaders
    // by recursive doubling fold one pair: 1 + 2 + 1.
    const std::size_t expected = has_root(kind) ? 2 : kind == Collective::allreduce ? 4 : 6;
    EXPECT_EQ(between, expected) << to_name(kind);
  }
}

}  // namespace
}  // namespace ferry::mpi
