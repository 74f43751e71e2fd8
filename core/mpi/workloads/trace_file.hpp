// Time-independent traces as SimGrid writes them (`smpirun -trace-ti`) and replays them
// (smpi_replay.cpp): one action a line, `RANK ACTION ARGUMENT...`. All ranks in one file, or a file
// that lists files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "core/mpi/types.hpp"
#include "core/mpi/workloads/calls.hpp"
#include "core/mpi/workloads/workload_log.hpp"

namespace ferry::mpi {

struct TraceAction {
  enum class Kind : std::uint8_t {
    compute,  ///< `amount` of the trace's units (flops, or instructions)
    sleep,    ///< `amount` seconds
    send,
    receive,
    isend,
    irecv,
    sendrecv,
    wait,
    test,
    wait_all,
    barrier,
    bcast,
    reduce,
    allreduce,
    gather,
    gatherv,
    scatter,
    scatterv,
    allgather,
    allgatherv,
    alltoall,
    alltoallv,
    reduce_scatter,
    scan,
  };
  Kind kind = Kind::compute;
  bool sends = false;  ///< of wait and test: what is waited for
  Rank partner = 0;    ///< or root
  Rank from = 0;       ///< of sendrecv
  Tag tag = 0;
  double amount = 0;       ///< of a reduction: to compute after it
  std::uint64_t size = 0;  ///< bytes
  std::uint64_t into = 0;  ///< of sendrecv: bytes that are received
  std::uint32_t list = 0;  ///< first of the sizes by rank in `lists`; of alltoallv twice as many
};

/// A receive whose size the trace does not know.
inline constexpr std::uint64_t unknown_size = ~std::uint64_t{0};

struct TraceProgram {
  struct RankProgram {
    std::vector<TraceAction> actions;
    std::vector<std::size_t> lists;
  };
  std::vector<RankProgram> ranks;
};

/// Bounds of what is read.
inline constexpr std::uint64_t most_trace_bytes = 1ULL << 30U;
inline constexpr std::uint64_t most_trace_actions = 50'000'000;
inline constexpr std::size_t most_trace_errors = 20;

/// `FILE:LINE: what is wrong; what would be right`, one or more.
using TraceErrors = std::vector<std::string>;

/// A piece of a trace: its text and what it is called in errors.
struct TraceText {
  std::string name;
  std::string_view text;
};

/// `ranks`: of the job; those of the trace have to be as many. `only`: what others do is neither
/// read nor missed.
[[nodiscard]] tl::expected<TraceProgram, TraceErrors> parse_trace(
    const std::vector<TraceText>& texts, std::uint32_t ranks,
    std::optional<std::uint32_t> only = std::nullopt);
/// Whether the text lists files of a trace, by their names relative to its folder.
[[nodiscard]] std::optional<std::vector<std::string>> listed_files(std::string_view text);
[[nodiscard]] tl::expected<TraceProgram, TraceErrors> read_trace(
    const std::filesystem::path& file, std::uint32_t ranks,
    std::optional<std::uint32_t> only = std::nullopt);

/// The trace as one text for each group of ranks, each with the lines of its ranks alone.
/// `groups_of_ranks`: by rank, from 0 on without gaps.
[[nodiscard]] tl::expected<std::vector<std::string>, TraceErrors> divide_trace(
    const std::filesystem::path& file, const std::vector<std::uint32_t>& groups_of_ranks);

/// `million_units`: time for a million of the trace's units of computation.
void run_trace(const TraceProgram::RankProgram& program, Duration million_units, Calls& calls);
[[nodiscard]] Traffic trace_traffic(const TraceProgram& program, std::uint32_t rank);

}  // namespace ferry::mpi
