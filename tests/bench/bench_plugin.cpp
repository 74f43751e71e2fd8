// Simulating migrations: ours (seven phases, records of every round) beside SimGrid's
// live-migration plugin and beside plain S4U communications (memory only, both).
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/bench/rotation.hpp"

namespace {

using namespace ferry::bench;

std::string load_name(std::uint32_t count, double dirty) {
  return "simulate_" + std::to_string(count) + "_vms_dirtying_" +
         std::to_string(std::lround(dirty / 1e6)) + "_MBs";
}

Measured plugin(const Rotation& rotation, const PluginSettings& settings) {
  return best_of(3, [&] { return rotate_with_plugin(rotation, settings); });
}

void compare(std::uint32_t count, double dirty, bool with_plugin) {
  const Rotation rotation = rotation_of(count, dirty);
  const Measured ours = best_of(3, [&] { return rotate_with_ferry(rotation); });
  const Measured bare = best_of(3, [&] { return rotate_with_bare_s4u(rotation); });
  std::printf(
      "%u VMs, %.0f MB/s dirtied: ours ends at %.3f s (%.0f flows), bare S4U at %.3f s (%.0f)",
      count, dirty / 1e6, ours.figure, ours.count, bare.figure, bare.count);
  const std::string load = load_name(count, dirty);
  if (with_plugin) {
    const Measured equal = plugin(rotation, {});
    const Measured shipped = plugin(rotation, {.default_network = true});
    std::printf(", the plugin at %.3f s (SimGrid's own network settings: %.3f s)\n", equal.figure,
                shipped.figure);
    report(load + "_against_plugin", ours.seconds, equal.seconds, "s");
    report(load + "_against_plugin_as_shipped", ours.seconds, shipped.seconds, "s");
    if (dirty > 0) {
      const Measured tasks = plugin(rotation, {.default_network = true, .task_seconds = 1});
      report(load + "_against_plugin_as_shipped_guests_with_1s_tasks", ours.seconds, tasks.seconds,
             "s");
    }
  } else {
    std::printf("\n");
  }
  report(load + "_against_bare_s4u", ours.seconds, bare.seconds, "s");
}

}  // namespace

/// An argument: more VMs, without the plugin (10,000 take it many minutes).
int main(int argc, char** argv) {
  compare(100, 0, true);
  compare(1'000, 0, true);
  compare(1'000, 10e6, true);
  compare(1'000, 60e6, true);
  compare(1'000, 100e6, true);  // two thirds of a VM's share of its link
  if (argc > 1) compare(static_cast<std::uint32_t>(std::strtoul(argv[1], nullptr, 10)), 0, false);
  return 0;
}
