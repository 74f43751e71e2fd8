// The text of every CSV file of a run folder. Rows are ordered by times and names, never by the
// order in which a scenario lists things. Times are seconds with nine decimals on the world's
// clock; a value that does not exist is an empty field.
#pragma once

#include <string>

#include "core/record/summary.hpp"

namespace ferry {

/// vm, phase, host, start_seconds, end_seconds, outcome
std::string spans_csv(const RunRecords& records, const Instance& instance);
/// vm, round, bytes, seconds, dirty_bytes
std::string rounds_csv(const RunRecords& records, const Instance& instance);
/// One row a move. Times are empty for a move that was not started; downtime and rounds also where
/// the memory transfer did not end, bytes where none were sent. `job` and `strategy` list all jobs
/// of the VM, joined by `;`.
std::string migrations_csv(const std::vector<MoveAccount>& accounts, const Instance& instance);
/// job, strategy, workload, elapsed_seconds, unmigrated_seconds, exposed_seconds, overlap,
/// messages, bytes, reason; as in `JobAccount`. messages and bytes are those that its ranks sent.
std::string jobs_csv(const RunRecords& records, const Instance& instance);
/// job, rank, requested, drained, ready, blocked_from, blocked_to: one row a rank and suspension
std::string ranks_csv(const RunRecords& records, const Instance& instance);
/// job, metric, message_bytes, repetition, value, unit
std::string measurements_csv(const RunRecords& records, const Instance& instance);
/// metric, value, unit, reason
std::string summary_csv(const std::vector<Metric>& metrics);

}  // namespace ferry
