// What the channels between two processes of this machine cost, measured in a second.
#pragma once

#include <string>

#include "core/channel/choice.hpp"
#include "hw_backend/shm/shm_fabric.hpp"

namespace ferry::shm {

struct Calibration {
  ShmProfiles profiles;
  /// The better of the channels by size, as measured: whole bodies through rings, then memory that
  /// is read where that is possible, then fragments from where these are quicker.
  Route route{std::string()};
  [[nodiscard]] std::string to_text() const;
  [[nodiscard]] std::string route_to_text() const;  ///< the last part of `to_text`
};

/// Forks two processes that play ping-pong with packets, with announced memory, and with bodies in
/// fragments, of some sizes; keeps the quickest of some batches. Segments: latency and overhead
/// from packets of nothing, the rest from what larger ones take more. To be called where
/// `run_shm_processes` may be.
[[nodiscard]] Calibration calibrate(const RegionSizes& sizes = {});

}  // namespace ferry::shm
