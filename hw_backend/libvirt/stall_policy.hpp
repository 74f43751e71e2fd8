// When a pre-copy has stalled and what happens then (`on_stall`); also the switch to post-copy of the
// modes that have one. Pure: it is told of rounds.
#pragma once

#include <cstddef>
#include <string>

#include "core/ports/hypervisor.hpp"

namespace ferry {

enum class StallAction {
  go_on,
  postcopy,     ///< switch over now
  begin_again,  ///< abort, and migrate again with auto-converge: it cannot be turned on meanwhile
  abort,
};

class StallPolicy {
 public:
  explicit StallPolicy(const TransferOptions& options)
      : options_(options), throttled_(options.auto_converge) {}

  /// The guest still runs on its source and QEMU begins `iteration`, from 1 in every attempt. Each
  /// action is told once.
  StallAction iteration_begins(int iteration);

  /// Whether the next attempt runs with auto-converge.
  [[nodiscard]] bool throttled() const { return throttled_; }
  /// What was done, for `TransferReport::note`; empty if pre-copy did not stall.
  [[nodiscard]] std::string note() const { return note_; }

 private:
  StallAction stalled(int rounds);

  const TransferOptions& options_;
  bool throttled_;
  bool switched_ = false;
  int patience_from_ = 0;  ///< rounds of this attempt that were granted before
  int rounds_before_ = 0;  ///< of earlier attempts
  std::size_t next_ = 0;   ///< in `on_stall`
  std::string note_;
};

}  // namespace ferry
