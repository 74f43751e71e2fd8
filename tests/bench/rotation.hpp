// The load of `bench_plugin`: VMs with distinct memory that all move on by one host, on a star.
#pragma once

#include <cstdint>
#include <vector>

#include "core/scenario/scenario.hpp"
#include "tests/bench/side_by_side.hpp"

namespace ferry::bench {

struct RotatingVm {
  std::uint32_t from;
  std::uint32_t to;
  std::uint64_t memory_mebibytes;
  double start_seconds;
};

struct Rotation {
  std::uint32_t hosts;
  double link_bytes_per_second;
  double dirty_bytes_per_second;  ///< of each VM, while it runs; 0: none
  std::vector<RotatingVm> vms;
};

/// `count` VMs, eight on each host, 1.5 to 2.5 GiB each and no two alike, starting within a second.
Rotation rotation_of(std::uint32_t count, double dirty_bytes_per_second);

/// How the plugin is run.
struct PluginSettings {
  /// SimGrid's default network model (LV08) and links of 2 us, as a program has them that sets
  /// nothing but crosstraffic; else those of our engine (CM02, no latency).
  bool default_network = false;
  /// Guests compute one task of about this length after another; 0: one task without end.
  double task_seconds = 0;
};

/// How ours is run.
struct FerrySettings {
  Limits limits = {};
  Order order = Order::parallel;
  bool plan_only = false;  ///< the count: schedules that were compared
};

/// Each figure: simulated seconds from the first start to the last end.
Measured rotate_with_ferry(const Rotation& rotation, const FerrySettings& settings = {});
/// SimGrid's live-migration plugin: memory only, none of the other phases.
Measured rotate_with_plugin(const Rotation& rotation, const PluginSettings& settings);
/// The rounds of a pre-copy as plain S4U communications, one actor for each VM.
Measured rotate_with_bare_s4u(const Rotation& rotation);

}  // namespace ferry::bench
