// What a run records of a job, from what its ranks logged.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/mpi/workloads/workload_log.hpp"
#include "core/ports/recorder.hpp"
#include "core/ports/result.hpp"

namespace ferry::mpi {

/// How a job ended.
struct JobEnd {
  Result<> ended;                       ///< an error: why it did not come to its end
  TimePoint at;                         ///< when that was, if it did not
  std::vector<std::string> complaints;  ///< that did not end it
};

/// `moved`: by rank, whether its VM was moved; empty: none was. `outages`: when VMs of the job were
/// on the move; samples of benchmarks meanwhile are kept apart.
[[nodiscard]] JobRecord make_job_record(JobId job, WorkloadType type, const WorkloadLog& log,
                                        const JobEnd& end, const std::vector<bool>& moved,
                                        std::span<const Interval> outages);

}  // namespace ferry::mpi
