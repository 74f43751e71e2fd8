// What a world gives to the framework: references, passed in; there are no globals.
#pragma once

#include "core/ports/clock.hpp"
#include "core/ports/executor.hpp"
#include "core/ports/fabric.hpp"
#include "core/ports/hypervisor.hpp"
#include "core/ports/processor.hpp"

namespace ferry {

struct World {
  Clock& clock;
  Executor& executor;
  Hypervisor& hypervisor;
  Processor& processor;
  Fabric& fabric;
};

}  // namespace ferry
