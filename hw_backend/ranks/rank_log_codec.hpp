// A rank's log as bytes: what ranks send to the one that writes the results.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "core/mpi/workloads/workload_log.hpp"

namespace ferry::ranks {

/// Times are shifted by `to_common_clock`.
[[nodiscard]] std::vector<std::byte> encode(const mpi::RankLog& log, Duration to_common_clock);
/// None: the bytes are no log. Never takes more memory than a small multiple of their number.
[[nodiscard]] std::optional<mpi::RankLog> decode_rank_log(std::span<const std::byte> bytes);

}  // namespace ferry::ranks
