#include "core/memory/stalls.hpp"

namespace ferry {

OnStall Stalls::next() {
  if (options_.mode == MemoryMode::hybrid) return OnStall::postcopy;
  if (used_ == options_.on_stall.size()) return OnStall::abort;
  const OnStall action = options_.on_stall[used_++];
  if (action == OnStall::abort) return action;
  if (note_.empty()) {
    note_ = "did not converge in " + std::to_string(round_limit()) + " rounds: ";
  } else {
    note_ += ", then ";
  }
  if (action == OnStall::postcopy) {
    note_ += "post-copy";
  } else {
    note_ += options_.auto_converge ? "was throttled already (auto_converge)"
                                    : "throttled (auto_converge)";
  }
  limit_ = round_limit() + options_.max_rounds;
  return action;
}

}  // namespace ferry
