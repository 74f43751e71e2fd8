// Runs a session over a small cluster inside a world's body, and keeps what it recorded.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "controller/session.hpp"
#include "controller/surviving_run.hpp"
#include "core/migration/journal_history.hpp"
#include "tests/contract/contract.hpp"

namespace ferry {

/// Journal lines in memory, with what was synced when.
class LineJournal : public Journal {
 public:
  void append(std::string_view record) override { lines.emplace_back(record); }
  void sync() override { synced = lines.size(); }
  std::vector<std::string> lines;
  std::size_t synced = 0;
};

/// A scenario of the small cluster, to which tests add moves and faults.
struct SessionCase {
  SmallCluster cluster = small_cluster();
  Scenario scenario;
  std::atomic<Interruption> interruption = Interruption::none;

  /// A move with generous timeouts; retries none.
  MoveSpec& move(VmId vm, HostId to, Duration at = Duration::zero());
  void fault(VmId vm, Phase phase, Fault::Fail fail, Duration stall = Duration::zero());
};

/// What a session left behind.
struct SessionEnd {
  std::vector<MoveRecord> moves;
  std::vector<SpanRecord> spans;
  std::vector<RankRecord> ranks;
  std::vector<RoundRecord> rounds;
  std::vector<std::string> journal;
  std::size_t journal_synced = 0;
  SessionProgress progress;
  std::vector<std::vector<HostId>> held;  ///< by VM: the hosts that it holds

  [[nodiscard]] const MoveRecord& only_move() const;
  /// The span of a phase of a VM; fails the test if there is not exactly one.
  [[nodiscard]] SpanRecord span(VmId vm, Phase phase) const;
};

/// What a run with several controllers left behind; `controllers`, if not null, how many there were.
SessionEnd run_session_through_downs(World& world, SessionCase& session,
                                     const std::vector<ControllerDown>& downs,
                                     std::size_t* controllers = nullptr);

/// Called in a world's body. `beside`, if any, runs in a task of its own meanwhile.
SessionEnd run_session(World& world, SessionCase& session,
                       const std::function<void(Session&)>& beside = nullptr);

/// That a reader of the journal alone knows every span, round and row of the session.
void expect_history_is_complete(World& world, const SessionCase& session, const SessionEnd& end);

/// What holds at the end of every session, whatever happened: each VM runs on exactly one host and
/// holds exactly that, with its devices unless its move ended degraded.
void expect_invariant(World& world, const SessionCase& session, const SessionEnd& end);

}  // namespace ferry
