#include "core/record/tables.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/record/csv.hpp"
#include "core/record/natural_order.hpp"

namespace ferry {
namespace {

std::string csv_seconds(TimePoint time) { return ferry::csv_seconds(time.since_start()); }

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
std::vector<JobId> sorted_jobs(VmId vm, const Instance& instance) {
  std::vector<JobId> jobs = instance.vms[vm.index].jobs;
  std::sort(jobs.begin(), jobs.end(), [&](JobId a, JobId b) {
    return natural_less(name_of(a, instance), name_of(b, instance));
  });
  return jobs;
}

/// The time in which any rank was blocked.
Duration union_of_blocks(std::vector<std::pair<TimePoint, TimePoint>> blocks) {
  std::sort(blocks.begin(), blocks.end());
  Duration sum;
  TimePoint done;
  for (const auto& [from, to] : blocks) {
    const TimePoint begin = std::max(from, done);
    if (to <= begin) continue;
    sum += to - begin;
    done = to;
  }
  return sum;
}

}  // namespace

std::string spans_csv(const RunRecords& records, const Instance& instance) {
  std::vector<SpanRecord> spans = records.spans();
  std::stable_sort(spans.begin(), spans.end(), [&](const SpanRecord& a, const SpanRecord& b) {
    if (a.start != b.start) return a.start < b.start;
    if (a.vm != b.vm) return natural_less(name_of(a.vm, instance), name_of(b.vm, instance));
    return std::pair(a.phase, a.end) < std::pair(b.phase, b.end);
  });
  CsvText csv({"vm", "phase", "host", "start_seconds", "end_seconds", "outcome"});
  for (const SpanRecord& span : spans) {
    csv.row({name_of(span.vm, instance), to_name(span.phase), name_of(span.host, instance),
             csv_seconds(span.start), csv_seconds(span.end), to_name(span.outcome)});
  }
  return csv.take();
}

std::string rounds_csv(const RunRecords& records, const Instance& instance) {
  // The rounds of a VM stay in the order in which they ended, also over several moves.
  std::vector<RoundRecord> rounds = records.rounds();
  std::stable_sort(rounds.begin(), rounds.end(), [&](const RoundRecord& a, const RoundRecord& b) {
    return a.vm != b.vm && natural_less(name_of(a.vm, instance), name_of(b.vm, instance));
  });
  CsvText csv({"vm", "round", "bytes", "seconds", "dirty_bytes"});
  for (const RoundRecord& round : rounds) {
    csv.row({name_of(round.vm, instance), fmt::to_string(round.report.round),
             fmt::to_string(round.report.bytes.count()), csv_seconds(round.report.time),
             fmt::to_string(round.report.dirty_bytes.count())});
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
  CsvText csv(header);

  std::vector<const MoveAccount*> order;
  for (const MoveAccount& account : accounts) order.push_back(&account);
  std::stable_sort(order.begin(), order.end(), [&](const MoveAccount* a, const MoveAccount* b) {
    return starts_before(*a->move, *b->move, instance);
  });
  for (const MoveAccount* account : order) {
    const MoveRecord& move = *account->move;
    const MoveSpec& spec = instance.moves[move.move];
    const bool started = move.outcome != Outcome::not_started;
    const bool transferred = started && move.transfer.rounds > 0;
    std::string jobs;
    std::string strategies;
    for (const JobId job : sorted_jobs(move.vm, instance)) {
      if (!jobs.empty()) {
        jobs += ';';
        strategies += ';';
      }
      jobs += name_of(job, instance);
      strategies += to_name(instance.jobs[job.index].strategy);
    }
    std::vector<std::string> row = {spec.migration,
                                    name_of(move.vm, instance),
                                    name_of(move.from, instance),
                                    name_of(move.to, instance),
                                    jobs,
                                    strategies,
                                    std::string(to_name(spec.transfer.transport)),
                                    "detach",
                                    started ? csv_seconds(account->total()) : "",
                                    transferred ? csv_seconds(move.transfer.downtime) : "",
                                    started ? csv_seconds(move.outage) : "",
                                    transferred || move.transfer.bytes > Bytes()
                                        ? fmt::to_string(move.transfer.bytes.count())
                                        : "",
                                    transferred ? fmt::to_string(move.transfer.rounds) : "",
                                    std::string(to_name(move.outcome)),
                                    move.reason};
    for (const Duration time : account->times) row.push_back(started ? csv_seconds(time) : "");
    csv.row(row);
  }
  return csv.take();
}

std::string jobs_csv(const RunRecords& records, const Instance& instance) {
  std::vector<std::vector<std::pair<TimePoint, TimePoint>>> blocks(instance.jobs.size());
  for (const RankRecord& rank : records.ranks()) {
    blocks[rank.job.index].emplace_back(rank.blocked_from, rank.blocked_to);
  }
  std::vector<std::size_t> order(instance.jobs.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return natural_less(instance.jobs[a].name, instance.jobs[b].name);
  });
  CsvText csv({"job", "strategy", "workload", "elapsed_seconds", "unmigrated_seconds",
               "exposed_seconds", "overlap", "messages", "bytes", "reason"});
  for (const std::size_t i : order) {
    const JobSpec& job = instance.jobs[i];
    csv.row({job.name, to_name(job.strategy), "timed", "", "",
             csv_seconds(union_of_blocks(std::move(blocks[i]))), "", "", "",
             "the timed workload has no work of its own and sends no messages"});
  }
  return csv.take();
}

std::string ranks_csv(const RunRecords& records, const Instance& instance) {
  std::vector<RankRecord> ranks = records.ranks();
  std::stable_sort(ranks.begin(), ranks.end(), [&](const RankRecord& a, const RankRecord& b) {
    if (a.requested != b.requested) return a.requested < b.requested;
    if (a.job != b.job) return natural_less(name_of(a.job, instance), name_of(b.job, instance));
    return a.rank < b.rank;
  });
  CsvText csv({"job", "rank", "requested", "drained", "ready", "blocked_from", "blocked_to"});
  for (const RankRecord& rank : ranks) {
    csv.row({name_of(rank.job, instance), fmt::to_string(rank.rank.index),
             csv_seconds(rank.requested), csv_seconds(rank.drained), csv_seconds(rank.ready),
             csv_seconds(rank.blocked_from), csv_seconds(rank.blocked_to)});
  }
  return csv.take();
}

std::string measurements_csv() {
  return CsvText({"job", "metric", "message_bytes", "repetition", "value", "unit"}).take();
}

std::string summary_csv(const std::vector<Metric>& metrics) {
  CsvText csv({"metric", "value", "unit", "reason"});
  for (const Metric& metric : metrics) {
    csv.row({metric.name, metric.value, metric.unit, metric.reason});
  }
  return csv.take();
}

}  // namespace ferry
