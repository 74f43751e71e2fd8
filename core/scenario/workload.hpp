// What the ranks of a job do, as a scenario says it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/scenario/varying.hpp"
#include "core/units/units.hpp"

namespace ferry {

enum class WorkloadType : std::uint8_t {
  timed,  ///< no messages: a stand-in whose ranks answer requests after given times
  osu_latency,
  osu_bw,
  osu_bcast,
  osu_allreduce,
  overlap,
  iterate,
  nas_lu,
  nas_ep,
  nas_is,
  nas_mg,
  nas_cg,
  nas_ft,
  graph500,
  trace,
};
inline constexpr std::size_t workload_type_count = 15;
inline constexpr std::size_t nas_kernel_count = 6;
inline constexpr std::array<std::string_view, workload_type_count> workload_type_names = {
    "timed",   "osu_latency", "osu_bw", "osu_bcast", "osu_allreduce",
    "overlap", "iterate",     "nas_lu", "nas_ep",    "nas_is",
    "nas_mg",  "nas_cg",      "nas_ft", "graph500",  "trace"};
[[nodiscard]] constexpr std::string_view to_name(WorkloadType type) {
  return workload_type_names[static_cast<std::size_t>(type)];
}

/// Problem sizes of the NAS Parallel Benchmarks.
enum class NasClass : std::uint8_t { S, W, A, B, C, D };
inline constexpr std::size_t nas_class_count = 6;

/// The collective of `iterate`.
enum class IteratedCollective : std::uint8_t {
  barrier,
  bcast,
  reduce,
  allreduce,
  gather,
  scatter,
  allgather,
  alltoall,
  reduce_scatter,
  scan,
};

/// The stand-in for an MPI job: its ranks answer requests after given times.
struct TimedWorkload {
  Varying<Duration>
      next_call;  ///< progress engine: until the rank's next MPI call (one draw a rank)
};

/// Which keys a type has is said in `describe_workload.hpp`; the members of the others are as here.
struct Workload {
  WorkloadType type = WorkloadType::timed;
  TimedWorkload timed;
  NasClass nas_class = NasClass::S;  ///< key `class`
  /// Of each size of osu_*, of the loop of iterate, overlap and nas_*, searches of graph500. None:
  /// as many as the benchmark itself makes.
  std::optional<std::uint32_t> iterations;
  std::optional<std::uint32_t> warm_up;  ///< before them and not measured; none: the benchmark's
  std::uint32_t rounds = 1;              ///< of all sizes
  std::vector<Bytes> sizes;
  Bytes message = Bytes(8);     ///< of overlap and iterate
  std::uint32_t exchanges = 1;  ///< of overlap: before each computation
  Ratio share;                  ///< of overlap: of its time without a migration that it computes
  Duration compute;             ///< of iterate: before each collective
  Ratio jitter;  ///< of iterate: computations last 1 - jitter to 1 + jitter times as long
  IteratedCollective collective = IteratedCollective::allreduce;
  std::uint32_t scale = 0;         ///< of graph500: log2 of vertices
  std::uint32_t edge_factor = 16;  ///< of graph500: edges for each vertex
  std::string file;                ///< of trace; relative to the scenario's folder
};

[[nodiscard]] constexpr bool is_nas(WorkloadType type) {
  return type >= WorkloadType::nas_lu && type <= WorkloadType::nas_ft;
}
[[nodiscard]] constexpr bool is_osu(WorkloadType type) {
  return type >= WorkloadType::osu_latency && type <= WorkloadType::osu_allreduce;
}
/// Whether its ranks do anything but communicate (of traces: may do).
[[nodiscard]] constexpr bool computes(WorkloadType type) { return !is_osu(type); }

/// Whether anything in it is drawn.
[[nodiscard]] inline bool is_random(const Workload& workload) {
  return workload.timed.next_call.is_random() || workload.jitter > Ratio(0) ||
         workload.type == WorkloadType::graph500;
}

/// Why `workload` cannot run on so many ranks, and what would be right; none if it can.
[[nodiscard]] std::optional<std::string> refused_ranks(const Workload& workload,
                                                       std::uint32_t ranks);

}  // namespace ferry
