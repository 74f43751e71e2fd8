// The arithmetic of the fake hypervisor's pretended guests.
#include "hw_backend/threads/guest_memory.hpp"

#include <gtest/gtest.h>

namespace ferry {
namespace {

TimePoint at(double seconds) { return TimePoint::at(Duration::seconds(seconds)); }
Bandwidth per_second(double bytes) { return Bandwidth::bytes_per_second(bytes); }

TEST(DirtyLog, fills_at_the_speed_of_what_runs_up_to_the_working_set) {
  DirtyLog log({Bytes(1000), per_second(10), per_second(90)});
  EXPECT_EQ(log.dirty(at(2)), Bytes(20));  // idle
  log.set_ranks_running(true, at(2));
  EXPECT_EQ(log.rate(), per_second(100));
  EXPECT_EQ(log.dirty(at(5)), Bytes(320));
  EXPECT_EQ(log.dirty(at(50)), Bytes(1000));
  log.set_ranks_running(false, at(5));
  EXPECT_EQ(log.dirty(at(6)), Bytes(330));
  log.set_paused(true, at(6));
  EXPECT_EQ(log.rate(), Bandwidth());
  EXPECT_EQ(log.dirty(at(60)), Bytes(330));
  log.set_paused(false, at(60));
  EXPECT_EQ(log.take(at(61)), Bytes(340));
  EXPECT_EQ(log.dirty(at(61)), Bytes());
  EXPECT_EQ(log.dirty(at(62)), Bytes(10));
}

TEST(DirtyLog, takes_no_more_than_the_working_set_and_fills_it_again) {
  DirtyLog log({Bytes(50), per_second(10), Bandwidth()});
  EXPECT_EQ(log.take(at(100)), Bytes(50));
  EXPECT_EQ(log.dirty(at(103)), Bytes(30));
}

struct SwitchOverCase {
  const char* what;
  RoundState state;
  std::optional<double> seconds;
};

TEST(SwitchOver, comes_when_what_is_pending_fits_into_the_pause) {
  const SwitchOverCase cases[] = {
      {"at once, if it fits already",
       {Bytes(60), Bytes(40), per_second(5), Bytes(1000), per_second(10), Bytes(100)},
       0.0},
      {"idle guest: (1000 - 100) / 10",
       {Bytes(1000), Bytes(), Bandwidth(), Bytes(500), per_second(10), Bytes(100)},
       90.0},
      {"while the working set fills: (1000 - 280) / (10 - 2)",
       {Bytes(1000), Bytes(), per_second(2), Bytes(1000), per_second(10), Bytes(280)},
       90.0},
      {"after it has filled: (1000 + 50 - 200) / 10",
       {Bytes(1000), Bytes(), per_second(2), Bytes(50), per_second(10), Bytes(200)},
       85.0},
      {"dirties faster than is sent, but few pages: (1000 + 50 - 200) / 10",
       {Bytes(1000), Bytes(), per_second(30), Bytes(50), per_second(10), Bytes(200)},
       85.0},
      {"what is dirty already counts: (1000 + 40 - 200) / (10 - 3) is after the round",
       {Bytes(1000), Bytes(40), per_second(3), Bytes(1000), per_second(10), Bytes(200)},
       std::nullopt},
      {"not in this round, if the working set does not fit",
       {Bytes(1000), Bytes(), per_second(30), Bytes(300), per_second(10), Bytes(200)},
       std::nullopt},
      {"not without a pause",
       {Bytes(1000), Bytes(), per_second(2), Bytes(300), per_second(10), Bytes()},
       std::nullopt},
  };
  for (const SwitchOverCase& c : cases) {
    const std::optional<Duration> found = time_to_switch_over(c.state);
    ASSERT_EQ(found.has_value(), c.seconds.has_value()) << c.what;
    if (found) {
      EXPECT_EQ(*found, Duration::seconds(*c.seconds)) << c.what;
    }
  }
}

}  // namespace
}  // namespace ferry
