// Where a run's facts go. Recording never blocks and costs no simulated time.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ports/hypervisor.hpp"
#include "core/ports/types.hpp"
#include "core/units/units.hpp"

namespace ferry {

/// A phase of one VM, as it really ran (phases may overlap).
struct SpanRecord {
  VmId vm;
  Phase phase = Phase::set_pre_migration;
  HostId host;  ///< where the VM was when the phase began
  TimePoint start;
  TimePoint end;
  Outcome outcome = Outcome::completed;
};

/// One move of one VM.
struct MoveRecord {
  std::size_t move = 0;  ///< index in the expanded scenario
  VmId vm;
  HostId from;
  HostId to;  ///< where it runs in the end
  TimePoint start;
  TimePoint end;
  TransferReport transfer;
  /// The guest's network carried nothing. detach: from the virtual function's going to the
  /// reactivation of channels; failover: its traffic was redirected, twice, or it was paused; vfio:
  /// it was paused.
  Duration outage;
  /// Of the throughput of its virtual function the guest was without so much, in time at full
  /// throughput: the outage, channels that were drained, and what a slower NIC lacked.
  Duration lost_traffic;
  Outcome outcome = Outcome::completed;
  std::string reason;  ///< empty if completed
};

/// One rank's part in one suspension.
struct RankRecord {
  JobId job;
  RankId rank;
  TimePoint requested;
  TimePoint drained;
  TimePoint ready;
  TimePoint blocked_from;
  TimePoint blocked_to;
};

/// What a benchmark of a job measured.
struct MeasurementRecord {
  std::string metric;
  std::optional<std::uint64_t> message_bytes;
  std::uint32_t repetition = 0;
  double value = 0;
  std::string_view unit;  ///< a literal: `s`, `B/s`
};

/// One job whose ranks sent messages.
struct JobRecord {
  JobId job;
  TimePoint start;     ///< of its first rank
  TimePoint end;       ///< of its last one, or when it was given up
  std::string reason;  ///< why it did not come to its end, or came to a wrong one; empty: it did
  std::uint64_t messages = 0;  ///< that its ranks sent, in all
  Bytes bytes;
  /// The longest that a rank in a VM that was moved (or any rank, if none was) computed between two
  /// MPI calls.
  Duration longest_slice;
  std::vector<MeasurementRecord> measurements;
};

class Recorder {
 public:
  virtual ~Recorder() = default;
  virtual void span(const SpanRecord& span) = 0;
  virtual void round(VmId vm, const RoundReport& round) = 0;
  virtual void move(const MoveRecord& move) = 0;
  virtual void rank(const RankRecord& rank) = 0;
  virtual void job(const JobRecord& job) = 0;
};

}  // namespace ferry
