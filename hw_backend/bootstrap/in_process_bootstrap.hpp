// The bootstrap of ranks that are threads of one process.
#pragma once

#include <memory>

#include "core/ports/bootstrap.hpp"
#include "hw_backend/bootstrap/mailbox.hpp"

namespace ferry {

/// Where such ranks meet. It outlives none of their ends: these share it.
class BootstrapHub : public std::enable_shared_from_this<BootstrapHub> {
 public:
  /// For ranks below `size`.
  [[nodiscard]] static std::shared_ptr<BootstrapHub> make(std::uint32_t size);
  ~BootstrapHub();
  /// The end of `rank`, which nobody else has now. What was sent to it before is lost.
  [[nodiscard]] std::unique_ptr<Bootstrap> join(RankId rank);
  /// The end of the lowest rank that nobody has had yet.
  [[nodiscard]] std::unique_ptr<Bootstrap> join_next();
  /// Tests: of all messages from now on, the share that is lost, drawn from `seed`.
  void lose(double share, std::uint64_t seed);

 private:
  class End;
  struct State;
  explicit BootstrapHub(std::uint32_t size);
  std::unique_ptr<State> state_;
};

}  // namespace ferry
