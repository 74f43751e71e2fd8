#include "core/mpi/group.hpp"

#include <algorithm>
#include <numeric>

#include "core/units/check.hpp"

namespace ferry::mpi {

Rank Group::rank_of_member(std::uint32_t job_rank) const {
  const auto member = [this](Rank of) { return members[static_cast<std::size_t>(of)]; };
  if (by_job_rank.empty()) {
    by_job_rank.resize(members.size());
    std::iota(by_job_rank.begin(), by_job_rank.end(), 0);
    std::sort(by_job_rank.begin(), by_job_rank.end(),
              [&](Rank a, Rank b) { return member(a) < member(b); });
  }
  const auto found =
      std::lower_bound(by_job_rank.begin(), by_job_rank.end(), job_rank,
                       [&](Rank of, std::uint32_t wanted) { return member(of) < wanted; });
  check(found != by_job_rank.end() && member(*found) == job_rank,
        "messages of a communicator come from its ranks");
  return *found;
}

}  // namespace ferry::mpi
