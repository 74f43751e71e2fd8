// The ranks of a communicator.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/mpi/types.hpp"
#include "core/ports/types.hpp"

namespace ferry::mpi {

/// As one of its ranks sees it.
struct Group {
  Rank rank = 0;  ///< of this process
  Rank size = 0;
  std::uint32_t context = 0;  ///< of point-to-point messages; collectives have the next one
  /// Ranks in the job by rank in the communicator; empty: they are the same.
  std::vector<std::uint32_t> members;
  std::string name;  ///< for people: `world`, `dup of world` ...
  /// Ranks in the communicator in the order of `members`' values. Made when it is first needed.
  mutable std::vector<Rank> by_job_rank;

  [[nodiscard]] std::uint32_t in_job(Rank of) const {
    return members.empty() ? static_cast<std::uint32_t>(of) : members[static_cast<std::size_t>(of)];
  }
  /// Of a rank of the job that is in it.
  [[nodiscard]] Rank rank_of(std::uint32_t job_rank) const {
    return members.empty() ? static_cast<Rank>(job_rank) : rank_of_member(job_rank);
  }
  [[nodiscard]] Rank rank_of_member(std::uint32_t job_rank) const;
};

}  // namespace ferry::mpi
