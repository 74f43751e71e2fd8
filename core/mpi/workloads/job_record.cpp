#include "core/mpi/workloads/job_record.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace ferry::mpi {
namespace {

constexpr std::size_t most_reasons = 10;

/// The longest computation between two calls of a rank that was moved; of any, if none was.
Duration longest_slice(const WorkloadLog& log, const std::vector<bool>& moved) {
  Duration of_any;
  Duration of_moved;
  for (std::size_t rank = 0; rank < log.ranks().size(); ++rank) {
    const Duration slice = log.ranks()[rank].longest_slice;
    of_any = std::max(of_any, slice);
    if (rank < moved.size() && moved[rank]) of_moved = std::max(of_moved, slice);
  }
  return of_moved > Duration::zero() ? of_moved : of_any;
}

/// The first lines of a long text.
std::string shortened(const std::string& text) {
  std::size_t end = 0;
  std::size_t lines = 0;
  for (; end < text.size(); ++end) {
    if (text[end] == '\n' && ++lines == most_reasons) break;
  }
  if (end >= text.size()) return text;
  std::size_t more = 0;
  for (std::size_t i = end + 1; i < text.size(); ++i) more += text[i] == '\n' ? 1U : 0U;
  return more == 0 ? text.substr(0, end)
                   : fmt::format("{}\nand {} more", text.substr(0, end), more);
}

/// Lines as one, for a field of a table.
std::string in_one_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (std::size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 2)) {
    text.replace(at, 1, "; ");
  }
  return text;
}

}  // namespace

JobRecord make_job_record(JobId job, WorkloadType type, const WorkloadLog& log, const JobEnd& end,
                          const std::vector<bool>& moved, std::span<const Interval> outages) {
  JobRecord record;
  record.job = job;
  bool first = true;
  for (const RankLog& rank : log.ranks()) {
    record.start = first ? rank.began : std::min(record.start, rank.began);
    record.end = first ? rank.ended : std::max(record.end, rank.ended);
    first = false;
    record.messages += rank.traffic.messages;
    record.bytes += Bytes(rank.traffic.bytes);
    for (const CallCount& calls : rank.traffic.collectives) {
      record.messages += calls.calls;
      record.bytes += Bytes(calls.bytes);
    }
    if (record.reason.empty() && rank.wrong_messages > 0) record.reason = rank.first_wrong;
  }
  record.longest_slice = longest_slice(log, moved);
  if (!end.ended) {
    record.end = end.at;
    record.reason = in_one_line(shortened(end.ended.error().reason));
  } else if (record.reason.empty() && !end.complaints.empty()) {
    record.reason = end.complaints.front();
  }
  for (Measurement& row : measurements(type, log, outages)) {
    record.measurements.push_back(
        {std::move(row.metric), row.message_bytes, row.repetition, row.value, row.unit});
  }
  for (Measurement& row : channel_packets(log)) {
    record.measurements.push_back(
        {std::move(row.metric), row.message_bytes, row.repetition, row.value, row.unit});
  }
  return record;
}

}  // namespace ferry::mpi
