// Every collective by every algorithm against what it means, on real bytes.
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <numeric>
#include <random>

#include "core/mpi/collectives/choose.hpp"
#include "tests/unit/collectives/schedule_world.hpp"

namespace ferry::mpi {
namespace {

constexpr std::size_t element = 4;  // int32, the element of all reductions here

/// A collective of a whole communicator.
struct Case {
  Collective kind = Collective::none;
  AlgorithmChoice choice;
  Rank ranks = 1;
  Rank root = 0;
  std::size_t size = 0;  ///< as `CollectiveShape::size`
  /// By rank (`v` ones, reduce_scatter), or by sender x ranks + receiver (alltoallv).
  std::vector<std::size_t> sizes;
  const LocalityGroups* groups = nullptr;

  [[nodiscard]] std::string describe() const {
    std::string text(to_name(kind));
    text += " by " + std::string(to_name(choice.algorithm));
    if (choice.algorithm == Algorithm::two_level)
      text += " and " + std::string(to_name(choice.between));
    return text + ", " + std::to_string(ranks) + " ranks, root " + std::to_string(root) + ", " +
           std::to_string(size) + " bytes";
  }
};

std::size_t at(Rank rank) { return static_cast<std::size_t>(rank); }

std::size_t sum_of(std::span<const std::size_t> sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), std::size_t{0});
}

ByteVector random_bytes(std::size_t size, std::mt19937_64& random) {
  ByteVector bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

std::vector<std::size_t> row(const Case& test, Rank sender) {
  const auto begin = test.sizes.begin() + sender * test.ranks;
  return {begin, begin + test.ranks};
}
std::vector<std::size_t> column(const Case& test, Rank receiver) {
  std::vector<std::size_t> sizes;
  for (Rank sender = 0; sender < test.ranks; ++sender)
    sizes.push_back(test.sizes[at(sender * test.ranks + receiver)]);
  return sizes;
}

struct RegionSizes {
  std::size_t input = 0;
  std::size_t output = 0;
};

RegionSizes region_sizes(const Case& test, Rank rank) {
  const bool is_root = rank == test.root;
  const std::size_t all = test.size * at(test.ranks);
  switch (test.kind) {
    case Collective::bcast: return {0, test.size};
    case Collective::reduce: return {test.size, is_root ? test.size : 0};
    case Collective::allreduce:
    case Collective::scan: return {test.size, test.size};
    case Collective::gather: return {test.size, is_root ? all : 0};
    case Collective::gatherv: return {test.sizes[at(rank)], is_root ? sum_of(test.sizes) : 0};
    case Collective::scatter: return {is_root ? all : 0, test.size};
    case Collective::scatterv: return {is_root ? sum_of(test.sizes) : 0, test.sizes[at(rank)]};
    case Collective::allgather: return {test.size, all};
    case Collective::allgatherv: return {test.sizes[at(rank)], sum_of(test.sizes)};
    case Collective::alltoall: return {all, all};
    case Collective::alltoallv: return {sum_of(row(test, rank)), sum_of(column(test, rank))};
    case Collective::reduce_scatter: return {sum_of(test.sizes), test.sizes[at(rank)]};
    default: return {};
  }
}

Schedule schedule_of(const Case& test, Rank rank) {
  CollectiveShape shape{test.kind, rank, test.ranks, test.root, test.size, element, {}, {}};
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

void add(const ByteVector& from, ByteVector& into) {
  for (std::size_t i = 0; i + element <= into.size(); i += element) {
    std::uint32_t a = 0;
    std::uint32_t b = 0;
    std::memcpy(&a, &from[i], element);
    std::memcpy(&b, &into[i], element);
    b += a;
    std::memcpy(&into[i], &b, element);
  }
}

ByteVector concatenate(const std::vector<RankMemory>& memory) {
  ByteVector all;
  for (const RankMemory& rank : memory) all.insert(all.end(), rank.input.begin(), rank.input.end());
  return all;
}

ByteVector sum_up_to(const std::vector<RankMemory>& memory, std::size_t count) {
  ByteVector sum(memory[0].input.size());
  for (std::size_t i = 0; i < count; ++i) add(memory[i].input, sum);
  return sum;
}

ByteVector cut(const ByteVector& bytes, std::size_t begin, std::size_t size) {
  return {bytes.begin() + static_cast<std::ptrdiff_t>(begin),
          bytes.begin() + static_cast<std::ptrdiff_t>(begin + size)};
}

ByteVector expected_alltoall(const Case& test, const std::vector<RankMemory>& before, Rank rank) {
  ByteVector result;
  for (Rank sender = 0; sender < test.ranks; ++sender) {
    const auto sizes = test.kind == Collective::alltoall
                           ? std::vector<std::size_t>(at(test.ranks), test.size)
                           : row(test, sender);
    const std::size_t begin = sum_of(std::span(sizes).first(at(rank)));
    const ByteVector block = cut(before[at(sender)].input, begin, sizes[at(rank)]);
    result.insert(result.end(), block.begin(), block.end());
  }
  return result;
}

/// What `rank` has in the end; of others than the root nothing where the root alone has anything.
ByteVector expected(const Case& test, const std::vector<RankMemory>& before, Rank rank) {
  const std::size_t size = region_sizes(test, rank).output;
  const auto begin_of = [&] { return sum_of(std::span(test.sizes).first(at(rank))); };
  switch (test.kind) {
    case Collective::bcast: return before[at(test.root)].output;
    case Collective::reduce:
      return rank == test.root ? sum_up_to(before, before.size()) : ByteVector();
    case Collective::allreduce: return sum_up_to(before, before.size());
    case Collective::scan: return sum_up_to(before, at(rank) + 1);
    case Collective::gather:
    case Collective::gatherv: return rank == test.root ? concatenate(before) : ByteVector();
    case Collective::allgather:
    case Collective::allgatherv: return concatenate(before);
    case Collective::scatter: return cut(before[at(test.root)].input, at(rank) * size, size);
    case Collective::scatterv: return cut(before[at(test.root)].input, begin_of(), size);
    case Collective::reduce_scatter: return cut(sum_up_to(before, before.size()), begin_of(), size);
    case Collective::alltoall:
    case Collective::alltoallv: return expected_alltoall(test, before, rank);
    default: return {};
  }
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
    std::mt19937_64 random(seed);
    std::vector<RankMemory> memory(at(test.ranks));
    for (Rank rank = 0; rank < test.ranks; ++rank) {
      const RegionSizes sizes = region_sizes(test, rank);
      memory[at(rank)] = {random_bytes(sizes.input, random), random_bytes(sizes.output, random)};
    }
    const std::vector<RankMemory> before = memory;
    constexpr int eager_percents[] = {50, 0, 100};
    const WorldOptions options{seed, eager_percents[seed % 3], ElementType::int32, Reduction::sum};
    ASSERT_EQ(run_schedules(schedules, memory, options), "") << test.describe();
    for (Rank rank = 0; rank < test.ranks; ++rank) {
      ASSERT_EQ(memory[at(rank)].output, expected(test, before, rank))
          << test.describe() << ", rank " << rank << ", seed " << seed;
      ASSERT_EQ(memory[at(rank)].input, before[at(rank)].input) << test.describe();
    }
  }
}

bool reduces(Collective kind) {
  return kind == Collective::reduce || kind == Collective::allreduce || kind == Collective::scan ||
         kind == Collective::reduce_scatter;
}
bool has_root(Collective kind) {
  return kind == Collective::bcast || kind == Collective::reduce || kind == Collective::gather ||
         kind == Collective::gatherv || kind == Collective::scatter || kind == Collective::scatterv;
}
bool by_sizes(Collective kind) {
  return kind == Collective::gatherv || kind == Collective::scatterv ||
         kind == Collective::allgatherv || kind == Collective::alltoallv ||
         kind == Collective::reduce_scatter;
}

/// Nothing, one element, fewer than ranks, not divisible by them, divisible.
std::vector<std::size_t> interesting_sizes(Collective kind, Rank ranks) {
  if (kind == Collective::barrier || by_sizes(kind)) return {0};
  const std::size_t unit = reduces(kind) ? element : 1;
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
  const bool pairs = test.kind == Collective::alltoallv;
  const std::size_t unit = reduces(test.kind) ? element : 1;
  const std::size_t count = at(test.ranks) * (pairs ? at(test.ranks) : 1);
  for (const std::size_t largest : {0, 1, 2, 9}) {
    test.sizes.clear();
    for (std::size_t i = 0; i < count; ++i)
      test.sizes.push_back(largest == 2 ? 2 * unit : unit * (random() % (largest + 1)));
    for (const Rank root : interesting_roots(test.kind, test.ranks)) {
      test.root = root;
      run_case(test, seeds);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

const std::vector<Rank>& interesting_ranks() {
  static const std::vector<Rank> ranks = {1,  2,  3,  4,  5,  6,  7,  8,  9, 10,
                                          11, 12, 13, 14, 15, 16, 17, 32, 33};
  return ranks;
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
