#include "core/record/run_records.hpp"

namespace ferry {
namespace {

/// Holds the mutex if there is one.
std::optional<Lock> hold(const std::unique_ptr<Mutex>& mutex) {
  return mutex ? std::optional<Lock>(std::in_place, *mutex) : std::nullopt;
}

}  // namespace

void RunRecords::span(const SpanRecord& span) {
  const auto held = hold(mutex_);
  spans_.push_back(span);
}

void RunRecords::round(VmId vm, const RoundReport& round) {
  const auto held = hold(mutex_);
  rounds_.push_back({vm, round});
}

void RunRecords::move(const MoveRecord& move) {
  const auto held = hold(mutex_);
  moves_.push_back(move);
}

void RunRecords::rank(const RankRecord& rank) {
  const auto held = hold(mutex_);
  ranks_.push_back(rank);
}

void RunRecords::job(const JobRecord& job) {
  const auto held = hold(mutex_);
  jobs_.push_back(job);
}

std::optional<Duration> RunRecords::unmigrated(JobId job) const {
  const auto found = unmigrated_.find(job);
  return found == unmigrated_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace ferry
