// The words of the journal's records: what a controller writes before it changes the world (an
// intent, synced) and after (a note). `journal_history.hpp` reads them.
//
// A record is words with single spaces between; TIME is in nanoseconds on the clock of the run, and
// a text (REASON) is always last:
//
// clang-format off
//   controller NUMBER TIME ORIGIN             a controller begins its work; ORIGIN as in SessionOptions
//   controller ends TIME done|interrupted
//   wave N opens TIME moves MOVE:VM:FROM:TO ... jobs JOB:EPOCH ...
//   wave N suspended TIME                     set_pre_migration has ended, the ranks are ready
//   wave N unsuspended TIME cancelled|failed REASON
//   detach_vf|remove_ivshmem|attach_vf|add_ivshmem VM HOST TIME
//   migration VM FROM TO TIME
//   round VM ROUND BYTES NANOSECONDS DIRTY_BYTES
//   done|failed|late PHASE VM TIME            late: failed, but the device has gone since
//   done migration VM TIME DOWNTIME BYTES ROUNDS NOTE
//   traffic VM REDIRECTED LOST                nanoseconds of the move until now, as in `MoveEnd`
//   replaced VM HOST                          another virtual function; the one before is out of use
//   back VM HOST REASON                       to the source, because a device could not be attached
//   rest VM TIME OUTCOME HOST VF_GONE|- REASON   a second one: it was lost since
//   wave N reactivates TIME                   set_post_migration begins
//   stale VM REASON                           set_post_migration failed for this VM
//   wave N closed TIME
//   down HOST                                 it does not answer, and is out of use from now on
//   given_up MOVE:VM TIME REASON              it will not be begun (again), and later ones may be
// clang-format on
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/migration/wave_move.hpp"
#include "core/ports/hypervisor.hpp"
#include "core/ports/job_runtime.hpp"
#include "core/scenario/instance.hpp"

namespace ferry::records {

enum class PhaseEnd { done, failed, late };

std::string controller_begins(std::uint64_t number, TimePoint now, std::int64_t origin);
std::string controller_ends(TimePoint now, bool interrupted);
std::string wave_opens(const Instance& instance, std::uint64_t wave, TimePoint opened,
                       std::span<const WaveMove> moves, std::span<const SuspendRequest> requests);
std::string wave_suspended(std::uint64_t wave, TimePoint now);
std::string wave_unsuspended(std::uint64_t wave, TimePoint now, bool cancelled,
                             std::string_view reason);
/// Any of the four phases of devices.
std::string device_begins(Phase phase, std::string_view vm, std::string_view host, TimePoint now);
std::string migration_begins(std::string_view vm, std::string_view from, std::string_view to,
                             TimePoint now);
std::string round_ends(std::string_view vm, const RoundReport& round);
std::string phase_ends(PhaseEnd end, Phase phase, std::string_view vm, TimePoint now);
std::string migration_done(std::string_view vm, TimePoint now, const TransferReport& report);
std::string traffic_lost(std::string_view vm, Duration redirected, Duration lost);
std::string function_replaced(std::string_view vm, std::string_view host);
std::string host_is_down(std::string_view host);
std::string given_up(std::uint64_t move, std::string_view vm, TimePoint now,
                     std::string_view reason);
std::string goes_back(std::string_view vm, std::string_view host, std::string_view reason);
std::string at_rest(std::string_view vm, TimePoint now, Outcome outcome, std::string_view host,
                    std::optional<TimePoint> vf_gone, std::string_view reason);
std::string wave_reactivates(std::uint64_t wave, TimePoint now);
std::string status_is_stale(std::string_view vm, std::string_view reason);
std::string wave_closed(std::uint64_t wave, TimePoint now);

}  // namespace ferry::records
