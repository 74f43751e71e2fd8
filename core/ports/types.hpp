// The words that every port and every part of core share: identities, phases, transports.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string_view>

namespace ferry {

/// Index of an entity in the expanded scenario; a different type per kind, so they cannot be mixed.
template <class Tag>
struct Id {
  std::uint32_t index = 0;
  constexpr auto operator<=>(const Id&) const = default;
};
using HostId = Id<struct HostTag>;
using VmId = Id<struct VmTag>;
using JobId = Id<struct JobTag>;
/// Rank number within its job.
using RankId = Id<struct RankTag>;

/// The seven timed steps of a migration, in order. The names are the same everywhere.
enum class Phase : std::uint8_t {
  set_pre_migration,
  detach_vf,
  remove_ivshmem,
  migration,
  attach_vf,
  add_ivshmem,
  set_post_migration,
};
inline constexpr std::size_t phase_count = 7;
inline constexpr std::array<Phase, phase_count> all_phases = {
    Phase::set_pre_migration, Phase::detach_vf,   Phase::remove_ivshmem,    Phase::migration,
    Phase::attach_vf,         Phase::add_ivshmem, Phase::set_post_migration};
std::string_view to_name(Phase phase);

/// What carries the guest's memory.
enum class Transport : std::uint8_t { tcp, ipoib, rdma };
inline constexpr std::size_t transport_count = 3;
std::string_view to_name(Transport transport);

/// What a rank does when a migration request reaches it.
enum class RankMoment : std::uint8_t { any, computing, communicating };
std::string_view to_name(RankMoment moment);

/// What the MPI runtime does about a migration request.
enum class Strategy : std::uint8_t { progress_engine, migration_thread, none };
std::string_view to_name(Strategy strategy);

/// How guest memory moves.
enum class MemoryMode : std::uint8_t {
  precopy,   ///< while the guest runs on the source; then it pauses and the rest follows
  postcopy,  ///< the guest moves at once and its memory follows
  hybrid,    ///< one round of pre-copy, then as postcopy
  offline,   ///< with the guest stopped
};
std::string_view to_name(MemoryMode mode);

/// What is done to guest pages before they are sent.
enum class Compression : std::uint8_t {
  none,
  xbzrle,  ///< a page that was sent before is sent as its difference, if it is in a cache
  zstd,    ///< on the way through several streams
};
std::string_view to_name(Compression compression);

/// What happens to a pre-copy that has stalled: that has done all its rounds and not converged.
enum class OnStall : std::uint8_t {
  auto_converge,  ///< the guest is throttled
  postcopy,       ///< the guest moves and the rest of its memory follows
  abort,          ///< the move is aborted; the guest stays on its source
};
std::string_view to_name(OnStall action);

/// What is done about a virtual function when its VM moves.
enum class DeviceStrategy : std::uint8_t {
  detach,    ///< unplugged before and plugged after; jobs are suspended meanwhile
  failover,  ///< the same, while the guest's traffic goes over a paravirtual NIC: no job is asked
  vfio,      ///< it stays: its state moves with the guest; no job is asked
};
std::string_view to_name(DeviceStrategy strategy);

/// The devices that a VM gives up before it moves.
enum class DeviceKind : std::uint8_t { virtual_function, ivshmem };
inline constexpr std::array<DeviceKind, 2> all_device_kinds = {DeviceKind::virtual_function,
                                                               DeviceKind::ivshmem};
std::string_view to_name(DeviceKind kind);

/// How a phase, or a whole migration, ended.
enum class Outcome : std::uint8_t {
  completed,    ///< as asked
  rolled_back,  ///< the VM runs on its source host with its devices, as before
  degraded,     ///< the VM runs, on the host that the row names, without one of its devices
  cancelled,    ///< stopped by the user and rolled back
  not_started,  ///< never begun (interrupted before, or its reservation was refused)
  lost,         ///< the VM runs nowhere; allowed only where its host died
  failed,       ///< of a span: this phase failed
};
std::string_view to_name(Outcome outcome);

}  // namespace ferry
