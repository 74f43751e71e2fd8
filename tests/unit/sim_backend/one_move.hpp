// One move in a plain world, and what it came to.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/unit/sim_backend/child.hpp"

namespace ferry {

inline constexpr TimePoint never = TimePoint::never();
inline constexpr double gib = 1024.0 * 1024.0 * 1024.0;
inline constexpr double link = 1e9;  // bytes a second, of PlainWorld

inline Duration ms(std::int64_t value) { return Duration::milliseconds(value); }
inline VmId vm(std::uint32_t index) { return VmId{index}; }
inline HostId host(std::uint32_t index) { return HostId{index}; }

class Rounds final : public TransferObserver {
 public:
  void round_done(VmId, const RoundReport& round) override { rounds.push_back(round); }
  std::vector<RoundReport> rounds;
};

struct Moved {
  double seconds = 0;
  double downtime = 0;
  double bytes = 0;
  int rounds = 0;
  std::string note;
  std::string reason;  // if it failed
  std::vector<RoundReport> reports;
};

inline Moved move(World& world, VmId moving, HostId to, const TransferOptions& options = {},
                  TimePoint deadline = never) {
  const double began = seconds_at(world);
  EXPECT_TRUE(world.hypervisor.detach(moving, DeviceKind::virtual_function, never));
  Rounds rounds;
  const auto result = world.hypervisor.migrate(moving, to, options, rounds, deadline);
  Moved moved;
  moved.seconds = seconds_at(world) - began;
  moved.reports = rounds.rounds;
  if (!result) {
    moved.reason = result.error().reason;
    return moved;
  }
  moved.downtime = result->downtime.to_seconds();
  moved.bytes = static_cast<double>(result->bytes.count());
  moved.rounds = result->rounds;
  moved.note = result->note;
  EXPECT_EQ(rounds.rounds.size(), static_cast<std::size_t>(result->rounds));
  double sum = 0;
  for (const RoundReport& round : rounds.rounds) sum += static_cast<double>(round.bytes.count());
  EXPECT_EQ(sum, moved.bytes);
  return moved;
}

/// Runs the checks of `body` in a world of its own.
inline void in_world(const PlainWorld& plain, const std::function<void(World&)>& body) {
  text_from_child([&] {
    plain.simulate(body);
    return "";
  });
}

}  // namespace ferry
