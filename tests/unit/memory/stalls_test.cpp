#include "core/memory/stalls.hpp"

#include <gtest/gtest.h>

namespace ferry {
namespace {

TransferOptions options(std::vector<OnStall> on_stall, int max_rounds = 30) {
  TransferOptions made;
  made.max_rounds = max_rounds;
  made.on_stall = std::move(on_stall);
  return made;
}

TEST(StallsTest, each_entry_happens_once_and_gives_as_many_rounds_again) {
  const TransferOptions given =
      options({OnStall::auto_converge, OnStall::postcopy, OnStall::abort});
  Stalls stalls(given);
  EXPECT_EQ(stalls.round_limit(), 30);
  EXPECT_EQ(stalls.note(), "");
  EXPECT_EQ(stalls.next(), OnStall::auto_converge);
  EXPECT_EQ(stalls.round_limit(), 60);
  EXPECT_EQ(stalls.note(), "did not converge in 30 rounds: throttled (auto_converge)");
  EXPECT_EQ(stalls.next(), OnStall::postcopy);
  EXPECT_EQ(stalls.note(),
            "did not converge in 30 rounds: throttled (auto_converge), then post-copy");
}

TEST(StallsTest, the_end_of_the_list_aborts) {
  const TransferOptions given = options({OnStall::auto_converge}, 4);
  Stalls stalls(given);
  stalls.next();
  EXPECT_EQ(stalls.round_limit(), 8);
  EXPECT_EQ(stalls.next(), OnStall::abort);
  EXPECT_EQ(stalls.next(), OnStall::abort);
}

TEST(StallsTest, a_guest_that_is_throttled_from_the_start_gets_more_rounds_only) {
  TransferOptions given = options({OnStall::auto_converge}, 4);
  given.auto_converge = true;
  Stalls stalls(given);
  EXPECT_EQ(stalls.next(), OnStall::auto_converge);
  EXPECT_EQ(stalls.round_limit(), 8);
  EXPECT_EQ(stalls.note(), "did not converge in 4 rounds: was throttled already (auto_converge)");
}

TEST(StallsTest, an_abort_at_once_leaves_no_note) {
  const TransferOptions given = options({OnStall::abort});
  Stalls stalls(given);
  EXPECT_EQ(stalls.next(), OnStall::abort);
  EXPECT_EQ(stalls.note(), "");
}

TEST(StallsTest, hybrid_goes_on_as_post_copy_after_one_round_which_is_no_stall) {
  TransferOptions given = options({OnStall::abort});
  given.mode = MemoryMode::hybrid;
  Stalls stalls(given);
  EXPECT_EQ(stalls.round_limit(), 1);
  EXPECT_EQ(stalls.next(), OnStall::postcopy);
  EXPECT_EQ(stalls.note(), "");
}

}  // namespace
}  // namespace ferry
