#include "hw_backend/libvirt/stall_policy.hpp"

namespace ferry {

StallAction StallPolicy::iteration_begins(int iteration) {
  if (switched_) return StallAction::go_on;
  const int done = iteration - 1;
  switch (options_.mode) {
    case MemoryMode::offline: return StallAction::go_on;
    case MemoryMode::postcopy: switched_ = true; return StallAction::postcopy;
    case MemoryMode::hybrid:
      if (done < 1) return StallAction::go_on;
      switched_ = true;
      return StallAction::postcopy;
    case MemoryMode::precopy: break;
  }
  if (done - patience_from_ < options_.max_rounds) return StallAction::go_on;
  return stalled(done);
}

StallAction StallPolicy::stalled(int rounds) {
  if (note_.empty()) {
    note_ = "did not converge in " + std::to_string(rounds_before_ + rounds) + " rounds: ";
  } else {
    note_ += ", then ";
  }
  const OnStall action =
      next_ < options_.on_stall.size() ? options_.on_stall[next_++] : OnStall::abort;
  switch (action) {
    case OnStall::auto_converge:
      if (throttled_) {
        note_ += "was throttled already (auto_converge)";
        patience_from_ = rounds;
        return StallAction::go_on;
      }
      note_ += "throttled (auto_converge)";
      throttled_ = true;
      rounds_before_ += rounds;
      patience_from_ = 0;
      return StallAction::begin_again;
    case OnStall::postcopy:
      note_ += "post-copy";
      switched_ = true;
      return StallAction::postcopy;
    case OnStall::abort: break;
  }
  note_ += "aborted";
  return StallAction::abort;
}

}  // namespace ferry
