// The port `Processor` where guests are real and ranks are not in them: computing is waiting.
#pragma once

#include "core/ports/processor.hpp"

namespace ferry {

class SleepingProcessor final : public Processor {
 public:
  explicit SleepingProcessor(Clock& clock) : clock_(clock) {}
  /// Real guests dirty their pages by themselves.
  void set_ranks_running(VmId /*vm*/, bool /*running*/) override {}
  Wake compute(std::optional<VmId> /*vm*/, Duration work) override {
    return clock_.sleep_until(clock_.now() + work);
  }
  void spend(Duration /*cost*/) override {}
  std::optional<Wake> occupy(std::span<const VmId> /*vms*/, Duration /*cost*/,
                             TimePoint /*deadline*/) override {
    return std::nullopt;
  }

 private:
  Clock& clock_;
};

}  // namespace ferry
