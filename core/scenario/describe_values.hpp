// What the descriptions are written with: the rules that a value must keep, and the words of each
// enumeration.
//
// A description is `template <class Visitor> void describe(Visitor& v, Struct& value)`: one call
// for each key, with the member it fills, the rule of its value and a sentence of documentation.
// Visitors: `StructReader` (reads), `StructWriter` (the resolved dump), `StructSchema` (JSON
// Schema).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/ports/types.hpp"
#include "core/scenario/limits.hpp"
#include "core/scenario/problem.hpp"
#include "core/scenario/scenario.hpp"
#include "core/units/units.hpp"

namespace ferry {

/// Whether a key must be there.
enum class Need : std::uint8_t { required, optional };

/// A number or quantity within bounds, both allowed.
template <class Quantity>
struct Between {
  Quantity low;
  Quantity high;
};
template <class Quantity>
Between(Quantity, Quantity) -> Between<Quantity>;

inline constexpr Between<Duration> any_time{Duration::zero(), limits::time};
inline constexpr Between<Duration> some_time{Duration::nanoseconds(1), limits::time};
inline constexpr Between<Bytes> any_size{Bytes(0), limits::memory};
inline constexpr Between<Bandwidth> any_speed{Bandwidth(), limits::bandwidth};
/// A bandwidth of zero would never end.
inline constexpr Between<Bandwidth> moving_speed{Bandwidth::bytes_per_second(1), limits::bandwidth};
inline constexpr Between<Ratio> share{Ratio(0), Ratio(1)};

/// A bandwidth, or `none` for no limit.
struct SpeedOrNone {
  Between<Bandwidth> bounds;
};
/// A whole number, or `unlimited`.
struct CountOrUnlimited {
  Between<std::uint32_t> bounds;
};
/// A name in lists and paths: letters, digits, `_` and `-`, a letter first.
struct ItemName {};
/// A name of a file's subject: as an item's, but may begin with a digit and contain dots.
struct TitleName {};
/// Text for people.
struct FreeText {
  std::size_t least = 0;  ///< characters
};
/// One of some words.
struct OneOf {
  std::span<const std::string_view> words;
};
/// A reference to hosts or VMs.
struct HostNames {};
struct VmNames {};
/// A reference to hosts, or `any`.
struct HostNamesOrAny {};
/// A list of references to VMs.
struct VmLists {
  std::size_t least = 1;
  std::size_t most = 1000;
};
/// A time, or `never`.
struct TimeOrNever {};
/// `true` or `false`.
struct YesOrNo {};
/// How libvirt is reached: `qemu+tls://HOST/system`.
struct LibvirtUri {};
/// Where a host receives migrations: `SCHEME://HOST`, or `unix:///SOCKET` among the schemes.
struct MigrationUri {
  std::span<const std::string_view> schemes;
};
/// PCI functions: `0000:03:00.[1-7]`.
struct PciNames {};
/// A name that the user gave a domain's device: `ua-vf0`.
struct DeviceAlias {};
/// An absolute path.
struct AbsolutePath {};
/// A whole number in a member that may have none.
struct MaybeNumber {
  Between<std::uint32_t> bounds;
};
/// A list of sizes.
struct SizeList {
  Between<Bytes> bounds;
  std::size_t most = 1000;
};
/// One word of the member's enumeration.
struct Word {};
/// A list of different words of the member's enumeration.
struct Words {
  std::size_t least = 1;
};
/// A mapping described by `describe`.
struct Mapping {};
/// Of `Traffic`.
struct TrafficWords {};
/// Sockets x cores, `2x8`, or a synthetic description of hwloc.
struct SocketsByCores {};
/// The number of a socket, or `any`.
struct SocketOrAny {};
/// A size in a member that may have none.
struct MaybeSize {
  Between<Bytes> bounds;
};
/// A size, or `auto`.
struct SizeOrAuto {
  Between<Bytes> bounds;
};

/// The transports, and the messages of jobs.
inline constexpr std::array<std::string_view, 4> traffic_words = {"tcp", "ipoib", "rdma", "mpi"};
static_assert(traffic_words.size() == transport_count + 1);

/// What a network carries, which two members of `Network` hold.
struct Traffic {
  std::vector<Transport>& transports;
  bool& mpi;
};

/// Values that are not read by rule alone: the reader gets the node itself.
enum class RawShape : std::uint8_t {
  scenario,         ///< a file's name or a mapping
  variations,       ///< path: list, or {from, to, steps, scale}
  assignments,      ///< path: value
  assignment_list,  ///< a list of these
  path_lists,       ///< lists of paths
  pair,             ///< path: [a, b]
  order,            ///< path: [a, b, c]
  number,           ///< a quantity or a plain number
  constant_value,   ///< of {value, source, kind}
  constant_kind,
  claim_ids,
  sigma,
};

/// The words of an enumeration, by enumerator; and those that the format knows but this version
/// does not do.
template <class Enum>
struct EnumWords;

template <>
struct EnumWords<Spread> {
  static constexpr std::array<std::string_view, 2> words = {"round_robin", "pack"};
  static constexpr std::array<std::string_view, 0> unsupported = {};
};
template <>
struct EnumWords<Suspend> {
  static constexpr std::array<std::string_view, 2> words = {"peers", "job"};
  static constexpr std::array<std::string_view, 0> unsupported = {};
};
template <>
struct EnumWords<Reconnect> {
  static constexpr std::array<std::string_view, 2> words = {"lazy", "eager"};
  static constexpr std::array<std::string_view, 0> unsupported = {};
};
template <>
struct EnumWords<Place> {
  static constexpr std::array<std::string_view, 3> words = {"spread", "pack", "in_order"};
  static constexpr std::array<std::string_view, 0> unsupported = {};
};
template <>
struct EnumWords<DeviceStrategy> {
  static constexpr std::array<std::string_view, 3> words = {"detach", "failover", "vfio"};
  static constexpr std::array<std::string_view, 0> unsupported = {};
};
template <>
struct EnumWords<OnStall> {
  static constexpr std::array<std::string_view, 3> words = {"auto_converge", "postcopy", "abort"};
  static constexpr std::array<std::string_view, 0> unsupported = {};
};
template <>
struct EnumWords<Order> {
  static constexpr std::array<std::string_view, 3> words = {"sequential", "parallel", "planned"};
  static constexpr std::array<std::string_view, 0> unsupported = {};
};
template <>
struct EnumWords<Batch> {
  static constexpr std::array<std::string_view, 3> words = {"vm", "job", "all"};
  static constexpr std::array<std::string_view, 0> unsupported = {};
};
template <>
struct EnumWords<WorkloadType> {
  static constexpr auto words = workload_type_names;
  static constexpr std::array<std::string_view, 0> unsupported = {};
};
template <>
struct EnumWords<NasClass> {
  static constexpr std::array<std::string_view, nas_class_count> words = {"S", "W", "A",
                                                                          "B", "C", "D"};
  static constexpr std::array<std::string_view, 0> unsupported = {};
};
template <>
struct EnumWords<IteratedCollective> {
  static constexpr std::array<std::string_view, 10> words = {
      "barrier", "bcast",     "reduce",   "allreduce",      "gather",
      "scatter", "allgather", "alltoall", "reduce_scatter", "scan"};
  static constexpr std::array<std::string_view, 0> unsupported = {};
};
template <>
struct EnumWords<RankMoment> {
  static constexpr std::array<std::string_view, 3> words = {"any", "computing", "communicating"};
  static constexpr std::array<std::string_view, 0> unsupported = {};
};
template <>
struct EnumWords<Strategy> {
  static constexpr std::array<std::string_view, 3> words = {"progress_engine", "migration_thread",
                                                            "none"};
  static constexpr std::array<std::string_view, 0> unsupported = {};
};
template <>
struct EnumWords<Transport> {
  static constexpr std::array<std::string_view, 3> words = {"tcp", "ipoib", "rdma"};
  static constexpr std::array<std::string_view, 0> unsupported = {};
};
template <>
struct EnumWords<ChannelMode> {
  static constexpr std::array<std::string_view, 4> words = {"default", "one_layer", "two_layer",
                                                            "hybrid"};
  static constexpr std::array<std::string_view, 0> unsupported = {};
};
template <>
struct EnumWords<ChannelDevice> {
  static constexpr std::array<std::string_view, 3> words = {"sriov", "passthrough", "native"};
  static constexpr std::array<std::string_view, 0> unsupported = {};
};
template <>
struct EnumWords<MemoryMode> {
  static constexpr std::array<std::string_view, 4> words = {"precopy", "postcopy", "hybrid",
                                                            "offline"};
  static constexpr std::array<std::string_view, 0> unsupported = {};
};
template <>
struct EnumWords<Compression> {
  static constexpr std::array<std::string_view, 3> words = {"none", "xbzrle", "zstd"};
  static constexpr std::array<std::string_view, 0> unsupported = {};
};
template <>
struct EnumWords<Phase> {
  static constexpr std::array<std::string_view, 7> words = {
      "set_pre_migration", "detach_vf",   "remove_ivshmem",    "migration",
      "attach_vf",         "add_ivshmem", "set_post_migration"};
  static constexpr std::array<std::string_view, 0> unsupported = {};
};
template <>
struct EnumWords<Fault::Fail> {
  static constexpr std::array<std::string_view, 3> words = {"no", "once", "always"};
  static constexpr std::array<std::string_view, 0> unsupported = {};
};
template <>
struct EnumWords<Fault::LastRecord> {
  static constexpr std::array<std::string_view, 3> words = {"torn", "whole", "missing"};
  static constexpr std::array<std::string_view, 0> unsupported = {};
};

}  // namespace ferry
