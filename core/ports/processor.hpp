// Work of guests, as far as a world must be told of it.
#pragma once

#include "core/ports/types.hpp"

namespace ferry {

class Processor {
 public:
  virtual ~Processor() = default;
  /// Whether the ranks of `vm` compute (and so dirty its pages) or wait inside the library. A world
  /// with real guests sees for itself and ignores this. Never blocks.
  virtual void set_ranks_running(VmId vm, bool running) = 0;
};

}  // namespace ferry
