// Which fault in which phase may end how. The oracle of the tests in every world, and the table in
// the documentation.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "core/ports/types.hpp"

namespace ferry {

enum class FaultKind {
  fails_once,    ///< the operation answers that it failed, the first time
  fails_always,  ///< each time, on every host
  times_out,     ///< it ends after its timeout
  controller_down,  ///< the controller goes down in it, and another one resumes
};
std::string_view to_name(FaultKind kind);

/// One cell of the table, for a move without retries.
struct AllowedEnds {
  Phase phase;
  FaultKind fault;
  std::vector<Outcome> ends;
  std::string_view why;
};

/// Every phase with every kind of fault, in order of phases.
std::span<const AllowedEnds> fault_table();
/// The cell of one phase and fault.
const AllowedEnds& allowed_ends(Phase phase, FaultKind fault);

}  // namespace ferry
