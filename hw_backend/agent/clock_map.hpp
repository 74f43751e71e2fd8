// From a guest's clock to the controller's.
#pragma once

#include <vector>

#include "core/units/units.hpp"

namespace ferry::agent {

/// Made of moments at which both are known. A guest's clock stands still while the guest does not
/// run, so between two moments they may have gone apart: in between it is taken to have run evenly.
class ClockMap {
 public:
  /// In ascending order of the controller's time; `guest`: ns of its CLOCK_MONOTONIC.
  void know(Duration guest, TimePoint controller);
  [[nodiscard]] bool knows_nothing() const { return moments_.empty(); }
  /// Before the first moment and after the last one as far from it as in the guest.
  [[nodiscard]] TimePoint to_controller(Duration guest) const;

 private:
  struct Moment {
    Duration guest;
    TimePoint controller;
  };
  std::vector<Moment> moments_;
};

}  // namespace ferry::agent
