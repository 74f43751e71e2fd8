#include "core/record/summary.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <tuple>
#include <utility>
#include <vector>

namespace ferry {
namespace {

/// Mean and largest of durations.
class Sample {
 public:
  void add(Duration value) {
    sum_ += value.count_nanoseconds();
    largest_ = count_ == 0 ? value : std::max(largest_, value);
    ++count_;
  }
  /// Rounded to the nearest nanosecond.
  [[nodiscard]] std::optional<Duration> mean() const {
    if (count_ == 0) return std::nullopt;
    return Duration::nanoseconds(static_cast<std::int64_t>((sum_ + count_ / 2) / count_));
  }
  /// Of all together.
  [[nodiscard]] double seconds() const { return static_cast<double>(sum_) * 1e-9; }
  [[nodiscard]] std::optional<Duration> largest() const {
    return count_ == 0 ? std::nullopt : std::optional(largest_);
  }

 private:
  __extension__ using Wide = __int128;  // 100,000 moves of a day each pass 64 bits of nanoseconds
  Wide sum_ = 0;
  std::int64_t count_ = 0;
  Duration largest_;
};

Metric seconds(std::string name, std::optional<Duration> value, std::string_view why_not) {
  if (!value) return {std::move(name), "", "s", std::string(why_not)};
  return {std::move(name), csv_seconds(*value), "s", ""};
}

/// Of the VMs' networks while they moved.
Metric throughput(const Sample& totals, const Sample& lost, std::string_view why_not) {
  if (totals.seconds() <= 0) return {"throughput", "", "", std::string(why_not)};
  const double share = 1 - lost.seconds() / totals.seconds();
  return {"throughput", fmt::format("{:.6f}", std::clamp(share, 0.0, 1.0)), "", ""};
}

Metric mean_share(std::string name, double sum, std::size_t count, const std::string& why_not) {
  if (count == 0) return {std::move(name), "", "", why_not};
  return {std::move(name), fmt::format("{:.6f}", sum / static_cast<double>(count)), "", ""};
}

/// Of jobs whose ranks sent messages; no line where there are none.
void add_jobs(std::vector<Metric>& metrics, const std::vector<JobAccount>& jobs) {
  Sample elapsed;
  Sample unmigrated;
  Sample exposed;
  double overlaps = 0;
  double bounds = 0;
  std::size_t overlapping = 0;
  std::size_t bounded = 0;
  double rank_seconds = 0;
  std::uint64_t messages = 0;
  std::string why_not;
  bool some = false;
  for (const JobAccount& job : jobs) {
    if (job.record == nullptr) continue;
    some = true;
    messages += job.record->messages;
    if (why_not.empty()) why_not = job.reason;
    if (job.elapsed) elapsed.add(*job.elapsed);
    if (job.unmigrated) unmigrated.add(*job.unmigrated);
    if (job.exposed) {
      exposed.add(*job.exposed);
      rank_seconds += job.exposed->to_seconds() * job.ranks;
    }
    if (job.overlap_bound) {
      bounds += *job.overlap_bound;
      ++bounded;
    }
    if (job.overlap) {
      overlaps += *job.overlap;
      ++overlapping;
    }
  }
  if (!some) return;
  metrics.push_back(seconds("elapsed_seconds", elapsed.mean(), why_not));
  metrics.push_back(seconds("unmigrated_seconds", unmigrated.mean(), why_not));
  metrics.push_back(seconds("exposed_seconds", exposed.mean(), why_not));
  metrics.push_back(seconds("exposed_max_seconds", exposed.largest(), why_not));
  metrics.push_back(exposed.mean()
                        ? Metric{"lost_rank_seconds", fmt::format("{:.6f}", rank_seconds), "s", ""}
                        : Metric{"lost_rank_seconds", "", "s", why_not});
  if (why_not.empty()) why_not = "no VM of a job was moved";
  metrics.push_back(mean_share("overlap", overlaps, overlapping, why_not));
  metrics.push_back(mean_share("overlap_bound", bounds, bounded, why_not));
  metrics.push_back({"messages", fmt::to_string(messages), "", ""});
}

/// Those of a VM next to each other, in the order in which they were recorded.
std::vector<SpanRecord> spans_by_vm(const RunRecords& records) {
  std::vector<std::size_t> next;  // by VM: the place of its next span
  for (const SpanRecord& span : records.spans()) {
    if (span.vm.index >= next.size()) next.resize(span.vm.index + 1);
    ++next[span.vm.index];
  }
  std::exclusive_scan(next.begin(), next.end(), next.begin(), std::size_t{0});
  std::vector<SpanRecord> sorted(records.spans().size());
  for (const SpanRecord& span : records.spans()) sorted[next[span.vm.index]++] = span;
  return sorted;
}

}  // namespace

bool starts_before(const MoveRecord& a, const MoveRecord& b, const NameOrder& order) {
  if (a.start != b.start) return a.start < b.start;
  if (a.vm != b.vm) return order.of(a.vm) < order.of(b.vm);
  return std::pair(a.end, a.move) < std::pair(b.end, b.move);
}

std::vector<MoveAccount> account_moves(const RunRecords& records) {
  const std::vector<MoveRecord>& moves = records.moves();
  struct Turn {
    VmId vm;
    TimePoint start;
    std::size_t move;
  };
  std::vector<Turn> turns;  // by VM and start
  turns.reserve(moves.size());
  for (const MoveRecord& move : moves) turns.push_back({move.vm, move.start, turns.size()});
  std::sort(turns.begin(), turns.end(), [](const Turn& a, const Turn& b) {
    return std::tuple(a.vm, a.start, a.move) < std::tuple(b.vm, b.start, b.move);
  });
  const std::vector<SpanRecord> spans = spans_by_vm(records);
  std::vector<MoveAccount> accounts(moves.size());
  std::vector<std::vector<SpanRecord>> of_turns;  // of one VM; kept from VM to VM
  auto span = spans.begin();
  for (std::size_t first = 0; first < turns.size();) {
    const VmId vm = turns[first].vm;
    std::size_t end = first + 1;
    while (end < turns.size() && turns[end].vm == vm) ++end;
    if (of_turns.size() < end - first) of_turns.resize(end - first);
    for (std::size_t i = first; i < end; ++i) of_turns[i - first].clear();
    while (span != spans.end() && span->vm < vm) ++span;
    // Every span to the latest move of its VM that began before it; none: interrupted before its
    // move was recorded.
    for (; span != spans.end() && span->vm == vm; ++span) {
      std::size_t turn = end;
      while (turn > first && span->start < turns[turn - 1].start) --turn;
      if (turn > first) of_turns[turn - 1 - first].push_back(*span);
    }
    for (std::size_t i = first; i < end; ++i) {
      const MoveRecord& move = moves[turns[i].move];
      accounts[turns[i].move] = {&move, phase_times(of_turns[i - first], move.start, move.end)};
    }
    first = end;
  }
  return accounts;
}

std::vector<Metric> summarise(const RunRecords& records, const std::vector<MoveAccount>& accounts,
                              const std::vector<JobAccount>& accounted) {
  Sample totals;
  Sample downtimes;
  Sample outages;
  Sample lost;
  std::array<Sample, phase_count> phases;
  std::optional<TimePoint> first;
  std::optional<TimePoint> last;
  std::uint64_t bytes = 0;
  std::uint64_t rounds = 0;
  std::size_t failed = 0;
  for (const MoveAccount& account : accounts) {
    const MoveRecord& move = *account.move;
    if (move.outcome != Outcome::not_started) {
      first = first ? std::min(*first, move.start) : move.start;
      last = last ? std::max(*last, move.end) : move.end;
    }
    bytes += move.transfer.bytes.count();
    rounds += static_cast<std::uint64_t>(move.transfer.rounds);
    if (move.outcome != Outcome::completed) {
      ++failed;
      continue;
    }
    totals.add(account.total());
    downtimes.add(move.transfer.downtime);
    outages.add(move.outage);
    lost.add(move.lost_traffic);
    for (std::size_t i = 0; i < phase_count; ++i) phases[i].add(account.times[i]);
  }

  constexpr std::string_view none_started = "no move was started";
  constexpr std::string_view none_completed = "no move completed";
  std::vector<Metric> metrics;
  metrics.push_back(seconds("makespan_seconds",
                            first ? std::optional(*last - *first) : std::nullopt, none_started));
  metrics.push_back(seconds("total_seconds", totals.mean(), none_completed));
  metrics.push_back(seconds("total_max_seconds", totals.largest(), none_completed));
  metrics.push_back(seconds("downtime_seconds", downtimes.mean(), none_completed));
  metrics.push_back(seconds("downtime_max_seconds", downtimes.largest(), none_completed));
  metrics.push_back(seconds("outage_seconds", outages.mean(), none_completed));
  metrics.push_back(seconds("outage_max_seconds", outages.largest(), none_completed));
  metrics.push_back({"bytes", fmt::to_string(bytes), "B", ""});
  metrics.push_back({"rounds", fmt::to_string(rounds), "", ""});
  metrics.push_back({"migrations", fmt::to_string(records.moves().size()), "", ""});
  metrics.push_back({"failed", fmt::to_string(failed), "", ""});
  for (const Phase phase : all_phases) {
    metrics.push_back(seconds(fmt::format("{}_seconds", to_name(phase)),
                              phases[static_cast<std::size_t>(phase)].mean(), none_completed));
  }
  metrics.push_back(seconds("lost_traffic_seconds", lost.mean(), none_completed));
  metrics.push_back(throughput(totals, lost, none_completed));
  add_jobs(metrics, accounted);
  return metrics;
}

std::vector<std::string> metric_names() {
  const JobRecord record;
  JobAccount job;
  job.record = &record;
  std::vector<std::string> names;
  for (Metric& metric : summarise(RunRecords(), {}, {job})) names.push_back(std::move(metric.name));
  return names;
}

RunVerdict judge(const RunRecords& records, const Instance& instance) {
  RunVerdict verdict;
  const NameOrder order(instance);
  const MoveRecord* first = nullptr;
  for (const MoveRecord& move : records.moves()) {
    if (move.outcome == Outcome::completed) continue;
    ++verdict.failed;
    if (first == nullptr || starts_before(move, *first, order)) first = &move;
  }
  if (first != nullptr) {
    verdict.outcome = first->outcome;
    verdict.reason = first->reason;
  }
  std::optional<JobId> failed_job;
  for (const JobRecord& record : records.jobs()) {
    if (record.reason.empty()) continue;
    ++verdict.failed_jobs;
    if (failed_job && order.of(*failed_job) < order.of(record.job)) continue;
    failed_job = record.job;
    if (first == nullptr) {
      verdict.outcome = Outcome::failed;
      verdict.reason = instance.jobs[record.job.index].name + ": " + record.reason;
    }
  }
  return verdict;
}

}  // namespace ferry
