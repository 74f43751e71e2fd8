#include "core/scenario/varying.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace ferry {
namespace {

TEST(Draws, of_a_fixed_quantity_take_nothing_from_the_stream) {
  RandomStream used(1, "a");
  RandomStream fresh(1, "a");
  EXPECT_EQ(draw(Varying<Bytes>{Bytes(7)}, used), Bytes(7));
  EXPECT_EQ(used.next(), fresh.next());
}

TEST(Draws, of_a_uniform_law_reach_both_ends) {
  RandomStream stream(1, "a");
  std::set<std::uint64_t> seen;
  const Varying<Bytes> law{Varying<Bytes>::Uniform{Bytes(3), Bytes(5)}};
  for (int i = 0; i < 100; ++i) seen.insert(draw(law, stream).count());
  EXPECT_EQ(seen, (std::set<std::uint64_t>{3, 4, 5}));
  const Varying<Bytes> widest{Varying<Bytes>::Uniform{Bytes(0), Bytes(~0ULL)}};
  EXPECT_NE(draw(widest, stream), draw(widest, stream));
  const Varying<Duration> times{
      Varying<Duration>::Uniform{Duration::zero(), Duration::nanoseconds(1)}};
  std::set<std::int64_t> moments;
  for (int i = 0; i < 100; ++i) moments.insert(draw(times, stream).count_nanoseconds());
  EXPECT_EQ(moments, (std::set<std::int64_t>{0, 1}));
}

TEST(Draws, of_a_choice_are_its_values) {
  RandomStream stream(1, "a");
  const Varying<Bandwidth> law{
      Varying<Bandwidth>::Choice{{Bandwidth::bytes_per_second(1), Bandwidth::bytes_per_second(9)}}};
  std::set<double> seen;
  for (int i = 0; i < 100; ++i) seen.insert(draw(law, stream).to_bytes_per_second());
  EXPECT_EQ(seen, (std::set<double>{1, 9}));
}

TEST(Draws, of_a_lognormal_law_have_its_median_and_spread) {
  RandomStream stream(1, "a");
  const Varying<Duration> law{Varying<Duration>::LogNormal{Duration::milliseconds(1'000), 0.5}};
  std::vector<double> seconds(20'001);
  for (double& value : seconds) value = draw(law, stream).to_seconds();
  std::sort(seconds.begin(), seconds.end());
  EXPECT_NEAR(seconds[10'000], 1.0, 0.02);
  EXPECT_NEAR(seconds[16'827], 1.6487, 0.05);  // e^0.5: one standard deviation above the median
}

}  // namespace
}  // namespace ferry
