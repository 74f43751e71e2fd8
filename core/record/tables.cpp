#include "core/record/tables.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "core/record/csv.hpp"
#include "core/record/job_accounts.hpp"
#include "core/record/name_order.hpp"

namespace ferry {
namespace {

const std::string& name_of(VmId vm, const Instance& instance) {
  return instance.vms[vm.index].name;
}
const std::string& name_of(HostId host, const Instance& instance) {
  return instance.hosts[host.index].name;
}
const std::string& name_of(JobId job, const Instance& instance) {
  return instance.jobs[job.index].name;
}

/// The jobs of a VM by name.
std::vector<JobId> sorted_jobs(VmId vm, const Instance& instance, const NameOrder& order) {
  std::vector<JobId> jobs = instance.vms[vm.index].jobs;
  std::sort(jobs.begin(), jobs.end(), [&](JobId a, JobId b) { return order.of(a) < order.of(b); });
  return jobs;
}

std::vector<JobId> jobs_in_order(const Instance& instance) {
  const NameOrder order(instance);
  std::vector<JobId> jobs(instance.jobs.size());
  for (std::uint32_t i = 0; i < jobs.size(); ++i) jobs[order.of(JobId{i})] = JobId{i};
  return jobs;
}

/// What a row is sorted by, so that sorting need not look at records, which are many times larger.
struct Row {
  TimePoint start;
  std::uint32_t vm;      ///< its place by name
  std::uint32_t record;  ///< index
};

/// By start, VM (by name) and `rest`, then as they were recorded. `key` gives start and VM.
template <class Record, class Key, class Rest>
std::vector<Row> by_start(const std::vector<Record>& records, const NameOrder& order,
                          const Key& key, const Rest& rest) {
  std::vector<Row> rows;
  rows.reserve(records.size());
  for (const Record& record : records) {
    const auto [start, vm] = key(record);
    rows.push_back({start, order.of(vm), static_cast<std::uint32_t>(rows.size())});
  }
  std::sort(rows.begin(), rows.end(), [&](const Row& a, const Row& b) {
    if (a.start != b.start) return a.start < b.start;
    if (a.vm != b.vm) return a.vm < b.vm;
    const auto rest_of_a = rest(records[a.record]);
    const auto rest_of_b = rest(records[b.record]);
    return rest_of_a != rest_of_b ? rest_of_a < rest_of_b : a.record < b.record;
  });
  return rows;
}

}  // namespace

std::string spans_csv(const RunRecords& records, const Instance& instance) {
  const std::vector<SpanRecord>& spans = records.spans();
  const std::vector<Row> rows = by_start(
      spans, NameOrder(instance),
      [](const SpanRecord& span) { return std::pair(span.start, span.vm); },
      [](const SpanRecord& span) { return std::pair(span.phase, span.end); });
  CsvText csv({"vm", "phase", "host", "start_seconds", "end_seconds", "outcome"});
  for (const Row& row : rows) {
    const SpanRecord& span = spans[row.record];
    csv.field(name_of(span.vm, instance))
        .field(to_name(span.phase))
        .field(name_of(span.host, instance))
        .seconds(span.start)
        .seconds(span.end)
        .field(to_name(span.outcome))
        .end_row();
  }
  return csv.take();
}

std::string rounds_csv(const RunRecords& records, const Instance& instance) {
  // The rounds of a VM stay in the order in which they ended, also over several moves.
  const NameOrder order(instance);
  std::vector<std::size_t> next(instance.vms.size());  // by place of the VM: that of its next round
  for (const RoundRecord& round : records.rounds()) ++next[order.of(round.vm)];
  std::exclusive_scan(next.begin(), next.end(), next.begin(), std::size_t{0});
  std::vector<RoundRecord> rounds(records.rounds().size());
  for (const RoundRecord& round : records.rounds()) rounds[next[order.of(round.vm)]++] = round;
  CsvText csv({"vm", "round", "bytes", "seconds", "dirty_bytes"});
  for (const RoundRecord& round : rounds) {
    csv.field(name_of(round.vm, instance))
        .count(static_cast<std::uint64_t>(round.report.round))
        .count(round.report.bytes.count())
        .seconds(round.report.time)
        .count(round.report.dirty_bytes.count())
        .end_row();
  }
  return csv.take();
}

std::string migrations_csv(const std::vector<MoveAccount>& accounts, const Instance& instance) {
  std::vector<std::string> header = {"migration",
                                     "vm",
                                     "from",
                                     "to",
                                     "job",
                                     "strategy",
                                     "transport",
                                     "device",
                                     "total_seconds",
                                     "downtime_seconds",
                                     "outage_seconds",
                                     "bytes",
                                     "rounds",
                                     "outcome",
                                     "reason"};
  for (const Phase phase : all_phases) header.push_back(fmt::format("{}_seconds", to_name(phase)));
  header.push_back("lost_traffic_seconds");
  CsvText csv(header);

  const NameOrder order(instance);
  const std::vector<Row> rows = by_start(
      accounts, order,
      [](const MoveAccount& account) { return std::pair(account.move->start, account.move->vm); },
      [](const MoveAccount& account) { return std::pair(account.move->end, account.move->move); });
  std::string jobs;
  std::string strategies;
  for (const Row& row : rows) {
    const MoveAccount* const account = &accounts[row.record];
    const MoveRecord& move = *account->move;
    const MoveSpec& spec = instance.moves[move.move];
    const bool started = move.outcome != Outcome::not_started;
    const bool transferred = started && move.transfer.rounds > 0;
    jobs.clear();
    strategies.clear();
    for (const JobId job : sorted_jobs(move.vm, instance, order)) {
      if (!jobs.empty()) {
        jobs += ';';
        strategies += ';';
      }
      jobs += name_of(job, instance);
      strategies += to_name(instance.jobs[job.index].strategy);
    }
    csv.field(spec.migration)
        .field(name_of(move.vm, instance))
        .field(name_of(move.from, instance))
        .field(name_of(move.to, instance))
        .field(jobs)
        .field(strategies)
        .field(to_name(spec.transfer.transport))
        .field(to_name(spec.transfer.device))
        .seconds_if(started, account->total())
        .seconds_if(transferred, move.transfer.downtime)
        .seconds_if(started, move.outage)
        .count_if(transferred || move.transfer.bytes > Bytes(), move.transfer.bytes.count())
        .count_if(transferred, static_cast<std::uint64_t>(move.transfer.rounds))
        .field(to_name(move.outcome))
        .field(move.reason);
    for (const Duration time : account->times) csv.seconds_if(started, time);
    csv.seconds_if(started, move.lost_traffic);
    csv.end_row();
  }
  return csv.take();
}

std::string jobs_csv(const RunRecords& records, const Instance& instance) {
  const std::vector<JobAccount> accounts = account_jobs(records, instance);
  CsvText csv({"job", "strategy", "workload", "elapsed_seconds", "unmigrated_seconds",
               "exposed_seconds", "overlap", "messages", "bytes", "reason", "slice_seconds",
               "overlap_bound"});
  for (const JobId id : jobs_in_order(instance)) {
    const JobSpec& job = instance.jobs[id.index];
    const JobAccount& account = accounts[id.index];
    csv.field(job.name)
        .field(to_name(job.strategy))
        .field(to_name(job.workload.type))
        .seconds_if(account.elapsed.has_value(), account.elapsed.value_or(Duration()))
        .seconds_if(account.unmigrated.has_value(), account.unmigrated.value_or(Duration()))
        .seconds_if(account.exposed.has_value(), account.exposed.value_or(Duration()))
        .field(account.overlap ? fmt::format("{:.6f}", *account.overlap) : "")
        .count_if(account.record != nullptr, account.record ? account.record->messages : 0)
        .count_if(account.record != nullptr, account.record ? account.record->bytes.count() : 0)
        .field(account.reason)
        .seconds_if(account.slice.has_value(), account.slice.value_or(Duration()))
        .field(account.overlap_bound ? fmt::format("{:.6f}", *account.overlap_bound) : "")
        .end_row();
  }
  return csv.take();
}

std::string ranks_csv(const RunRecords& records, const Instance& instance) {
  const NameOrder order(instance);
  std::vector<RankRecord> ranks = records.ranks();
  std::stable_sort(ranks.begin(), ranks.end(), [&](const RankRecord& a, const RankRecord& b) {
    if (a.requested != b.requested) return a.requested < b.requested;
    if (a.job != b.job) return order.of(a.job) < order.of(b.job);
    return a.rank < b.rank;
  });
  CsvText csv({"job", "rank", "requested", "drained", "ready", "blocked_from", "blocked_to"});
  for (const RankRecord& rank : ranks) {
    csv.field(name_of(rank.job, instance))
        .count(rank.rank.index)
        .seconds(rank.requested)
        .seconds(rank.drained)
        .seconds(rank.ready)
        .seconds(rank.blocked_from)
        .seconds(rank.blocked_to)
        .end_row();
  }
  return csv.take();
}

std::string measurements_csv(const RunRecords& records, const Instance& instance) {
  std::vector<const JobRecord*> by_job(instance.jobs.size(), nullptr);
  for (const JobRecord& record : records.jobs()) by_job[record.job.index] = &record;
  CsvText csv({"job", "metric", "message_bytes", "repetition", "value", "unit"});
  for (const JobId id : jobs_in_order(instance)) {
    if (by_job[id.index] == nullptr) continue;
    for (const MeasurementRecord& measured : by_job[id.index]->measurements) {
      csv.field(name_of(id, instance))
          .field(measured.metric)
          .count_if(measured.message_bytes.has_value(), measured.message_bytes.value_or(0))
          .count(measured.repetition)
          .field(fmt::format("{:.9g}", measured.value))
          .field(measured.unit)
          .end_row();
    }
  }
  return csv.take();
}

std::string summary_csv(const std::vector<Metric>& metrics) {
  CsvText csv({"metric", "value", "unit", "reason"});
  for (const Metric& metric : metrics) {
    csv.row({metric.name, metric.value, metric.unit, metric.reason});
  }
  return csv.take();
}

}  // namespace ferry
