// The MPI side of the handshake, as the migration framework sees it.
#pragma once

#include <cstdint>
#include <vector>

#include "core/ports/result.hpp"
#include "core/ports/types.hpp"
#include "core/units/units.hpp"

namespace ferry {

/// One suspension of one job: which VMs of it are about to move.
struct SuspendRequest {
  JobId job;
  std::uint64_t epoch = 0;  ///< rises with every request to this job
  std::vector<VmId> moving;
};

/// What a job's ranks do when their channels must go. The runtime answers for all ranks of a job.
class JobRuntime {
 public:
  virtual ~JobRuntime() = default;
  /// Blocks until every rank is ready (its channels to moving ranks drained and closed) or has said
  /// that it is not concerned. On any failure the caller reactivates the same epoch. `refused`: the
  /// job has seen this epoch or a later one.
  virtual Result<> suspend(const SuspendRequest& request, TimePoint deadline) = 0;
  /// Blocks until addresses are exchanged and held messages may flow again. Also undoes a `suspend`
  /// that failed. Not ended by cancellation: a job is never left suspended. A second request for
  /// the same epoch (by a controller that took over) ends when the first has ended.
  virtual Result<> reactivate(const SuspendRequest& request, TimePoint deadline) = 0;
  /// Blocks until a request made at once would reach the VM's first rank at this moment. At once
  /// with `any`, where the runtime does not see its ranks compute, or when they have ended; ended
  /// by cancellation.
  virtual void await_moment(VmId /*vm*/, RankMoment /*moment*/) {}
};

}  // namespace ferry
