#include "hw_backend/libvirt/stall_policy.hpp"

#include <gtest/gtest.h>

namespace ferry {
namespace {

constexpr StallAction on = StallAction::go_on;

TEST(StallPolicy, pre_copy_that_has_done_its_rounds_is_aborted) {
  const TransferOptions options{.max_rounds = 2};
  StallPolicy policy(options);
  EXPECT_EQ(policy.iteration_begins(1), on);
  EXPECT_EQ(policy.iteration_begins(2), on);
  EXPECT_EQ(policy.iteration_begins(3), StallAction::abort);
  EXPECT_EQ(policy.note(), "");
  EXPECT_EQ(policy.reason_to_abort(), "did not converge in 2 rounds");
}

TEST(StallPolicy, auto_converge_begins_again_and_has_its_rounds) {
  const TransferOptions options{
      .max_rounds = 2, .on_stall = {OnStall::auto_converge, OnStall::postcopy, OnStall::abort}};
  StallPolicy policy(options);
  EXPECT_FALSE(policy.throttled());
  EXPECT_EQ(policy.iteration_begins(3), StallAction::begin_again);
  EXPECT_TRUE(policy.throttled());
  EXPECT_EQ(policy.iteration_begins(1), on);
  EXPECT_EQ(policy.iteration_begins(2), on);
  EXPECT_EQ(policy.iteration_begins(3), StallAction::postcopy);
  EXPECT_EQ(policy.iteration_begins(4), on);
  EXPECT_EQ(policy.note(),
            "did not converge in 2 rounds: throttled (auto_converge), then post-copy");
}

TEST(StallPolicy, a_guest_that_is_throttled_already_goes_on_for_another_set_of_rounds) {
  const TransferOptions options{
      .max_rounds = 2, .auto_converge = true, .on_stall = {OnStall::auto_converge}};
  StallPolicy policy(options);
  EXPECT_TRUE(policy.throttled());
  EXPECT_EQ(policy.iteration_begins(3), on);
  EXPECT_EQ(policy.iteration_begins(4), on);
  EXPECT_EQ(policy.iteration_begins(5), StallAction::abort);
  EXPECT_EQ(policy.reason_to_abort(),
            "did not converge in 2 rounds: was throttled already (auto_converge), then aborted");
}

TEST(StallPolicy, hybrid_switches_after_one_round_and_that_is_no_stall) {
  const TransferOptions options{.mode = MemoryMode::hybrid};
  StallPolicy policy(options);
  EXPECT_EQ(policy.iteration_begins(1), on);
  EXPECT_EQ(policy.iteration_begins(2), StallAction::postcopy);
  EXPECT_EQ(policy.iteration_begins(3), on);
  EXPECT_EQ(policy.note(), "");
}

TEST(StallPolicy, postcopy_switches_at_once) {
  const TransferOptions options{.mode = MemoryMode::postcopy};
  StallPolicy policy(options);
  EXPECT_EQ(policy.iteration_begins(1), StallAction::postcopy);
  EXPECT_EQ(policy.iteration_begins(2), on);
}

TEST(StallPolicy, offline_never_stalls) {
  const TransferOptions options{.mode = MemoryMode::offline, .max_rounds = 1};
  StallPolicy policy(options);
  EXPECT_EQ(policy.iteration_begins(5), on);
}

}  // namespace
}  // namespace ferry
