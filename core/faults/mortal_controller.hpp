// A controller that goes down at a given record of its journal, in a world that survives it.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "core/ports/job_runtime.hpp"
#include "core/ports/journal.hpp"
#include "core/ports/world.hpp"
#include "core/scenario/scenario.hpp"

namespace ferry {

/// When a controller goes down.
struct ControllerDeath {
  enum class When {
    before,  ///< the record is written: what the one before it announced may have been done
    torn,    ///< half of the record is written
    after,   ///< the record is whole, and what it announces is not done
  };
  std::uint64_t record = 1;  ///< number in the journal
  When when = When::torn;
};

/// When it strikes so that this is left of the record.
inline ControllerDeath::When when_of(Fault::LastRecord last) {
  switch (last) {
    case Fault::LastRecord::torn: return ControllerDeath::When::torn;
    case Fault::LastRecord::whole: return ControllerDeath::When::after;
    case Fault::LastRecord::missing: return ControllerDeath::When::before;
  }
  return ControllerDeath::When::torn;
}

/// Stands between one controller and its world. Every call to the hypervisor and to the jobs is
/// made by a task of the world, so that it goes on when the controller dies; the deadline is the
/// controller's and dies with it. From its death on nothing that the controller does reaches world
/// or journal, and all that it waits for ends at once as `cancelled`: it comes to its end without
/// effect.
///
/// Keep it until the world ends: it holds what the controller left under way. Destruction joins
/// that.
class MortalController {
 public:
  /// `records`: in the journal already. `tear`: leaves a piece of a record of that number in it.
  MortalController(World& world, JobRuntime& jobs, Journal& journal, std::uint64_t records,
                   std::optional<ControllerDeath> death,
                   std::function<void(std::uint64_t number, std::string_view record)> tear);
  ~MortalController();
  MortalController(const MortalController&) = delete;
  MortalController& operator=(const MortalController&) = delete;

  // What the controller uses instead of what was given.
  [[nodiscard]] World& world() { return mortal_world_; }
  [[nodiscard]] JobRuntime& jobs();
  [[nodiscard]] Journal& journal();

  /// Runs `body`, which is the controller, as a task; blocks until it has ended. False: it went
  /// down.
  [[nodiscard]] bool run(const std::function<void()>& body);
  /// Whether it has gone down. Any task may ask.
  [[nodiscard]] bool dead() const;

 private:
  class MortalHypervisor;
  class MortalJobs;
  class MortalJournal;
  struct Call;
  class Ears;
  /// What becomes of a call when the controller dies.
  enum class Orphan { goes_on, ends };

  template <class Answer>
  Result<Answer> call(const char* what, TimePoint deadline, Orphan orphan,
                      const std::function<Result<Answer>(const std::shared_ptr<Call>&)>& operation);
  void die();

  World& world_;
  Journal& inner_journal_;
  std::uint64_t records_;
  std::optional<ControllerDeath> death_;
  std::function<void(std::uint64_t, std::string_view)> tear_;
  std::unique_ptr<Mutex> mutex_;
  std::unique_ptr<Condition> changed_;  ///< it died, or ended
  bool dead_ = false;
  bool ended_ = false;
  std::list<std::shared_ptr<Call>> calls_;  ///< that the controller waits for
  std::vector<std::unique_ptr<Task>> orphans_;
  std::unique_ptr<MortalHypervisor> hypervisor_;
  std::unique_ptr<MortalJobs> jobs_;
  std::unique_ptr<MortalJournal> journal_;
  World mortal_world_;
};

}  // namespace ferry
