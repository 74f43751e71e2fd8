// What a seed stands for: a small cluster, moves in it, and what goes wrong.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "controller/communicating_jobs.hpp"
#include "controller/plan.hpp"
#include "core/migration/fault_table.hpp"
#include "core/scenario/instance.hpp"

namespace ferry {

/// A scenario with what follows from it. Copies keep their own instance.
struct Drawn {
  Scenario scenario;
  std::string yaml;  ///< from which the scenario was read: `ferry run` repeats it
  Instance instance;
  Plan plan;
  JobPrograms programs;  ///< of jobs that send messages
};

/// What the ranks of a seed's jobs do.
enum class Ranks { timed, send_messages };

/// The cell of the fault table that this seed is meant to hit; neighbouring seeds take all in turn.
const AllowedEnds& target_of(std::uint64_t seed);

/// The scenario of the seed with those of its faults that are of phases. Never fails: what could
/// not be planned is drawn anew.
Drawn draw_calm(std::uint64_t seed, Ranks ranks);
/// Whether the seed has faults of the cluster or the controller besides.
bool has_more(std::uint64_t seed);
/// The same with them; `journal` is that of the calm run, which tells when each phase was.
Drawn draw_whole(std::uint64_t seed, const Drawn& calm, const std::vector<std::string>& journal);

}  // namespace ferry
