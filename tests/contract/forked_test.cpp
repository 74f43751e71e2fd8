// That nothing which goes wrong in a forked body goes unseen.
#include "tests/contract/forked.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>

namespace ferry {
namespace {

constexpr std::chrono::seconds enough(60);

TEST(Forked, a_body_that_finds_nothing_wrong_passes) {
  run_forked(enough, [] { EXPECT_EQ(1 + 1, 2); });
}

TEST(Forked, the_body_runs_in_another_process) {
  const pid_t parent = getpid();
  int changed = 0;
  run_forked(enough, [&] {
    EXPECT_NE(getpid(), parent);
    changed = 1;
  });
  EXPECT_EQ(changed, 0);
}

TEST(Forked, every_failed_assertion_of_the_child_is_told_with_its_place_and_its_lines) {
  const int line = __LINE__ + 2;
  const auto failures = failures_of_forked(enough, [] {
    ADD_FAILURE() << "two\nlines";
    EXPECT_TRUE(true) << "nothing wrong";
    ASSERT_TRUE(false) << "a fatal one";
    ADD_FAILURE() << "not reached";
  });
  ASSERT_EQ(failures.size(), 2U);
  EXPECT_EQ(failures[0].file, __FILE__);
  EXPECT_EQ(failures[0].line, line);
  EXPECT_EQ(failures[0].message, "Failed\ntwo\nlines");
  EXPECT_EQ(failures[1].line, line + 2);
  EXPECT_EQ(failures[1].message, "Value of: false\n  Actual: false\nExpected: true\na fatal one");
}

/// The messages of what goes wrong in `body`.
std::vector<std::string> messages(std::chrono::seconds limit, const std::function<void()>& body) {
  std::vector<std::string> found;
  for (const ForkedFailure& failure : failures_of_forked(limit, body)) {
    found.push_back(failure.message);
  }
  return found;
}

using testing::ElementsAre;

TEST(Forked, a_body_that_throws_fails) {
  EXPECT_THAT(messages(enough, [] { throw std::runtime_error("for no reason"); }),
              ElementsAre("Failed\nthe body threw: for no reason"));
  EXPECT_THAT(messages(enough, [] { throw 1; }),
              ElementsAre("Failed\nthe body threw what is no std::exception"));
}

TEST(Forked, a_body_that_is_killed_fails_after_what_it_found) {
  EXPECT_THAT(
      messages(enough,
               [] {
                 ADD_FAILURE() << "found before";
                 kill(getpid(), SIGKILL);
               }),
      ElementsAre("Failed\nfound before", "the forked body was killed by signal 9 (Killed)"));
}

TEST(Forked, a_body_that_ends_the_process_fails) {
  EXPECT_THAT(messages(enough, [] { _exit(7); }),
              ElementsAre("the forked body exited with status 7"));
}

TEST(Forked, a_body_that_hangs_fails) {
  EXPECT_THAT(messages(std::chrono::seconds(1), [] { pause(); }),
              ElementsAre("the forked body had not ended after 1 s"));
}

TEST(Forked, the_failures_of_the_child_fail_in_the_caller) {
  EXPECT_NONFATAL_FAILURE(run_forked(enough, [] { _exit(7); }),
                          "the forked body exited with status 7");
}

}  // namespace
}  // namespace ferry
