// Where a run's facts go. Recording never blocks and costs no simulated time.
#pragma once

#include <array>
#include <string>

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
  Duration outage;  ///< VF detached to channels reactivated
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

class Recorder {
 public:
  virtual ~Recorder() = default;
  virtual void span(const SpanRecord& span) = 0;
  virtual void round(VmId vm, const RoundReport& round) = 0;
  virtual void move(const MoveRecord& move) = 0;
  virtual void rank(const RankRecord& rank) = 0;
};

}  // namespace ferry
