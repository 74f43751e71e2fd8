// Every collective on every world against what it means.
#include <algorithm>
#include <array>
#include <numeric>
#include <random>

#include "core/mpi/collectives/choose.hpp"
#include "core/mpi/collectives/schedule_cache.hpp"
#include "tests/mpi/mpi_job.hpp"
#include "tests/sanitized.hpp"
#include "tests/unit/mpi/call_case.hpp"

namespace ferry::mpi {
namespace {

/// Collectives of one communicator with all memory of its ranks, each of which touches its own.
class Series {
 public:
  void add(const CollectiveCase& test, std::uint64_t seed) {
    tests_.push_back(test);
    before_.push_back(random_memory(test, seed));
    now_.push_back(before_.back());
    touched_.emplace_back(static_cast<std::size_t>(test.ranks), 0);
  }
  void add_random(int count, Rank ranks, std::size_t largest, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    for (int i = 0; i < count; ++i) add(random_case(ranks, largest, random), random());
  }
  /// Of each kind, with sizes that are no multiple of anything.
  void add_every_kind(Rank ranks, std::size_t size, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    for (std::size_t kind = 1; kind < collective_count; ++kind) {
      CollectiveCase test;
      test.kind = static_cast<Collective>(kind);
      test.ranks = ranks;
      if (has_root(test.kind)) test.root = ranks / 2;
      if (by_sizes(test.kind))
        test.sizes = uneven_sizes(test, size, random);
      else if (test.kind != Collective::barrier)
        test.size = size * (reduces(test.kind) ? sum_element : 1);
      add(test, random());
    }
  }

  [[nodiscard]] std::size_t size() const { return tests_.size(); }
  void run(Communicator in, std::size_t number) {
    run_case(in, tests_[number], memory(in, number));
  }
  [[nodiscard]] Request start(Communicator in, std::size_t number) {
    return start_case(in, tests_[number], memory(in, number));
  }
  /// What ranks of this process have.
  void expect_right() const {
    for (std::size_t i = 0; i < tests_.size(); ++i) {
      for (Rank rank = 0; rank < tests_[i].ranks; ++rank) {
        if (touched_[i][static_cast<std::size_t>(rank)] == 0) continue;
        const ByteVector& got = now_[i][static_cast<std::size_t>(rank)].output;
        EXPECT_TRUE(got == expected_output(tests_[i], before_[i], rank))
            << tests_[i].describe() << ", rank " << rank;
      }
    }
  }

 private:
  RankMemory& memory(const Communicator& in, std::size_t number) {
    touched_[number][static_cast<std::size_t>(in.rank())] = 1;
    return now_[number][static_cast<std::size_t>(in.rank())];
  }
  std::vector<CollectiveCase> tests_;
  std::vector<std::vector<RankMemory>> before_;
  std::vector<std::vector<RankMemory>> now_;
  std::vector<std::vector<char>> touched_;  ///< each by its rank alone
};

class Collectives : public MpiJob {
 protected:
  /// Runs the job and compares what its ranks have, in the process that the job ran in.
  template <class... AllSeries>
  void run_and_compare(const JobOptions& with, const Body& body, const AllSeries&... series) const {
    if (in_processes() !=
        nullptr) {  // each has its own copy, in which it has changed its own memory
      return run_in_processes(*in_processes(), with, [&](Communicator& world) {
        body(world);
        (series.expect_right(), ...);
      });
    }
    run_job(with, body, [&](Job& job, const Result<void>& ended) {
      EXPECT_TRUE(ended) << ended.error().reason;
      EXPECT_THAT(job.complaints(), testing::IsEmpty());
      (series.expect_right(), ...);
    });
  }
};
FERRY_FOR_EVERY_FABRIC_AND_PROCESSES(Collectives);

/// A few at a time, ended in another order than they were started in.
void run_several_at_once(Communicator in, Series& series, std::size_t at_once) {
  for (std::size_t begin = 0; begin < series.size(); begin += at_once) {
    std::vector<Request> requests;
    for (std::size_t i = begin; i < std::min(begin + at_once, series.size()); ++i)
      requests.push_back(series.start(in, i));
    while (const auto ended = in.wait_any(requests)) EXPECT_TRUE(requests[*ended].empty());
  }
}

TEST_P(Collectives, mean_the_same_for_any_number_of_ranks) {
  constexpr std::array few = {1U, 2U, 3U, 5U, 8U, 13U, 17U};
  for (std::uint32_t ranks = 1; ranks <= 17; ++ranks) {
    if (sanitized && std::ranges::find(few, ranks) == few.end()) continue;
    SCOPED_TRACE(ranks);
    Series series;
    for (const std::size_t size : {0, 1, 37, 601})
      series.add_every_kind(static_cast<Rank>(ranks), size, ranks);
    run_and_compare(
        options(ranks),
        [&](Communicator& world) {
          for (std::size_t i = 0; i < series.size(); ++i) series.run(world, i);
        },
        series);
  }
}

TEST_P(Collectives, go_by_every_protocol) {
  Series series;
  for (const std::size_t size : {1024, 1025, 20'000, 70'001}) series.add_every_kind(5, size, size);
  run_and_compare(
      options(5),
      [&](Communicator& world) {
        for (std::size_t i = 0; i < series.size(); ++i) series.run(world, i);
      },
      series);
}

TEST_P(Collectives, may_be_several_at_once) {
  for (const std::uint32_t ranks : {2U, 5U, 8U, 13U}) {
    SCOPED_TRACE(ranks);
    Series series;
    series.add_random(60, static_cast<Rank>(ranks), 1500, ranks);
    run_and_compare(
        options(ranks), [&](Communicator& world) { run_several_at_once(world, series, 7); },
        series);
  }
}

TEST_P(Collectives, of_several_communicators_do_not_meet) {
  // Ranks by turns in one of three parts, each part in the reverse order; 11 = 4 + 4 + 3.
  constexpr std::uint32_t ranks = 11;
  Series of_world;
  Series of_dup;
  Series of_part[3];
  of_world.add_random(20, ranks, 400, 1);
  of_dup.add_random(20, ranks, 400, 2);
  for (std::uint32_t part = 0; part < 3; ++part)
    of_part[part].add_random(20, part < 2 ? 4 : 3, 400, 3 + part);
  const auto body = [&](Communicator& world) {
    Communicator dup = world.dup();
    const std::int32_t color = world.rank() % 3;
    std::optional<Communicator> part = world.split(color, -world.rank());
    ASSERT_TRUE(part);
    EXPECT_EQ(part->rank(), part->size() - 1 - world.rank() / 3);
    for (std::size_t i = 0; i < 20; ++i) {
      std::vector<Request> requests = {of_world.start(world, i), of_dup.start(dup, i)};
      of_part[color].run(*part, i);
      world.wait_all(requests);
    }
  };
  run_and_compare(options(ranks), body, of_world, of_dup, of_part[0], of_part[1], of_part[2]);
}

TEST_P(Collectives, mean_the_same_by_every_algorithm_and_with_groups) {
  for (const AlgorithmEntry& entry : all_algorithms()) {
    const Rank ranks = entry.power_of_two ? 8 : 7;
    JobOptions with = options(static_cast<std::uint32_t>(ranks));
    auto settings = std::make_shared<CollectiveSettings>();
    settings->algorithm[static_cast<std::size_t>(entry.collective)] = entry.algorithm;
    with.process.collectives = settings;
    std::vector<std::uint32_t> group_of(static_cast<std::size_t>(ranks));
    for (std::uint32_t rank = 0; rank < group_of.size(); ++rank) group_of[rank] = rank % 3;
    with.process.locality = std::make_shared<JobLocality>(group_of);
    Series series;
    for (const std::size_t size : {3, 500}) series.add_every_kind(ranks, size, size);
    SCOPED_TRACE(std::string(to_name(entry.collective)) + " by " +
                 std::string(to_name(entry.algorithm)));
    run_and_compare(
        with,
        [&](Communicator& world) {
          for (std::size_t i = 0; i < series.size(); ++i) series.run(world, i);
        },
        series);
  }
}

/// So many tasks that what they touch is fetched ahead, in memory that comes and goes.
TEST_P(Collectives, of_many_ranks_build_more_schedules_than_they_keep) {
  if (GetParam() != &simulated_world_under_test()) GTEST_SKIP() << "others fetch nothing ahead";
  constexpr std::uint32_t ranks = 130;
  Series series;
  series.add_random(2 * ScheduleCache::most_schedules, ranks, 60, 11);
  run_and_compare(
      options(ranks), [&](Communicator& world) { run_several_at_once(world, series, 2); }, series);
}

TEST_P(Collectives, take_the_lock_of_a_migration_thread) {
  JobOptions with = options(6);
  with.process.migration_thread = true;
  Series series;
  series.add_random(30, 6, 2000, 9);
  run_and_compare(
      with, [&](Communicator& world) { run_several_at_once(world, series, 3); }, series);
}

TEST_P(Collectives, that_a_rank_leaves_out_leave_the_others_waiting_for_it) {
  if (GetParam() != &simulated_world_under_test()) {
    GTEST_SKIP() << "only where tasks take turns can it be asked while no task of the job runs";
  }
  run([](World& world) {
    const UniformChooser chooser(every_protocol());
    Job job({world.executor, world.processor, world.fabric}, chooser, options(2));
    job.start([](Process& process) {
      if (process.rank().index == 1) return;
      double value = 1;
      double sum = 0;
      process.world().allreduce({&value, 8}, {&sum, 8}, ElementType::float64, Reduction::sum);
    });
    sleep(world, ms(50));
    const std::string text = job.describe_waits();
    job.abort("seen enough");
    (void)job.join();
    EXPECT_EQ(text,
              "rank 0 waits for allreduce number 0 of communicator world\n"
              "  in round 0: a message from rank 1, tag 0, communicator world (0 of 8 bytes)\n");
  });
}

}  // namespace
}  // namespace ferry::mpi
