// Dividing things among ranks.
#pragma once

#include <cstdint>

namespace ferry::mpi {

/// Of `total` things over `parts`, the first ones one more: how many `part` has.
[[nodiscard]] constexpr std::uint32_t part_of(std::uint32_t total, std::uint32_t parts,
                                              std::uint32_t part) {
  return total / parts + (part < total % parts ? 1 : 0);
}

}  // namespace ferry::mpi
