#include "core/record/job_accounts.hpp"

#include <algorithm>
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

void account_real(JobAccount& account, const RunRecords& records, Duration moving) {
  const JobRecord& record = *account.record;
  account.reason = record.reason;
  if (!record.reason.empty()) return;
  account.elapsed = record.end - record.start;
  if (account.unmigrated = records.unmigrated(account.job); !account.unmigrated) {
    account.reason = "not known how long it takes without migrations: outputs.twin is false";
    return;
  }
  account.exposed = *account.elapsed - *account.unmigrated;
  if (moving > Duration::zero()) account.overlap = 1 - *account.exposed / moving;
}

}  // namespace

std::vector<JobAccount> account_jobs(const RunRecords& records, const Instance& instance) {
  std::vector<Intervals> blocked(instance.jobs.size());
  for (const RankRecord& rank : records.ranks()) {
    blocked[rank.job.index].emplace_back(rank.blocked_from, rank.blocked_to);
  }
  std::vector<Intervals> moving(instance.jobs.size());
  for (const MoveRecord& move : records.moves()) {
    if (move.outcome == Outcome::not_started) continue;
    for (const JobId job : instance.vms[move.vm.index].jobs) {
      moving[job.index].emplace_back(move.start, move.end);
    }
  }
  std::vector<JobAccount> accounts(instance.jobs.size());
  for (const JobRecord& record : records.jobs()) accounts[record.job.index].record = &record;
  for (std::uint32_t i = 0; i < accounts.size(); ++i) {
    JobAccount& account = accounts[i];
    account.job = JobId{i};
    if (account.record != nullptr) {
      account_real(account, records, length_of_union(std::move(moving[i])));
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
