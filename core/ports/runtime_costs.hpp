// What the MPI runtime itself costs the processor, whatever the channel.
#pragma once

#include "core/units/units.hpp"

namespace ferry {

struct RuntimeCosts {
  Duration call;  ///< of every MPI call: arguments, matching, a look at the channels
  Duration lock;  ///< more of it with a migration thread: taking and giving the runtime's lock
  Duration poll;  ///< of a look (`test`) that found nothing
  Bandwidth reduce = Bandwidth::unlimited();  ///< of reductions, by bytes of one operand
};

}  // namespace ferry
