#include "hw_backend/agent/clock_map.hpp"

#include <gtest/gtest.h>

namespace ferry::agent {
namespace {

Duration s(double seconds) { return Duration::seconds(seconds); }
TimePoint at(double seconds) { return TimePoint::at(s(seconds)); }

TEST(ClockMaps, follow_a_guest_whose_clock_stood_still_for_a_while) {
  ClockMap map;
  EXPECT_TRUE(map.knows_nothing());
  map.know(s(100), at(10));
  map.know(s(110), at(20));
  map.know(s(110.5), at(30));  // 9.5 s on the way
  EXPECT_EQ(map.to_controller(s(95)), at(5));
  EXPECT_EQ(map.to_controller(s(105)), at(15));
  EXPECT_EQ(map.to_controller(s(110)), at(20));
  EXPECT_EQ(map.to_controller(s(110.25)), at(25));
  EXPECT_EQ(map.to_controller(s(112)), at(31.5));
}

TEST(ClockMaps, leave_out_what_goes_back) {
  ClockMap map;
  map.know(s(100), at(10));
  map.know(s(1), at(11));   // the guest was started anew
  map.know(s(101), at(9));  // an answer that was overtaken
  EXPECT_EQ(map.to_controller(s(102)), at(12));
}

}  // namespace
}  // namespace ferry::agent
