#include "controller/surroundings.hpp"

namespace ferry {

Surroundings::Surroundings(World& world, const Scenario& scenario, const Instance& instance,
                           Recorder& recorder, const JobPrograms& programs, mpi::RankHost* host)
    : faulty_(world.hypervisor, world.clock, world.executor, instance),
      world_{world.clock, world.executor, faulty_, world.processor, world.fabric},
      timed_(world_, instance, scenario.platform.mpi, recorder),
      communicating_(world_, scenario, instance, programs, recorder, host),
      jobs_(instance, timed_, communicating_.runtime()) {
  for (std::uint32_t i = 0; i < instance.vms.size(); ++i) {
    world_.processor.set_ranks_running(VmId{i}, !instance.vms[i].jobs.empty());
  }
}

}  // namespace ferry
