// What a journal says has happened: enough for a new controller to go on where another one was.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "core/migration/journal_records.hpp"
#include "core/migration/wave_move.hpp"
#include "core/ports/recorder.hpp"
#include "core/scenario/instance.hpp"

namespace ferry {

/// One VM's part in one wave, as far as it got.
struct MoveHistory {
  WaveMove move;
  VmId vm;

  struct OpenPhase {
    HostId host;  ///< where the VM was
    HostId to;    ///< of a migration
    TimePoint start;
  };
  /// Intents whose end is not in the journal, by phase: at most two devices at once, or a
  /// migration.
  std::array<std::optional<OpenPhase>, phase_count> open;
  std::optional<Phase> last_phase;  ///< the latest that began
  HostId host;                      ///< where its memory is, by migrations that ended
  TransferReport transfer;          ///< of migrations that ended, there and back
  Bytes sent_in_rounds;             ///< of the migration that is open
  std::optional<TimePoint> vf_gone;
  Duration redirected;              ///< as in `MoveEnd`, if its strategy is not `detach`
  Duration lost_traffic;            ///< likewise
  std::optional<std::string> back;  ///< why it went back to its source

  struct Rest {
    TimePoint at;
    Outcome outcome = Outcome::completed;
    HostId host;
    std::string reason;
  };
  std::optional<Rest> rest;
  std::optional<std::string> stale;  ///< why set_post_migration failed for it
};

struct WaveHistory {
  std::uint64_t number = 0;
  TimePoint opened;
  std::vector<MoveHistory> moves;
  std::vector<std::pair<JobId, std::uint64_t>> epochs;

  struct Suspension {
    TimePoint end;
    bool ready = true;
    bool cancelled = false;
    std::string reason;
  };
  std::optional<Suspension> suspension;  ///< how set_pre_migration ended
  std::optional<TimePoint> reactivates;
  std::optional<TimePoint> closed;
};

struct ControllerHistory {
  TimePoint began;
  std::int64_t origin = 0;
  std::optional<TimePoint> ended;  ///< by itself; none: it works, or went down
  bool interrupted = false;
};

struct JournalHistory {
  std::vector<ControllerHistory> controllers;
  std::vector<WaveHistory> waves;  ///< in the order in which they opened
  /// A move that is not begun (again), while later ones may be.
  struct GivenUp {
    std::size_t move = 0;  ///< index into Instance::moves
    TimePoint at;
    std::string reason;
  };
  /// What changed reservations or ended moves, in order. `index`: into `waves`, `replaced` or
  /// `given_up`.
  struct Event {
    enum class Kind { wave_opened, wave_closed, function_replaced, given_up } kind;
    std::size_t index = 0;
  };
  std::vector<Event> events;
  std::vector<SpanRecord> spans;  ///< of phases that ended, as a recorder was told of them
  std::vector<std::pair<VmId, RoundReport>> rounds;
  std::vector<std::pair<VmId, HostId>> replaced;  ///< virtual functions
  std::vector<GivenUp> given_up;
  std::vector<HostId> hosts_down;     ///< that did not answer, and are out of use
  std::vector<std::uint64_t> epochs;  ///< by job: the last one given out
  TimePoint last;                     ///< the latest time in any record

  std::uint64_t last_wave = 0;  ///< the highest number
};

/// Understands `records` (record 1 is the first) of a run of `instance`. Nothing is ever assumed:
/// whatever does not fit the instance or what came before is an error, a sentence with the record's
/// number.
tl::expected<JournalHistory, std::string> read_history(std::span<const std::string> records,
                                                       const Instance& instance);

}  // namespace ferry
