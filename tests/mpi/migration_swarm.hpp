// Random jobs whose VMs move at random moments, several at once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/mpi/moving_job.hpp"

namespace ferry::mpi {

/// What all ranks do together.
struct SwarmStage {
  enum class Kind : std::uint8_t {
    messages,
    wildcards,
    barrier,
    bcast,
    allreduce,
    alltoall,
    dup,    ///< a new part, of all ranks
    split,  ///< a new part: each rank in one of `parts`
  };
  struct Message {
    Rank from = 0;
    Rank to = 0;
    std::size_t size = 0;
    bool synchronous = false;
  };
  Kind kind = Kind::messages;
  std::vector<Message> messages;  ///< all of them are received in the stage
  std::size_t size = 0;           ///< of collectives, a multiple of 8
  Rank root = 0;
  bool overlaps = false;  ///< the collective goes on while its ranks compute
  bool in_part = false;   ///< in the newest part that was made, not in the world
  Rank parts = 1;
};

struct SwarmMove {
  Duration start;
  std::vector<VmId> vms;
  std::vector<HostId> destinations;
  Duration patience;
};

struct SwarmPlan {
  MovingCluster cluster;
  ProcessOptions process;
  std::vector<SwarmStage> stages;
  std::vector<Duration> work;  ///< by stage and rank: before it
  /// The last rank ends before this stage; none of those after it needs it.
  std::size_t last_rank_leaves = ~std::size_t{0};
  std::vector<SwarmMove> moves;

  [[nodiscard]] Rank ranks() const {
    const JobSpec& job = cluster.instance.jobs.front();
    return static_cast<Rank>(job.vms.size() * job.ranks_per_vm);
  }
};

[[nodiscard]] SwarmPlan draw_swarm(std::uint64_t seed);

/// What a seed came to; the same each time in a simulated world.
struct SwarmEnd {
  std::int64_t nanoseconds = 0;
  std::uint64_t suspended = 0;  ///< moves whose ranks were ready in time
  std::uint64_t refused = 0;    ///< others
  std::uint64_t records = 0;    ///< a sum over all that ranks did
  std::uint64_t relocated = 0;  ///< collectives by a locality that came after a move
  bool operator==(const SwarmEnd&) const = default;
};

/// Runs the plan, with the checks of `MovingJob`, in the world's first task. `looks_in`: also at
/// ranks while they are suspended, which may be done where only one task runs at a time.
SwarmEnd run_swarm(World& world, const SwarmPlan& plan, bool looks_in);

}  // namespace ferry::mpi
