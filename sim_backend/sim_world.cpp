#include "sim_backend/sim_world.hpp"

#include <exception>
#include <memory>
#include <string>

#include "core/ports/world_error.hpp"
#include "core/units/check.hpp"
#include "sim_backend/flows.hpp"
#include "sim_backend/scheduler.hpp"
#include "sim_backend/sim_executor.hpp"
#include "sim_backend/sim_fabric.hpp"
#include "sim_backend/sim_hypervisor.hpp"
#include "sim_backend/sim_processor.hpp"

namespace ferry {

SimStatistics run_simulated(const Instance& instance, const Platform& platform,
                            const SimOptions& options, const std::function<void(World&)>& body) {
  static bool ran = false;
  check(!ran, "one simulation per process: the engine cannot be started again; fork for more");
  ran = true;

  Scheduler scheduler;
  Flows flows(scheduler, instance, options);
  SimClock clock(scheduler);
  SimExecutor executor(scheduler);
  SimHypervisor hypervisor(scheduler, flows, instance, platform, options.seed);
  SimProcessor processor(scheduler, hypervisor);
  SimFabric fabric(scheduler, flows, hypervisor, instance, platform.channels);
  World world{.clock = clock,
              .executor = executor,
              .hypervisor = hypervisor,
              .processor = processor,
              .fabric = fabric};

  std::exception_ptr thrown;
  std::unique_ptr<SimTask> first = scheduler.spawn("first", [&] {
    try {
      body(world);
    } catch (...) {  // nothing waits in here; rethrown below
      thrown = std::current_exception();
    }
  });
  try {
    flows.run();
  } catch (...) {
    static_cast<void>(first.release());  // it will never end; destruction would wait for that
    throw;
  }
  if (thrown) std::rethrow_exception(thrown);
  return {.end = scheduler.now(),
          .tasks = scheduler.tasks_spawned(),
          .task_switches = scheduler.task_switches(),
          .local_events = scheduler.events_fired(),
          .flows = flows.flows_started(),
          .engine_steps = flows.engine_steps(),
          .packets = fabric.packets(),
          .packets_lost = fabric.packets_lost(),
          .links = flows.link_usage()};
}

}  // namespace ferry
