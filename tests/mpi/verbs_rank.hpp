// An MPI rank in a process of its own that reaches the others by an RDMA device.
#pragma once

#include "hw_backend/shm/rank_process.hpp"

namespace ferry::mpi {

/// As shm::run_rank; the region serves to find the others and to say why the job ended.
shm::RankEnd run_verbs_rank(const std::shared_ptr<shm::Region>& region, RankId rank,
                            std::uint32_t ranks, const ChannelChooser& chooser,
                            const ProcessOptions& options,
                            const std::function<void(Process&)>& body);

}  // namespace ferry::mpi
