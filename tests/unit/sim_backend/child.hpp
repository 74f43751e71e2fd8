// What a simulation computed, out of the child process that it needs (an engine can be started once
// in each).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/scenario/instance.hpp"
#include "core/scenario/platform.hpp"
#include "sim_backend/sim_world.hpp"

namespace ferry {

/// Runs `body` in a forked child and returns the text that it returned. Fails the calling test, and
/// returns "", if the child throws (with the message), crashes or takes more than a minute.
std::string text_from_child(const std::function<std::string()>& body);
/// The same for numbers, exactly.
std::vector<double> numbers_from_child(const std::function<std::vector<double>()>& body);

/// A world in numbers that are easy to reckon with: hosts with room for everything, one star of
/// 1 GB/s links without latency that carries every transport, streams as fast as the links, control
/// operations that take no time.
struct PlainWorld {
  Instance instance;
  Platform platform;

  explicit PlainWorld(std::uint32_t hosts);
  /// Adds a VM with a virtual function and no IVShmem, which dirties nothing.
  VmSpec& add_vm(HostId host, Bytes memory);
  void simulate(const std::function<void(World&)>& body, const SimOptions& options = {}) const;
};

/// Seconds of simulated time.
double seconds_at(const World& world);

}  // namespace ferry
