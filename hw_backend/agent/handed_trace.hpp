// A trace in a guest: a file of the controller's machine, of which an agent is handed the lines of
// its ranks, piece by piece, while they wait for it. It lies in the job's folder, so that agents
// and controllers may change in between.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>

#include "core/ports/result.hpp"
#include "hw_backend/agent/messages.hpp"

namespace ferry::agent {

/// Of one guest, as of a whole trace (`mpi::most_trace_bytes`).
inline constexpr std::uint64_t largest_handed_trace = 1ULL << 30U;

/// Adds the piece if it is the next one; says what is there then.
[[nodiscard]] TraceReport take_trace(const std::filesystem::path& folder, const HandTrace& piece);

/// Of a rank: blocks until the trace is whole. Given up if nothing more of it comes for `patience`.
[[nodiscard]] Result<std::filesystem::path> await_trace(const std::filesystem::path& folder,
                                                        std::chrono::milliseconds patience);

}  // namespace ferry::agent
