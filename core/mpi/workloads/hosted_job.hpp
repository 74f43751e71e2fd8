// Jobs whose ranks run outside this process, in guests for example.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/mpi/compute_watch.hpp"
#include "core/mpi/workloads/workload_log.hpp"
#include "core/ports/result.hpp"
#include "core/ports/types.hpp"
#include "core/scenario/instance.hpp"

namespace ferry::mpi {

class Board;

class HostedJob {
 public:
  virtual ~HostedJob() = default;
  /// Blocks until all ranks have been started, or, of a run that is taken over, found. Once. Throws
  /// WorldError if that cannot be.
  virtual void start() = 0;
  /// Blocks until all ranks have ended and said what they came to, in `log`, by the world's clock.
  /// An error: why the job was ended.
  virtual Result<> join(WorkloadLog& log, std::vector<std::string>& complaints) = 0;
  /// Ends the job. From any task; never blocks.
  virtual void abort(const std::string& why) = 0;
};

struct HostedJobRequest {
  JobId id;
  const JobSpec& spec;
  Board* board = nullptr;                 ///< null: the job is never suspended
  std::map<VmId, ComputeWatch*> watches;  ///< what the first ranks of these VMs compute
};

/// Who runs such jobs.
class RankHost {
 public:
  virtual ~RankHost() = default;
  /// What the request refers to outlives the job.
  [[nodiscard]] virtual std::unique_ptr<HostedJob> open(const HostedJobRequest& request) = 0;
};

}  // namespace ferry::mpi
