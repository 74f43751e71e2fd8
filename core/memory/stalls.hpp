// What happens to a pre-copy that does not converge.
#pragma once

#include <string>

#include "core/ports/hypervisor.hpp"

namespace ferry {

/// Pre-copy has stalled when it has done `max_rounds` rounds without converging. Then the next
/// entry of `on_stall` happens; unless that ends pre-copy it has another `max_rounds` rounds. The
/// end of the list aborts. Mode `hybrid` does one round and goes on as post-copy; that is no stall.
/// (A hybrid move that has converged by then ends as pre-copy does, which QEMU tests first.)
class Stalls {
 public:
  /// `options` must live as long.
  explicit Stalls(const TransferOptions& options) : options_(options) {}

  /// How many rounds pre-copy may have done before `next` is asked.
  [[nodiscard]] int round_limit() const { return limit_ == 0 ? first_limit() : limit_; }
  /// At the limit: what happens now.
  OnStall next();

  /// "did not converge in 30 rounds: throttled (auto_converge), then post-copy"; empty: it did not
  /// stall, or the move was aborted at once.
  [[nodiscard]] const std::string& note() const { return note_; }

 private:
  [[nodiscard]] int first_limit() const {
    return options_.mode == MemoryMode::hybrid ? 1 : options_.max_rounds;
  }
  const TransferOptions& options_;
  int limit_ = 0;
  std::size_t used_ = 0;  ///< entries of `on_stall`
  std::string note_;
};

}  // namespace ferry
