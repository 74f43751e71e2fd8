// One scenario executed once in a world that the caller chose.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "controller/plan.hpp"
#include "core/migration/journal_history.hpp"
#include "core/ports/job_runtime.hpp"
#include "core/ports/journal.hpp"
#include "core/ports/world.hpp"
#include "core/record/run_records.hpp"
#include "core/scenario/instance.hpp"
#include "core/topology/inventory.hpp"

namespace ferry {

/// Counts for progress displays.
struct SessionProgress {
  std::size_t moves = 0;  ///< planned
  std::size_t started = 0;
  std::size_t ended = 0;
  std::size_t failed = 0;  ///< ended otherwise than `completed`
  TimePoint now;           ///< on the world's clock
};

/// How far an interruption goes; levels only rise. Safe to raise from a signal handler.
enum class Interruption : int {
  none = 0,
  start_nothing_new = 1,  ///< running moves finish
  cancel = 2,             ///< running moves are cancelled and rolled back
};

struct SessionOptions {
  /// Called when the counts change; must not block on a port.
  std::function<void(const SessionProgress&)> on_progress;
  /// Asked whenever something would start, and by `Session::poll_interruption`.
  std::function<Interruption()> interruption;
  /// Nanoseconds since the Unix epoch at which the world's clock stood at 0; 0 if that means
  /// nothing. It is in the journal, for a controller whose world is to go on with the same clock.
  std::int64_t clock_origin = 0;
  /// After `resume`: bring to rest what was under way, and begin nothing.
  bool settle_only = false;
};

/// The execution of a plan. Use: construct inside the world's body, call `run` there.
class Session {
 public:
  Session(World& world, const Scenario& scenario, const Instance& instance, const Plan& plan,
          Journal& journal, Recorder& recorder, SessionOptions options);
  /// In surroundings that outlive it: `world` and `jobs` are theirs, or reach them.
  Session(World& world, JobRuntime& jobs, const Instance& instance, const Plan& plan,
          Journal& journal, Recorder& recorder, SessionOptions options);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Takes over, before `run`, from the controllers that wrote `history`. Records what they
  /// recorded; `run` then first brings to rest what they left under way, and goes on with the rest
  /// of the plan. Error (a sentence, and nothing was changed): the journal is not one of this plan,
  /// or a VM is not where the journal says.
  [[nodiscard]] tl::expected<void, std::string> resume(const JournalHistory& history);
  /// Blocks (on ports) until every move has ended; records one MoveRecord for each move.
  void run();
  /// VMs that `run` could not bring to rest, with the reasons: their waves are still open, their
  /// moves have no record, and another session may resume.
  [[nodiscard]] const std::vector<std::string>& unsettled() const;
  /// Looks at `options.interruption` and acts on it; called by worlds between steps (simulation) or
  /// by a watching thread.
  void poll_interruption();
  /// Who holds what; after `run` every VM holds exactly the host that it runs on.
  [[nodiscard]] const Inventory& inventory() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ferry
