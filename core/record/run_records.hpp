// Everything that a run recorded, in memory, in the order in which it happened.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "core/ports/executor.hpp"
#include "core/ports/recorder.hpp"

namespace ferry {

struct RoundRecord {
  VmId vm;
  RoundReport report;
};

class RunRecords : public Recorder {
 public:
  /// `mutex` guards against tasks that record at the same time; null where tasks never overlap.
  explicit RunRecords(std::unique_ptr<Mutex> mutex = nullptr) : mutex_(std::move(mutex)) {}

  void span(const SpanRecord& span) override;
  void round(VmId vm, const RoundReport& round) override;
  void move(const MoveRecord& move) override;
  void rank(const RankRecord& rank) override;
  void job(const JobRecord& job) override;
  /// When nothing records any more: the mutex belongs to a world, which the records outlive.
  void drop_mutex() { mutex_.reset(); }
  /// How long jobs take without migrations, as another run of the scenario found.
  void set_unmigrated(std::map<JobId, Duration> times) { unmigrated_ = std::move(times); }

  [[nodiscard]] const std::vector<SpanRecord>& spans() const { return spans_; }
  [[nodiscard]] const std::vector<RoundRecord>& rounds() const { return rounds_; }
  [[nodiscard]] const std::vector<MoveRecord>& moves() const { return moves_; }
  [[nodiscard]] const std::vector<RankRecord>& ranks() const { return ranks_; }
  [[nodiscard]] const std::vector<JobRecord>& jobs() const { return jobs_; }
  [[nodiscard]] std::optional<Duration> unmigrated(JobId job) const;

 private:
  std::unique_ptr<Mutex> mutex_;
  std::vector<SpanRecord> spans_;
  std::vector<RoundRecord> rounds_;
  std::vector<MoveRecord> moves_;
  std::vector<RankRecord> ranks_;
  std::vector<JobRecord> jobs_;
  std::map<JobId, Duration> unmigrated_;
};

}  // namespace ferry
