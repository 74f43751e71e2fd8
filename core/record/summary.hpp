// The metrics of a run.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/record/job_accounts.hpp"
#include "core/record/name_order.hpp"
#include "core/record/phase_times.hpp"
#include "core/record/run_records.hpp"
#include "core/scenario/instance.hpp"

namespace ferry {

/// One line of `summary.csv`.
struct Metric {
  std::string name;    ///< `makespan_seconds`
  std::string value;   ///< as in the file: nine decimals for seconds; empty if there is none
  std::string unit;    ///< `s`, `B` or empty for counts
  std::string reason;  ///< why there is no value
};

/// A move with the spans that belong to it and its time by phase.
struct MoveAccount {
  const MoveRecord* move = nullptr;
  PhaseTimes times{};

  [[nodiscard]] Duration total() const { return move->end - move->start; }
};

/// The order of moves in every output: by start, then by VM name (`vm2` before `vm10`), which does
/// not depend on the order in which a file lists them.
bool starts_before(const MoveRecord& a, const MoveRecord& b, const NameOrder& order);

/// One account for each move, in the order of the records. The accounts point into `records`. A
/// span belongs to the last move of its VM that had started when the span started.
std::vector<MoveAccount> account_moves(const RunRecords& records);

/// The metrics, always the same ones in the same order:
/// - `makespan_seconds`: first start to last end of the moves that were started
/// - `total_seconds`, `downtime_seconds`, `outage_seconds`: means over completed moves, each with
/// its
///   largest (`total_max_seconds` ...)
/// - `bytes`, `rounds`: sums over all moves whose memory transfer ended
/// - `migrations`, `failed`: moves, and those of them that did not complete
/// - `<phase>_seconds`: means over completed moves
/// - `lost_traffic_seconds`: mean over completed moves; `throughput`: 1 - lost traffic / total,
/// over
///   all of their time: the share of its virtual function's throughput that a VM had on the move
/// A mean or largest over no move has an empty value.
/// With jobs whose ranks send messages also, as in `JobAccount`:
/// - `elapsed_seconds`, `unmigrated_seconds`, `exposed_seconds` (and `exposed_max_seconds`),
/// `overlap`, `overlap_bound`: means over those jobs for which they are known
/// - `lost_rank_seconds`: sum over the jobs of exposed x ranks
/// - `messages`: sum over the jobs
std::vector<Metric> summarise(const RunRecords& records, const std::vector<MoveAccount>& accounts,
                              const std::vector<JobAccount>& jobs);
/// The names of all of them, in order.
std::vector<std::string> metric_names();

/// How a run ended as a whole: `completed`; or the outcome and reason of the first move that did
/// not complete, by start and VM name; or else `failed`, and the reason of the first job, by name,
/// that did not come to its end.
struct RunVerdict {
  Outcome outcome = Outcome::completed;
  std::string reason;
  std::size_t failed = 0;  ///< moves
  std::size_t failed_jobs = 0;

  [[nodiscard]] bool all_well() const { return failed == 0 && failed_jobs == 0; }
};
RunVerdict judge(const RunRecords& records, const Instance& instance);

}  // namespace ferry
