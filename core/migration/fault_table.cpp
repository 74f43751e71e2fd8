#include "core/migration/fault_table.hpp"

#include <algorithm>

#include "core/units/check.hpp"

namespace ferry {

std::string_view to_name(FaultKind kind) {
  switch (kind) {
    case FaultKind::fails_once: return "fails once";
    case FaultKind::fails_always: return "fails always";
    case FaultKind::times_out: return "times out";
    case FaultKind::host_down: return "host down";
    case FaultKind::other_host_down: return "other host down";
    case FaultKind::link_down: return "link down";
    case FaultKind::slow_link: return "slow link";
    case FaultKind::late_libvirt: return "late libvirt";
    case FaultKind::controller_down: return "controller down";
  }
  return "?";
}

std::span<const AllowedEnds> fault_table() {
  using enum FaultKind;
  using enum Outcome;
  static const std::vector<AllowedEnds> table = {
      {Phase::set_pre_migration,
       fails_once,
       {rolled_back},
       "nothing was taken away: the jobs go on"},
      {Phase::set_pre_migration, fails_always, {rolled_back}, "as above"},
      {Phase::set_pre_migration, times_out, {rolled_back}, "as above"},
      {Phase::set_pre_migration, host_down, {lost}, "the VM goes down with it"},
      {Phase::set_pre_migration,
       other_host_down,
       {completed, rolled_back},
       "the destination cannot be prepared; completed if it is back by then"},
      {Phase::set_pre_migration, link_down, {completed, rolled_back}, "as migration, if it lasts"},
      {Phase::set_pre_migration, slow_link, {completed, rolled_back}, "as migration, if it lasts"},
      {Phase::set_pre_migration,
       late_libvirt,
       {completed, rolled_back, degraded},
       "no later than the timeout it only takes longer; else as times out, in each phase that it "
       "lasts for"},
      {Phase::set_pre_migration,
       controller_down,
       {rolled_back},
       "nobody waits for the ranks any more: the next controller reactivates the same epoch"},
      {Phase::detach_vf, fails_once, {rolled_back}, "what is gone is attached again on the source"},
      {Phase::detach_vf, fails_always, {rolled_back}, "as above"},
      {Phase::detach_vf,
       times_out,
       {rolled_back},
       "an unplug cannot be withdrawn: the jobs stay suspended until it completes, then the device "
       "is "
       "attached again on the source"},
      {Phase::detach_vf, host_down, {lost}, "as set_pre_migration"},
      {Phase::detach_vf, other_host_down, {completed, rolled_back}, "as set_pre_migration"},
      {Phase::detach_vf, link_down, {completed, rolled_back}, "as set_pre_migration"},
      {Phase::detach_vf, slow_link, {completed, rolled_back}, "as set_pre_migration"},
      {Phase::detach_vf, late_libvirt, {completed, rolled_back, degraded}, "as set_pre_migration"},
      {Phase::detach_vf,
       controller_down,
       {rolled_back},
       "what is at work is awaited, then as fails once"},
      {Phase::remove_ivshmem, fails_once, {rolled_back}, "as detach_vf"},
      {Phase::remove_ivshmem, fails_always, {rolled_back}, "as detach_vf"},
      {Phase::remove_ivshmem, times_out, {rolled_back}, "as detach_vf"},
      {Phase::remove_ivshmem, host_down, {lost}, "as set_pre_migration"},
      {Phase::remove_ivshmem, other_host_down, {completed, rolled_back}, "as set_pre_migration"},
      {Phase::remove_ivshmem, link_down, {completed, rolled_back}, "as set_pre_migration"},
      {Phase::remove_ivshmem, slow_link, {completed, rolled_back}, "as set_pre_migration"},
      {Phase::remove_ivshmem,
       late_libvirt,
       {completed, rolled_back, degraded},
       "as set_pre_migration"},
      {Phase::remove_ivshmem, controller_down, {rolled_back}, "as detach_vf"},
      {Phase::migration, fails_once, {rolled_back}, "the source still runs: its devices come back"},
      {Phase::migration, fails_always, {rolled_back}, "as above"},
      {Phase::migration, times_out, {rolled_back}, "the move is aborted, then as above"},
      {Phase::migration,
       host_down,
       {lost},
       "on its source until the switch-over, then on its destination"},
      {Phase::migration,
       other_host_down,
       {completed, rolled_back},
       "the migration fails, and the VM goes on at its source; once it has been switched over it "
       "needs the source no more, except with post-copy",
       {lost}},
      {Phase::migration,
       link_down,
       {completed, rolled_back},
       "it stands still, and goes on if the link is up again before libvirt gives its connection "
       "up; else as other host down",
       {lost}},
      {Phase::migration,
       slow_link,
       {completed, rolled_back},
       "it takes longer: rolled back if it times out or no longer converges"},
      {Phase::migration,
       late_libvirt,
       {completed, rolled_back, degraded},
       "the destination is prepared late; rolled back if that is after the timeout"},
      {Phase::migration,
       controller_down,
       {completed, rolled_back},
       "the migration is awaited, after its timeout cancelled; memory that has arrived leads "
       "forward, "
       "else its devices come back on the source"},
      {Phase::attach_vf,
       fails_once,
       {completed, rolled_back},
       "another virtual function of the destination; if none is free, a migration back"},
      {Phase::attach_vf,
       fails_always,
       {degraded},
       "a migration back, where the attach fails too: the VM runs on its source without the "
       "device"},
      {Phase::attach_vf,
       times_out,
       {completed, rolled_back},
       "taken away again, then another virtual function; if none is free, a migration back"},
      {Phase::attach_vf, host_down, {lost}, "as above"},
      {Phase::attach_vf, other_host_down, {completed}, "nobody needs the source any more"},
      {Phase::attach_vf, link_down, {completed}, "no memory is on its way"},
      {Phase::attach_vf, slow_link, {completed}, "as above"},
      {Phase::attach_vf,
       late_libvirt,
       {completed, rolled_back, degraded},
       "later than its timeout: as times out, or as fails always"},
      {Phase::attach_vf,
       controller_down,
       {completed},
       "what is missing is attached where the VM is"},
      {Phase::add_ivshmem, fails_once, {completed}, "tried once more"},
      {Phase::add_ivshmem, fails_always, {degraded}, "as attach_vf"},
      {Phase::add_ivshmem, times_out, {completed}, "taken away again, then tried once more"},
      {Phase::add_ivshmem, host_down, {lost}, "as attach_vf"},
      {Phase::add_ivshmem, other_host_down, {completed}, "as attach_vf"},
      {Phase::add_ivshmem, link_down, {completed}, "as attach_vf"},
      {Phase::add_ivshmem, slow_link, {completed}, "as attach_vf"},
      {Phase::add_ivshmem, late_libvirt, {completed, rolled_back, degraded}, "as attach_vf"},
      {Phase::add_ivshmem, controller_down, {completed}, "as attach_vf"},
      {Phase::set_post_migration, fails_once, {completed}, "tried once more"},
      {Phase::set_post_migration,
       fails_always,
       {completed},
       "the VM has moved and its channels come back; the reason says that the status is stale"},
      {Phase::set_post_migration, times_out, {completed}, "tried once more"},
      {Phase::set_post_migration,
       host_down,
       {completed, lost},
       "while it waits for its wave, too; completed if its status was set before"},
      {Phase::set_post_migration, other_host_down, {completed}, "as attach_vf"},
      {Phase::set_post_migration, link_down, {completed}, "as attach_vf"},
      {Phase::set_post_migration, slow_link, {completed}, "as attach_vf"},
      {Phase::set_post_migration,
       late_libvirt,
       {completed},
       "later than its timeout: as fails always"},
      {Phase::set_post_migration,
       controller_down,
       {completed},
       "done again: both halves of it bear that"},
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
