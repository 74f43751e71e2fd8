#include "hw_backend/libvirt/stall_policy.hpp"

namespace ferry {

StallAction StallPolicy::iteration_begins(int iteration) {
  if (switched_ || options_.mode == MemoryMode::offline) return StallAction::go_on;
  rounds_ = rounds_before_ + iteration - 1;
  if (options_.mode != MemoryMode::postcopy) {
    if (rounds_ < stalls_.round_limit()) return StallAction::go_on;
    switch (stalls_.next()) {
      case OnStall::abort: return StallAction::abort;
      case OnStall::postcopy: break;
      case OnStall::auto_converge:
        if (throttled_) return StallAction::go_on;  // it is on, and gets its rounds
        throttled_ = true;
        rounds_before_ = rounds_;
        return StallAction::begin_again;
    }
  }
  switched_ = true;
  return StallAction::postcopy;
}

std::string StallPolicy::reason_to_abort() const {
  if (!note().empty()) return note() + ", then aborted";
  return "did not converge in " + std::to_string(rounds_) + " rounds";
}

}  // namespace ferry
