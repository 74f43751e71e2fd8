// Rank processes for tests and benchmarks: forked, and waited for.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/units/units.hpp"
#include "hw_backend/shm/region.hpp"

namespace ferry::shm {

/// How a rank process ended other than by returning from its body.
struct RankFailure {
  std::uint32_t rank = 0;
  int signal = 0;       ///< that killed it; 0: it exited
  int exit_status = 0;  ///< 70: the body threw
  bool ended = false;   ///< by the launcher, because of another rank or because the time was up
  [[nodiscard]] std::string to_text() const;
};

struct LaunchSettings {
  RegionSizes sizes = {};
  Duration limit = Duration::seconds(60);  ///< then what still runs is ended
  /// Others are told (what they send to the dead is lost; the region is condemned, which ends ranks
  /// of `run_rank` with an error that names the dead one) and go on; otherwise they are ended.
  bool others_survive = false;
  /// Each rank stays on a processor of its own, if there are as many, as MPI launchers have it.
  bool bind = false;
};

/// Forks `count` processes; each runs `body(rank, region)` and exits. The region has no name, so
/// nothing stays behind whatever happens. Failures, in order of ranks; none if all went well. To be
/// called where no other thread holds locks that the body needs: fork copies them.
std::vector<RankFailure> run_shm_processes(
    std::uint32_t count, const std::function<void(std::uint32_t, std::shared_ptr<Region>)>& body,
    const LaunchSettings& settings = {});

}  // namespace ferry::shm
