// The port `Processor` of a rank that is a real process: computing is computing.
#pragma once

#include "core/ports/processor.hpp"

namespace ferry::ranks {

/// Work is processor time of the calling thread, as its system counts it: a rank that shares its
/// processor, or whose guest is paused, takes longer.
class WorkingProcessor final : public Processor {
 public:
  /// Guests dirty their pages by themselves.
  void set_ranks_running(VmId /*vm*/, bool /*running*/) override {}
  Wake compute(std::optional<VmId> vm, Duration work) override;
  void spend(Duration /*cost*/) override {}
  std::optional<Wake> occupy(std::span<const VmId> /*vms*/, Duration /*cost*/,
                             TimePoint /*deadline*/) override {
    return std::nullopt;
  }
};

}  // namespace ferry::ranks
