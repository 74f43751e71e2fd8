#include "hw_backend/libvirt/waiting_time.hpp"

#include <gtest/gtest.h>

#include <optional>

namespace ferry {
namespace {

class SetClock final : public Clock {
 public:
  [[nodiscard]] TimePoint now() const override { return TimePoint::at(Duration::seconds(seconds)); }
  Wake sleep_until(TimePoint) override { return Wake::timed_out; }
  double seconds = 0;
};

constexpr VmId vm0{0};
constexpr VmId vm1{1};
using Kind = WaitingTime::Kind;
using Scope = WaitingTime::Scope;

TEST(WaitingTime, what_is_not_awaited_in_a_call_is_the_controllers_own) {
  SetClock clock;
  WaitingTime times(clock, 2);
  {
    const Scope port(times, vm0, Kind::port);
    clock.seconds = 1;
    {
      const Scope awaited(times, vm0, Kind::awaited);
      times.count_call(vm0);
      clock.seconds = 4;
    }
    clock.seconds = 4.5;
  }
  clock.seconds = 9;
  const std::vector<VmTimes> read = times.read();
  EXPECT_EQ(read[0].in_port, Duration::seconds(4.5));
  EXPECT_EQ(read[0].awaited, Duration::seconds(3));
  EXPECT_EQ(read[0].own(), Duration::seconds(1.5));
  EXPECT_EQ(read[0].libvirt_calls, 1U);
  EXPECT_EQ(read[1].in_port, Duration::zero());
}

TEST(WaitingTime, what_overlaps_counts_once) {
  SetClock clock;
  WaitingTime times(clock, 2);
  std::optional<Scope> first;
  std::optional<Scope> second;
  std::optional<Scope> other;
  first.emplace(times, vm0, Kind::awaited);
  clock.seconds = 1;
  second.emplace(times, vm0, Kind::awaited);
  other.emplace(times, vm1, Kind::awaited);
  clock.seconds = 2;
  first.reset();
  clock.seconds = 5;
  second.reset();
  other.reset();
  EXPECT_EQ(times.read()[0].awaited, Duration::seconds(5));
  EXPECT_EQ(times.read()[1].awaited, Duration::seconds(4));
}

}  // namespace
}  // namespace ferry
