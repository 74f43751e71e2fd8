// Which fault in which phase may end how. The oracle of the tests in every world, and the table in
// the documentation.
#pragma once

#include <array>
#include <span>
#include <string_view>
#include <vector>

#include "core/ports/types.hpp"

namespace ferry {

enum class FaultKind {
  fails_once,       ///< the operation answers that it failed, the first time
  fails_always,     ///< each time, on every host
  times_out,        ///< it ends after its timeout
  host_down,        ///< the host that the VM is on goes down
  other_host_down,  ///< the other host of its move does
  link_down,        ///< the link of one of the two hosts does, for some time or for good
  slow_link,        ///< it becomes slower
  late_libvirt,     ///< the libvirt of one of the two hosts answers late
  controller_down,  ///< the controller goes down in it, and another one resumes
};
inline constexpr std::array all_fault_kinds = {
    FaultKind::fails_once, FaultKind::fails_always,    FaultKind::times_out,
    FaultKind::host_down,  FaultKind::other_host_down, FaultKind::link_down,
    FaultKind::slow_link,  FaultKind::late_libvirt,    FaultKind::controller_down};
std::string_view to_name(FaultKind kind);

/// One cell of the table, for a move without retries that nothing else happens to.
struct AllowedEnds {
  Phase phase;
  FaultKind fault;
  std::vector<Outcome> ends;
  std::string_view why;
  /// Besides, where the memory may have been left to post-copy.
  std::vector<Outcome> with_post_copy = {};
};

/// Every phase with every kind of fault, in order of phases.
std::span<const AllowedEnds> fault_table();
/// The cell of one phase and fault.
const AllowedEnds& allowed_ends(Phase phase, FaultKind fault);

}  // namespace ferry
