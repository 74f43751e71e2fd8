// Many VMs: 10,000 beside a bare program of the same S4U communications, 100,000 beside 10,000, and
// the planning of both. An argument: so many VMs alone, under limits (to profile it).
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/bench/rotation.hpp"

namespace {

using namespace ferry::bench;

void against_bare(std::uint32_t count, double dirty) {
  const Rotation rotation = rotation_of(count, dirty);
  const Measured ours = best_of(3, [&] { return rotate_with_ferry(rotation); });
  const Measured bare = best_of(3, [&] { return rotate_with_bare_s4u(rotation); });
  std::printf("%u VMs, %.0f MB/s dirtied: ours %.0f flows, bare S4U %.0f\n", count, dirty / 1e6,
              ours.count, bare.count);
  const std::string load = "scale_" + std::to_string(count) + "_vms_dirtying_" +
                           std::to_string(static_cast<int>(dirty / 1e6)) + "_MBs_against_bare_s4u";
  report(load, ours.seconds, bare.seconds, "s");
  report(load + "_memory", ours.mebibytes, bare.mebibytes, "MiB");
}

/// Two out of and two into each host.
Measured run_limited(std::uint32_t count) {
  const FerrySettings settings{.limits = {.cluster = {}, .host_out = 2, .host_in = 2, .link = {}},
                               .order = ferry::Order::parallel,
                               .plan_only = false};
  const Rotation rotation = rotation_of(count, 0);
  return in_child([&] { return rotate_with_ferry(rotation, settings); });
}

/// Means of runs, and the quickest one.
class Mean {
 public:
  void add(const Measured& run) {
    quickest_ = count_ == 0 ? run.seconds : std::min(quickest_, run.seconds);
    seconds_ += run.seconds;
    mebibytes_ += run.mebibytes;
    ++count_;
  }
  [[nodiscard]] double seconds() const { return seconds_ / count_; }
  [[nodiscard]] double mebibytes() const { return mebibytes_ / count_; }
  [[nodiscard]] double quickest() const { return quickest_; }

 private:
  double quickest_ = 0;
  double seconds_ = 0;
  double mebibytes_ = 0;
  int count_ = 0;
};

/// How the work grows with the VMs alone. Means, and the quickest beside them: a short run may fall
/// between what slows the machine down, a long one cannot. Around each large run are as many small
/// ones as have as many VMs.
void growth(std::uint32_t few, std::uint32_t many) {
  const double times = static_cast<double>(many) / few;
  Mean small;
  Mean large;
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; 2 * j < times; ++j) small.add(run_limited(few));
    large.add(run_limited(many));
    for (int j = 0; 2 * j < times; ++j) small.add(run_limited(few));
  }
  std::printf(
      "limits of 2 out and in: %u VMs %.3g s, %.4g MiB; %u VMs %.3g s, %.4g MiB: %.3g times, "
      "the quickest of each %.3g times\n",
      few, small.seconds(), small.mebibytes(), many, large.seconds(), large.mebibytes(),
      large.seconds() / small.seconds(), large.quickest() / small.quickest());
  const std::string name = "scale_" + std::to_string(many) + "_vms_against_" + std::to_string(few);
  report(name + "_for_each_vm", large.seconds() / times, small.seconds(), "s");
  report(name + "_memory_for_each_vm", large.mebibytes() / times, small.mebibytes(), "MiB");
}

/// The peer: the same run under limits, which plans by name.
void planning(std::uint32_t count) {
  const Rotation rotation = rotation_of(count, 0);
  const auto plan = [&](ferry::Order order) {
    return in_child([&] {
      return rotate_with_ferry(rotation, {.limits = {}, .order = order, .plan_only = true});
    });
  };
  const Measured planned = plan(ferry::Order::planned);
  const Measured by_name = plan(ferry::Order::parallel);
  std::printf("%u moves: planned in %.3g s (%.0f schedules compared), by name in %.3g s\n", count,
              planned.seconds, planned.count, by_name.seconds);
  report("plan_" + std::to_string(count) + "_moves_against_by_name", planned.seconds,
         by_name.seconds, "s");
}

}  // namespace

int main(int count, char** words) {
  if (count == 2) {
    const auto vms = static_cast<std::uint32_t>(std::atoi(words[1]));
    const Measured alone = run_limited(vms);
    std::printf("limits of 2 out and in: %u VMs %.4g s, %.4g MiB, %.9g simulated s\n", vms,
                alone.seconds, alone.mebibytes, alone.figure);
    return 0;
  }
  against_bare(10'000, 0);
  against_bare(10'000, 10e6);
  growth(10'000, 100'000);
  planning(1'000);
  planning(10'000);
  planning(100'000);
  return 0;
}
