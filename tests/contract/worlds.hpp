// The worlds that the contract is tested on.
#pragma once

#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "core/ports/world.hpp"
#include "core/scenario/instance.hpp"
#include "tests/contract/small_cluster.hpp"

namespace ferry {

class WorldUnderTest {
 public:
  virtual ~WorldUnderTest() = default;
  /// As GoogleTest accepts it in a test's name.
  [[nodiscard]] virtual std::string name() const = 0;
  /// Why this world cannot run here; none if it can.
  [[nodiscard]] virtual std::optional<std::string> missing() const = 0;
  /// Whether packets between ranks of VMs need the VMs' devices.
  [[nodiscard]] virtual bool has_devices() const { return true; }
  /// A cluster that this world can play: a real one plays only what it has.
  [[nodiscard]] virtual SmallCluster cluster() const { return small_cluster(); }
  /// Runs `body` as the first task of a fresh world. It may run in another process: it makes its
  /// checks itself, with GoogleTest assertions, and what it writes to the caller's variables is
  /// lost.
  virtual void run(const Instance& instance, const Platform& platform,
                   const std::function<void(World&)>& body) const = 0;
};

/// All that pretend their VMs, missing ones too: these take any instance and platform.
const std::vector<const WorldUnderTest*>& worlds_under_test();
/// And the fabrics over shared memory and over RDMA devices: what is about ranks and packets is tested on these.
const std::vector<const WorldUnderTest*>& worlds_with_packets();
/// `worlds_under_test` and real hypervisors: what holds for VMs as they are is tested on these.
const std::vector<const WorldUnderTest*>& worlds_with_vms();
/// For GoogleTest's listings.
void PrintTo(const WorldUnderTest* world, std::ostream* stream);

/// In the simulated world's own file, of which there is one for builds with it and one for without.
const WorldUnderTest& simulated_world_under_test();
/// Likewise the world of real hypervisors.
const WorldUnderTest& real_world_under_test();
/// Likewise packets by an RDMA device; missing where there is none that is usable.
const WorldUnderTest& verbs_under_test();

}  // namespace ferry
