// One VM's part in a wave.
#pragma once

#include <cstddef>

#include "core/ports/types.hpp"

namespace ferry {

/// Both hosts are reserved while the wave runs.
struct WaveMove {
  std::size_t move = 0;  ///< index into Instance::moves
  HostId from;
  HostId to;
};

}  // namespace ferry
