#include "core/memory/precopy.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace ferry {
namespace {

constexpr double rate = 1e9;  // bytes a second, of the transfer

Bandwidth speed(double bytes_per_second) { return Bandwidth::bytes_per_second(bytes_per_second); }

struct Ran {
  std::vector<double> rounds;  // bytes of each, the pause not included
  int parts = 0;
  double pause_bytes = 0;
  double seconds = 0;  // until the pause
  bool converged = false;
};

/// Sends at `share(seconds since the start)` to the end.
template <class Share>
Ran run(Precopy precopy, double dirty_rate, double working_set, Share share) {
  Ran ran;
  for (;;) {
    const double began = ran.seconds;
    for (Bytes part = precopy.next_part(); part > Bytes(0); part = precopy.next_part()) {
      ran.seconds += static_cast<double>(part.count()) / share(ran.seconds);
      precopy.part_done(part, speed(share(ran.seconds)));
      ++ran.parts;
    }
    ran.rounds.push_back(static_cast<double>(precopy.sent_in_round().count()));
    const double dirtied = std::min(working_set, dirty_rate * (ran.seconds - began));
    const auto then = precopy.round_done(Bytes(static_cast<std::uint64_t>(dirtied)));
    if (then == Precopy::Then::next_round) continue;
    ran.converged = then == Precopy::Then::stop_and_copy;
    ran.pause_bytes = static_cast<double>(precopy.pending().count());
    return ran;
  }
}

double constant(double) { return rate; }

Precopy precopy_of(double bytes, double expected = rate, int max_rounds = 30,
                   Duration limit = Duration::milliseconds(300)) {
  const Bytes first(static_cast<std::uint64_t>(bytes));
  return {first, first, limit, max_rounds, speed(expected)};
}

TEST(GuestMemoryTest, the_share_of_zeros_is_rounded_down_to_whole_pages) {
  const GuestMemory memory = guest_memory(Bytes(10 * 4096), Ratio(0.55));
  EXPECT_EQ(memory.zero, Bytes(5 * 4096));
  EXPECT_EQ(memory.total, Bytes(10 * 4096));
}

TEST(FirstPassTest, a_zero_page_costs_nine_bytes_unless_pages_are_sent_unseen) {
  const GuestMemory memory = guest_memory(Bytes::gibi(1), Ratio(0.5));
  EXPECT_EQ(first_pass(memory, false), Bytes::mebi(512) + Bytes(131072 * 9));
  EXPECT_EQ(first_pass(memory, true), Bytes::gibi(1));
}

TEST(DirtyMeterTest, integrates_over_changes_of_the_rate_up_to_the_working_set) {
  const auto at = [](double seconds) { return TimePoint::at(Duration::seconds(seconds)); };
  DirtyMeter meter(Bytes(500), speed(100), at(0));
  EXPECT_EQ(meter.dirty(at(2)), Bytes(200));
  meter.set_rate(speed(0), at(2));
  EXPECT_EQ(meter.dirty(at(3)), Bytes(200));
  meter.set_rate(speed(50), at(3));
  EXPECT_EQ(meter.dirty(at(5)), Bytes(300));
  EXPECT_EQ(meter.dirty(at(60)), Bytes(500));
  EXPECT_EQ(meter.take(at(60)), Bytes(500));
  EXPECT_EQ(meter.dirty(at(61)), Bytes(50));  // starts again, at the rate that it had
}

TEST(PrecopyTest,
     memory_that_nobody_dirties_takes_one_round_and_the_pause_sends_the_downtime_limit) {
  const Ran ran = run(precopy_of(2e9), 0, 2e9, constant);
  ASSERT_EQ(ran.rounds.size(), 1U);
  EXPECT_TRUE(ran.converged);
  EXPECT_EQ(ran.parts, 1);
  EXPECT_NEAR(ran.pause_bytes, 0.99 * 0.3 * rate, 1);
  EXPECT_NEAR(ran.rounds[0] + ran.pause_bytes, 2e9, 1);
}

TEST(PrecopyTest, rounds_shrink_geometrically_while_less_is_dirtied_than_sent) {
  const double ratio = 0.5;
  const Ran ran = run(precopy_of(8e9), ratio * rate, 8e9, constant);
  ASSERT_TRUE(ran.converged);
  ASSERT_GE(ran.rounds.size(), 4U);
  // Each round sends what the one before let be dirtied: the excess over the threshold shrinks.
  for (std::size_t i = 1; i < ran.rounds.size(); ++i) {
    EXPECT_NEAR(ran.rounds[i], ratio * ran.rounds[i - 1], 2) << "round " << i + 1;
  }
  // In the limit (M - threshold) / (b - d), as every moment removes b - d from what is pending.
  EXPECT_NEAR(ran.seconds, (8e9 - 0.3e9) / (rate - ratio * rate), 0.02);
  EXPECT_LT(ran.pause_bytes, 0.3 * rate);
  EXPECT_EQ(ran.parts, static_cast<int>(ran.rounds.size()));
}

TEST(PrecopyTest, a_working_set_below_the_threshold_converges_however_fast_it_is_dirtied) {
  const Ran ran = run(precopy_of(4e9), 10 * rate, 2e6, constant);
  EXPECT_TRUE(ran.converged);
  EXPECT_EQ(ran.rounds.size(), 1U);
  EXPECT_NEAR(ran.pause_bytes, 0.99 * 0.3 * rate + 2e6, 2);
}

TEST(PrecopyTest, each_further_round_sends_the_working_set_if_it_is_dirtied_faster_than_sent) {
  const Ran ran = run(precopy_of(4e9, rate, 5), 2 * rate, 1e9, constant);
  EXPECT_FALSE(ran.converged);
  ASSERT_EQ(ran.rounds.size(), 5U);
  for (std::size_t i = 1; i < 5; ++i) EXPECT_NEAR(ran.rounds[i], 1e9, 2);
}

TEST(PrecopyTest, pending_is_never_more_than_the_memory_that_can_be_dirty) {
  Precopy precopy = precopy_of(1e9);
  precopy.part_done(precopy.next_part(), speed(rate));
  ASSERT_EQ(precopy.round_done(Bytes(5'000'000'000)), Precopy::Then::next_round);
  EXPECT_EQ(precopy.pending(), Bytes(1'000'000'000));
}

TEST(PrecopyTest, a_share_that_turns_out_smaller_lengthens_the_round_by_a_part) {
  // Another flow takes half of the link from the beginning, which the first estimate did not know.
  const Ran ran = run(precopy_of(2e9), 0, 0, [](double) { return rate / 2; });
  EXPECT_EQ(ran.rounds.size(), 1U);
  EXPECT_EQ(ran.parts, 2);
  EXPECT_NEAR(ran.pause_bytes, 0.99 * 0.3 * rate / 2, 1);
}

TEST(PrecopyTest, a_share_that_grew_ends_the_round_late_and_leaves_less_for_the_pause) {
  const Ran ran = run(precopy_of(2e9, rate / 2), 0, 0, constant);
  EXPECT_EQ(ran.parts, 1);
  EXPECT_NEAR(ran.pause_bytes, 0.99 * 0.3 * rate / 2, 1);  // at most the limit: half of it
}

TEST(PrecopyTest, no_bandwidth_is_known_before_a_tenth_of_a_second) {
  const Ran ran = run(precopy_of(2e8), 0, 0, constant);  // less than the threshold of 3e8
  ASSERT_EQ(ran.rounds.size(), 1U);
  EXPECT_NEAR(ran.rounds[0], 1e8, 1);
  EXPECT_NEAR(ran.pause_bytes, 1e8, 1);
}

TEST(PrecopyTest, without_any_downtime_only_memory_that_stays_clean_converges) {
  const Duration none = Duration::zero();
  EXPECT_TRUE(run(precopy_of(1e9, rate, 30, none), 0, 0, constant).converged);
  EXPECT_FALSE(run(precopy_of(1e9, rate, 30, none), 9e8, 1e9, constant).converged);
}

}  // namespace
}  // namespace ferry
