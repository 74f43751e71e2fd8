// A run whose controllers go down, in a world that does not.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "controller/plan.hpp"
#include "controller/session.hpp"
#include "controller/surroundings.hpp"
#include "core/faults/mortal_controller.hpp"
#include "core/ports/world.hpp"
#include "core/record/run_records.hpp"

namespace ferry {

/// One controller goes down, and the next one comes after `away`.
struct ControllerDown {
  ControllerDeath death;
  Duration away;
};

/// What the last controller left.
struct SurvivingRun {
  std::string journal;  ///< of all controllers; empty if it is in a file
  std::size_t controllers = 0;
  std::vector<std::string> unsettled;
  std::size_t suspensions = 0;  ///< of jobs, that were never ended
};

/// Told of each session, where it is, and what runs it.
using SessionRunner = std::function<void(Session&, Surroundings&, const std::function<void()>& go)>;

/// Executes `plan` as sessions one after the other: each but the last goes down as `downs` say (in
/// their order; one whose record is never written does not strike), and the next resumes from the
/// journal alone. `records` gets what the last one knows, and what the ranks told. `file`: of the
/// journal; empty: in memory. Jobs of `programs` run beside all sessions, to their end. `around` is
/// called for each session.
///
/// Blocks (on ports). Throws std::runtime_error if a journal that was written here cannot be
/// resumed.
SurvivingRun run_through_downs(World& world, const Scenario& scenario, const Instance& instance,
                               const Plan& plan, const std::vector<ControllerDown>& downs,
                               const std::filesystem::path& file, const SessionOptions& options,
                               RunRecords& records, const JobPrograms& programs,
                               const SessionRunner& around);

}  // namespace ferry
