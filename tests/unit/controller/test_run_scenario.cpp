#include <gtest/gtest.h>

#include <atomic>
#include <map>

#include "controller/cli/process_pool.hpp"
#include "controller/cli/run_scenario.hpp"
#include "controller/cli/worlds.hpp"

namespace ferry {
namespace {

class RunScenario : public ::testing::TestWithParam<WorldKind> {
 protected:
  void SetUp() override {
    if (GetParam() == WorldKind::sim && !simulation_is_built_in) {
      GTEST_SKIP() << "this build has no simulated world";
    }
  }

  /// Runs four moves of which two may run at once, in a process of their own (a world is simulated
  /// once per process); gives what `describe` says about them. `level` is what the interruption is
  /// once two moves have started.
  static std::string run(Interruption level,
                         const std::function<std::string(const RunOutcome&)>& describe) {
    const auto loaded = load_scenario("tests/cli/data/four.yaml");
    if (!loaded) return loaded.error().front().text();
    std::atomic<std::size_t> started{0};
    RunOptions options;
    options.world = GetParam();
    // What is to be struck while it runs must still run when a busy machine gets to it.
    options.speed = level == Interruption::cancel ? 1 : 10;
    options.on_progress = [&](const SessionProgress& progress) { started = progress.started; };
    options.interruption = [&] { return started >= 2 ? level : Interruption::none; };
    const auto ends =
        run_processes({[&](TaskOutput& output) {
                        const auto outcome = run_scenario_in_memory(*loaded, options);
                        output.write(outcome ? describe(**outcome) : outcome.error().message);
                        return 0;
                      }},
                      {});
    return ends[0]->reason();
  }

  static std::string outcomes(const RunOutcome& outcome) {
    std::map<std::string, int> counts;
    for (const MoveRecord& move : outcome.records.moves()) {
      ++counts[std::string(to_name(move.outcome))];
    }
    std::string text = outcome.interrupted ? "interrupted" : "whole";
    for (const auto& [name, count] : counts) text += " " + name + "=" + std::to_string(count);
    return text;
  }
};

TEST_P(RunScenario, records_every_move_and_a_journal) {
  EXPECT_EQ(run(Interruption::none, outcomes), "whole completed=4");
  EXPECT_EQ(run(Interruption::none,
                [](const RunOutcome& outcome) {
                  return std::string(outcome.journal.empty() ? "no journal" : "journal") + " " +
                         std::to_string(outcome.accounts.size()) + " accounts " +
                         std::string(to_name(outcome.verdict.outcome));
                }),
            "journal 4 accounts completed");
}

TEST_P(RunScenario, after_the_first_interruption_what_runs_finishes) {
  EXPECT_EQ(run(Interruption::start_nothing_new, outcomes),
            "interrupted completed=2 not_started=2");
}

TEST_P(RunScenario, after_the_second_interruption_what_runs_is_rolled_back) {
  EXPECT_EQ(run(Interruption::cancel, outcomes), "interrupted cancelled=2 not_started=2");
}

INSTANTIATE_TEST_SUITE_P(worlds, RunScenario, ::testing::Values(WorldKind::sim, WorldKind::threads),
                         [](const auto& world) { return std::string(to_name(world.param)); });

TEST(run_scenario, a_plan_that_is_impossible_is_bad_input) {
  const auto loaded = load_scenario("tests/cli/data/full.yaml");
  ASSERT_TRUE(loaded.has_value()) << loaded.error().front().text();
  RunOptions options;
  options.world = WorldKind::threads;
  const auto outcome = run_scenario_in_memory(*loaded, options);
  ASSERT_FALSE(outcome.has_value());
  EXPECT_EQ(outcome.error().status, ExitStatus::bad_input);
  EXPECT_EQ(
      outcome.error().message,
      "migration leave: vm2 fits on none of its destinations: target0 has 2 cores free, not 4; "
      "target1 has 2 cores free, not 4");
}

}  // namespace
}  // namespace ferry
