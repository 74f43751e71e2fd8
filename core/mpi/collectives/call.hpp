// What a collective was called with: what every rank of it has to agree on, and what its steps
// need.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/mpi/types.hpp"

namespace ferry::mpi {

enum class Collective : std::uint8_t {
  none,  ///< not a collective
  barrier,
  bcast,
  reduce,
  allreduce,
  gather,
  gatherv,
  scatter,
  scatterv,
  allgather,
  allgatherv,
  alltoall,
  alltoallv,
  reduce_scatter,
  scan,
};
inline constexpr std::size_t collective_count = 15;  ///< `none` counted
std::string_view to_name(Collective collective);

struct CollectiveCall {
  Collective kind = Collective::none;
  ElementType type = ElementType::byte;
  Reduction op = Reduction::sum;
  Rank root = 0;
  /// Bytes that all ranks have to agree on; zero where they may differ (a rank's own part of the
  /// `v` ones).
  std::size_t size = 0;
};

}  // namespace ferry::mpi
