// What migrations cost a job, from the records of a run.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/record/run_records.hpp"
#include "core/scenario/instance.hpp"

namespace ferry {

/// One job of the instance. A value that is not known is none.
struct JobAccount {
  JobId job;
  const JobRecord* record = nullptr;   ///< null: the timed stand-in, or it was never started
  std::optional<Duration> elapsed;     ///< from its first rank's start to its last one's end
  std::optional<Duration> unmigrated;  ///< the same job without migrations
  /// elapsed - unmigrated; negative if the job gained by its new places. Of the timed stand-in: the
  /// time in which any of its ranks was blocked.
  std::optional<Duration> exposed;
  /// 1 - exposed / the time in which any of its VMs was on the move.
  std::optional<double> overlap;
  /// The longest computation between two calls of a rank that was moved.
  std::optional<Duration> slice;
  /// The largest overlap that messages leave room for: each suspension hides at most one slice of
  /// computation and what passes before ranks hear of it, and none a guest's pause. It counts every
  /// call as one over a held channel, and no time in which a rank would have waited for another
  /// anyway.
  std::optional<double> overlap_bound;
  std::uint32_t ranks = 0;
  std::string reason;  ///< why something is not known, or what went wrong with the job
};

/// By job.
std::vector<JobAccount> account_jobs(const RunRecords& records, const Instance& instance);

}  // namespace ferry
