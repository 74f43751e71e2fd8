#include "core/migration/fault_table.hpp"

#include <algorithm>

#include "core/units/check.hpp"

namespace ferry {

std::string_view to_name(FaultKind kind) {
  switch (kind) {
    case FaultKind::fails_once: return "fails once";
    case FaultKind::fails_always: return "fails always";
    case FaultKind::times_out: return "times out";
    case FaultKind::controller_down: return "controller down";
  }
  return "?";
}

std::span<const AllowedEnds> fault_table() {
  using enum FaultKind;
  using enum Outcome;
  static const std::vector<AllowedEnds> table = {
      {Phase::set_pre_migration, fails_once, {rolled_back}, "nothing was taken away: the jobs go on"},
      {Phase::set_pre_migration, fails_always, {rolled_back}, "as above"},
      {Phase::set_pre_migration, times_out, {rolled_back}, "as above"},
      {Phase::set_pre_migration, controller_down, {rolled_back},
       "nobody waits for the ranks any more: the next controller reactivates the same epoch"},
      {Phase::detach_vf, fails_once, {rolled_back}, "what is gone is attached again on the source"},
      {Phase::detach_vf, fails_always, {rolled_back}, "as above"},
      {Phase::detach_vf, times_out, {rolled_back},
       "an unplug cannot be withdrawn: the jobs stay suspended until it completes, then the device is "
       "attached again on the source"},
      {Phase::detach_vf, controller_down, {rolled_back},
       "what is at work is awaited, then as fails once"},
      {Phase::remove_ivshmem, fails_once, {rolled_back}, "as detach_vf"},
      {Phase::remove_ivshmem, fails_always, {rolled_back}, "as detach_vf"},
      {Phase::remove_ivshmem, times_out, {rolled_back}, "as detach_vf"},
      {Phase::remove_ivshmem, controller_down, {rolled_back}, "as detach_vf"},
      {Phase::migration, fails_once, {rolled_back}, "the source still runs: its devices come back"},
      {Phase::migration, fails_always, {rolled_back}, "as above"},
      {Phase::migration, times_out, {rolled_back}, "the move is aborted, then as above"},
      {Phase::migration, controller_down, {completed, rolled_back},
       "the migration is awaited, after its timeout cancelled; memory that has arrived leads forward, "
       "else its devices come back on the source"},
      {Phase::attach_vf, fails_once, {completed, rolled_back},
       "another virtual function of the destination; if none is free, a migration back"},
      {Phase::attach_vf, fails_always, {degraded},
       "a migration back, where the attach fails too: the VM runs on its source without the device"},
      {Phase::attach_vf, times_out, {completed, rolled_back},
       "taken away again, then another virtual function; if none is free, a migration back"},
      {Phase::attach_vf, controller_down, {completed}, "what is missing is attached where the VM is"},
      {Phase::add_ivshmem, fails_once, {completed}, "tried once more"},
      {Phase::add_ivshmem, fails_always, {degraded}, "as attach_vf"},
      {Phase::add_ivshmem, times_out, {completed}, "taken away again, then tried once more"},
      {Phase::add_ivshmem, controller_down, {completed}, "as attach_vf"},
      {Phase::set_post_migration, fails_once, {completed}, "tried once more"},
      {Phase::set_post_migration, fails_always, {completed},
       "the VM has moved and its channels come back; the reason says that the status is stale"},
      {Phase::set_post_migration, times_out, {completed}, "tried once more"},
      {Phase::set_post_migration, controller_down, {completed}, "done again: both halves of it bear that"},
  };
  return table;
}

const AllowedEnds& allowed_ends(Phase phase, FaultKind fault) {
  const std::span<const AllowedEnds> table = fault_table();
  const auto cell = std::find_if(table.begin(), table.end(), [&](const AllowedEnds& row) {
    return row.phase == phase && row.fault == fault;
  });
  check(cell != table.end(), "every phase and fault has a cell");
  return *cell;
}

}  // namespace ferry
