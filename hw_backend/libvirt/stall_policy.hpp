// What a migration does when QEMU begins a round: goes on, or what `on_stall` and the memory mode
// say. Pure: it is told of rounds.
#pragma once

#include <string>

#include "core/memory/stalls.hpp"
#include "core/ports/hypervisor.hpp"

namespace ferry {

enum class StallAction {
  go_on,
  postcopy,     ///< switch over now
  begin_again,  ///< abort, and migrate again with auto-converge: libvirt cannot turn it on
                ///< meanwhile
  abort,
};

class StallPolicy {
 public:
  /// `options` must live as long.
  explicit StallPolicy(const TransferOptions& options)
      : options_(options), stalls_(options), throttled_(options.auto_converge) {}

  /// The guest still runs on its source and QEMU begins `iteration`, from 1 in every attempt. Each
  /// action is told once.
  StallAction iteration_begins(int iteration);

  /// Whether the next attempt runs with auto-converge.
  [[nodiscard]] bool throttled() const { return throttled_; }
  /// For `TransferReport::note`: what was done about a stall; empty if pre-copy did not stall.
  [[nodiscard]] const std::string& note() const { return stalls_.note(); }
  /// For the reason of a move that was aborted.
  [[nodiscard]] std::string reason_to_abort() const;

 private:
  const TransferOptions& options_;
  Stalls stalls_;
  bool throttled_;
  bool switched_ = false;
  int rounds_ = 0;         ///< done, those of earlier attempts included
  int rounds_before_ = 0;  ///< of earlier attempts
};

}  // namespace ferry
