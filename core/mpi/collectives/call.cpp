#include "core/mpi/collectives/call.hpp"

#include <array>

namespace ferry::mpi {

std::string_view to_name(Collective collective) {
  static constexpr std::array<std::string_view, collective_count> names = {
      "none",       "barrier",  "bcast",     "reduce",         "allreduce",
      "gather",     "gatherv",  "scatter",   "scatterv",       "allgather",
      "allgatherv", "alltoall", "alltoallv", "reduce_scatter", "scan"};
  return names[static_cast<std::size_t>(collective)];
}

}  // namespace ferry::mpi
