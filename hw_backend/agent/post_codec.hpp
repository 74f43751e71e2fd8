// Posts of a job's board, and what a rank came to, as bytes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/mpi/collectives/groups.hpp"
#include "core/mpi/rank_board.hpp"
#include "core/mpi/workloads/workload_log.hpp"
#include "core/ports/result.hpp"
#include "hw_backend/agent/fields.hpp"

namespace ferry::agent {

/// A post, and of an `ask` the places that it is about.
struct PostOnBoard {
  mpi::Post post;
  std::shared_ptr<const mpi::JobLocality> locality;
};
[[nodiscard]] Bytes8 encode_post(const PostOnBoard& on_board);
/// The failure says that it is malformed.
[[nodiscard]] Result<PostOnBoard> decode_post(std::span<const std::byte> bytes);

/// What a rank leaves in the file `result` when it ends. Times are of the guest's CLOCK_MONOTONIC.
struct RankResult {
  mpi::RankLog log;
  std::vector<std::string> complaints;  ///< that did not end the job
};
[[nodiscard]] Bytes8 encode_result(const RankResult& result);
[[nodiscard]] Result<RankResult> decode_result(std::span<const std::byte> bytes);

}  // namespace ferry::agent
