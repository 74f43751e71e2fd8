// One rank of a job whose ranks are processes that share memory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/mpi/process.hpp"
#include "core/ports/result.hpp"
#include "hw_backend/shm/region.hpp"

namespace ferry::shm {

/// What a rank came to, in its own process.
struct RankEnd {
  Result<> ended;                       ///< an error: why the job ended; the same text in all ranks
  std::vector<std::string> complaints;  ///< that did not end it: truncated messages
};

/// Opens the endpoint of `rank` in `region`, announces it, runs `body` and, unless the job has
/// ended before, waits until all `ranks` have come so far. Whatever ends the job (an error of a
/// rank, `Region::condemn` by the launcher when a process has died) ends all ranks: they leave
/// their calls. An exception of `body` ends the job too, and is thrown on. Blocks.
RankEnd run_rank(const std::shared_ptr<Region>& region, RankId rank, std::uint32_t ranks,
                 const ChannelChooser& chooser, const mpi::ProcessOptions& options,
                 const std::function<void(mpi::Process&)>& body);

}  // namespace ferry::shm
