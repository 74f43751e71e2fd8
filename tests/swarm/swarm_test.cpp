// A thousand seeds, each a small cluster in which something goes wrong; the fault table says what
// may come of it. FERRY_SWARM_SEEDS=17 or 1-2000 takes others.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>

#include "tests/sanitized.hpp"
#include "tests/swarm/run_seed.hpp"

namespace ferry {
namespace {

constexpr std::uint64_t usual_seeds = 1575;                // each cell is meant 25 times
constexpr std::uint64_t usual_seeds_with_messages = 1008;  // 16 times
// Each run forks, which sanitizers make slow.
constexpr std::uint64_t default_seeds = sanitized ? 126 : usual_seeds;
constexpr std::uint64_t default_seeds_with_messages = sanitized ? 63 : usual_seeds_with_messages;
constexpr int least_hits = 20;
/// One run in so many is made twice.
constexpr std::uint64_t repeated = 10;

std::pair<std::uint64_t, std::uint64_t> asked_seeds(std::uint64_t usual) {
  const char* const asked = std::getenv("FERRY_SWARM_SEEDS");
  if (asked == nullptr) return {1, usual};
  char* end = nullptr;
  const std::uint64_t first = std::strtoull(asked, &end, 10);
  const std::uint64_t last = *end == '-' ? std::strtoull(end + 1, nullptr, 10) : first;
  return {first, last};
}

std::string first_difference(const std::string& a, const std::string& b) {
  std::size_t at = 0;
  while (at < a.size() && at < b.size() && a[at] == b[at]) ++at;
  const std::size_t begin = at < 60 ? 0 : at - 60;
  return fmt::format("\"{}\" and \"{}\"", a.substr(begin, 120), b.substr(begin, 120));
}

class Swarm : public testing::Test {
 protected:
  /// False: it failed.
  bool run(std::uint64_t seed, Ranks ranks) {
    Drawn drawn = draw_calm(seed, ranks);
    if (has_more(seed)) {
      const SeedRun calm = run_seed(drawn);
      if (!calm.judgement.wrong.empty()) {
        report(seed, drawn, calm);
        return false;
      }
      drawn = draw_whole(seed, drawn, calm.journal);
    }
    const SeedRun whole = run_seed(drawn);
    for (const auto& [cell, count] : whole.judgement.hits) hits_[cell] += count;
    controllers_ += whole.controllers;
    jobs_ended_ += whole.judgement.jobs_ended;
    jobs_stopped_ += whole.judgement.jobs_stopped;
    ranks_blocked_ += whole.judgement.ranks_blocked;
    if (!whole.judgement.wrong.empty()) {
      report(seed, drawn, whole);
      return false;
    }
    if (seed % repeated != 0) return true;
    const SeedRun again = run_seed(drawn);
    const bool same = whole.bytes == again.bytes;
    EXPECT_TRUE(same) << "seed " << seed
                      << " gives other bytes the second time; the first difference: "
                      << first_difference(whole.bytes, again.bytes);
    return same;
  }

  static void report(std::uint64_t seed, const Drawn& drawn, const SeedRun& run) {
    const std::string file = fmt::format("{}swarm-{}.yaml", testing::TempDir(), seed);
    std::ofstream(file) << drawn.yaml;
    std::string text = fmt::format("seed {}:\n", seed);
    for (const std::string& wrong : run.judgement.wrong) text += "  " + wrong + "\n";
    text += fmt::format(
        "once more: FERRY_SWARM_SEEDS={} swarm_test; as a scenario: ferry run {}\nits journal:\n",
        seed, file);
    for (std::size_t i = 0; i < run.journal.size(); ++i) {
      text += fmt::format("{} {}\n", i + 1, run.journal[i]);
    }
    ADD_FAILURE() << text;
  }

  void print_hits() const {
    std::printf("hits of each cell of the fault table:\n%-20s", "");
    for (const FaultKind kind : all_fault_kinds) {
      std::printf(" %16s", std::string(to_name(kind)).c_str());
    }
    for (const Phase phase : all_phases) {
      std::printf("\n%-20s", std::string(to_name(phase)).c_str());
      for (const FaultKind kind : all_fault_kinds) std::printf(" %16d", hits({phase, kind}));
    }
    std::printf(
        "\n%zu controllers; of jobs that send messages %d ended and %d were stopped, moves held up "
        "ranks %d times\n",
        controllers_, jobs_ended_, jobs_stopped_, ranks_blocked_);
  }
  [[nodiscard]] int hits(Cell cell) const {
    const auto found = hits_.find(cell);
    return found == hits_.end() ? 0 : found->second;
  }

  std::map<Cell, int> hits_;
  std::size_t controllers_ = 0;
  int jobs_ended_ = 0;
  int jobs_stopped_ = 0;
  int ranks_blocked_ = 0;
};

TEST_F(Swarm, every_seed_ends_as_the_table_allows_and_every_cell_is_hit) {
  const auto [first, last] = asked_seeds(default_seeds);
  constexpr int enough_failures = 10;
  int failures = 0;
  for (std::uint64_t seed = first; seed <= last && failures < enough_failures; ++seed) {
    if (!run(seed, Ranks::timed)) ++failures;
  }
  print_hits();
  if (last - first + 1 < usual_seeds) return;
  for (const AllowedEnds& cell : fault_table()) {
    EXPECT_GE(hits({cell.phase, cell.fault}), least_hits)
        << to_name(cell.phase) << ", " << to_name(cell.fault);
  }
}

TEST_F(Swarm, jobs_that_send_messages_lose_none_whatever_goes_wrong) {
  const auto [first, last] = asked_seeds(default_seeds_with_messages);
  constexpr int enough_failures = 10;
  int failures = 0;
  for (std::uint64_t seed = first; seed <= last && failures < enough_failures; ++seed) {
    if (!run(seed, Ranks::send_messages)) ++failures;
  }
  print_hits();
  if (last - first + 1 < usual_seeds_with_messages) return;
  const int seeds = static_cast<int>(last - first + 1);
  EXPECT_GT(jobs_ended_, seeds);
  EXPECT_GT(jobs_stopped_, seeds / 20);
  EXPECT_GT(ranks_blocked_, 2 * seeds);
}

}  // namespace
}  // namespace ferry
