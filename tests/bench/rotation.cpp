#include "tests/bench/rotation.hpp"

#include "core/ports/randomness.hpp"

namespace ferry::bench {

Rotation rotation_of(std::uint32_t count, double dirty_bytes_per_second) {
  constexpr std::uint32_t vms_per_host = 8;
  RandomStream memory(1, "memory");
  RandomStream start(1, "start");
  Rotation rotation{.hosts = (count + vms_per_host - 1) / vms_per_host,
                    .link_bytes_per_second = 1.25e9,
                    .dirty_bytes_per_second = dirty_bytes_per_second,
                    .vms = {}};
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t from = i % rotation.hosts;
    // Distinct for up to 1,024 VMs, and nearly so beyond.
    const std::uint64_t mebibytes = 1536 + (i * 389U + memory.next_below(2)) % 1024;
    rotation.vms.push_back({.from = from,
                            .to = (from + 1) % rotation.hosts,
                            .memory_mebibytes = mebibytes,
                            .start_seconds = start.next_unit()});
  }
  return rotation;
}

}  // namespace ferry::bench
