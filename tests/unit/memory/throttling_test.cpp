#include "core/memory/throttling.hpp"

#include <gtest/gtest.h>

namespace ferry {
namespace {

TimePoint at(double seconds) { return TimePoint::at(Duration::seconds(seconds)); }
constexpr Bytes sent(1'000'000);
constexpr Bytes half(500'000);
constexpr Bytes more_than_half(500'001);

TEST(AutoConvergeTest,
     throttles_after_the_second_period_in_which_over_half_of_the_sent_was_dirtied) {
  AutoConverge converge(at(0));
  EXPECT_FALSE(converge.synchronised(at(1.1), more_than_half, sent));
  EXPECT_EQ(converge.throttle(), Ratio(0));
  EXPECT_TRUE(converge.synchronised(at(2.2), more_than_half, sent));
  EXPECT_EQ(converge.throttle(), Ratio(0.2));
}

TEST(AutoConvergeTest, half_is_not_too_much_and_does_not_count) {
  AutoConverge converge(at(0));
  double now = 0;
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(converge.synchronised(at(now += 1.1), half, sent));
  EXPECT_FALSE(converge.synchronised(at(now += 1.1), more_than_half, sent));
  EXPECT_FALSE(converge.synchronised(at(now += 1.1), half, sent));  // they need not be in a row
  EXPECT_TRUE(converge.synchronised(at(now += 1.1), more_than_half, sent));
}

TEST(AutoConvergeTest, adds_ten_percent_every_second_high_period_up_to_ninety_nine) {
  AutoConverge converge(at(0));
  double now = 0;
  const auto two_high_periods = [&] {
    converge.synchronised(at(now += 1.1), sent, sent);
    return converge.synchronised(at(now += 1.1), sent, sent);
  };
  for (const double expected : {0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99}) {
    EXPECT_TRUE(two_high_periods());
    EXPECT_DOUBLE_EQ(converge.throttle().value(), expected);
  }
  EXPECT_FALSE(two_high_periods());  // nothing changes any more
  EXPECT_DOUBLE_EQ(converge.throttle().value(), 0.99);
}

TEST(AutoConvergeTest, periods_of_at_most_a_second_are_counted_together) {
  AutoConverge converge(at(0));
  EXPECT_FALSE(converge.synchronised(at(0.5), sent, sent));  // too early to look
  EXPECT_FALSE(converge.synchronised(at(1.0), sent, sent));  // still not more than a second
  // Together with this one: 2 of 5 dirtied, which is not too much.
  EXPECT_FALSE(converge.synchronised(at(1.1), Bytes(0), Bytes(3'000'000)));
  EXPECT_FALSE(converge.synchronised(at(2.2), sent, sent));  // the first that is high
  EXPECT_TRUE(converge.synchronised(at(3.3), sent, sent));
}

}  // namespace
}  // namespace ferry
