#include "core/record/job_accounts.hpp"

#include <algorithm>
#include <set>
#include <utility>

namespace ferry {
namespace {

using Intervals = std::vector<std::pair<TimePoint, TimePoint>>;

/// The time in which any of them was.
Duration length_of_union(Intervals intervals) {
  std::sort(intervals.begin(), intervals.end());
  Duration sum;
  TimePoint done;
  for (const auto& [from, to] : intervals) {
    const TimePoint begin = std::max(from, done);
    if (to <= begin) continue;
    sum += to - begin;
    done = to;
  }
  return sum;
}

/// What moves did to one job.
struct Moving {
  Intervals intervals;
  Duration longest_pause;
  std::set<TimePoint> suspensions;  ///< when their requests came
};

void account_real(JobAccount& account, const RunRecords& records, const Moving& moves) {
  const Duration moving = length_of_union(moves.intervals);
  const JobRecord& record = *account.record;
  account.reason = record.reason;
  if (!record.reason.empty()) return;
  account.elapsed = record.end - record.start;
  account.slice = record.longest_slice;
  if (account.unmigrated = records.unmigrated(account.job); !account.unmigrated) {
    account.reason = "not known how long it takes without migrations: outputs.twin is false";
    return;
  }
  account.exposed = *account.elapsed - *account.unmigrated;
  if (moving <= Duration::zero()) return;
  account.overlap = 1 - *account.exposed / moving;
  if (moves.suspensions.empty()) return;
  const Duration most = std::max(moving - moves.longest_pause, Duration::zero());
  Duration hidden;
  for (const TimePoint requested : moves.suspensions) {
    Duration underway;  // since its wave opened
    for (const auto& [from, to] : moves.intervals) {
      if (requested < from || to < requested) continue;
      const Duration since = requested - from;
      underway = underway == Duration::zero() ? since : std::min(underway, since);
    }
    hidden += *account.slice + underway;
  }
  account.overlap_bound = std::min(hidden, most) / moving;
}

}  // namespace

std::vector<JobAccount> account_jobs(const RunRecords& records, const Instance& instance) {
  std::vector<Intervals> blocked(instance.jobs.size());
  std::vector<Moving> moving(instance.jobs.size());
  for (const RankRecord& rank : records.ranks()) {
    blocked[rank.job.index].emplace_back(rank.blocked_from, rank.blocked_to);
    moving[rank.job.index].suspensions.insert(rank.requested);
  }
  for (const MoveRecord& move : records.moves()) {
    if (move.outcome == Outcome::not_started) continue;
    for (const JobId job : instance.vms[move.vm.index].jobs) {
      Moving& moves = moving[job.index];
      moves.intervals.emplace_back(move.start, move.end);
      moves.longest_pause = std::max(moves.longest_pause, move.transfer.downtime);
    }
  }
  std::vector<JobAccount> accounts(instance.jobs.size());
  for (const JobRecord& record : records.jobs()) accounts[record.job.index].record = &record;
  for (std::uint32_t i = 0; i < accounts.size(); ++i) {
    JobAccount& account = accounts[i];
    account.job = JobId{i};
    account.ranks = instance.jobs[i].ranks();
    if (account.record != nullptr) {
      account_real(account, records, moving[i]);
    } else if (instance.jobs[i].communicates()) {
      account.reason = "its ranks were not started";
    } else {
      account.exposed = length_of_union(std::move(blocked[i]));
      account.reason = "the timed workload has no work of its own and sends no messages";
    }
  }
  return accounts;
}

}  // namespace ferry
