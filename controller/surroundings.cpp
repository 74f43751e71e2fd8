#include "controller/surroundings.hpp"

namespace ferry {

Surroundings::Surroundings(World& world, const Scenario& scenario, const Instance& instance,
                           Recorder& recorder, const JobPrograms& programs, mpi::RankHost* host)
    : faulty_(world.hypervisor, world.clock, world.executor, instance),
      world_{world.clock, world.executor, faulty_, world.processor, world.fabric},
      ranks_(world.processor, world.executor, instance),
      of_timed_(world_of(RanksOfVms::Kind::timed)),
      of_communicating_(world_of(RanksOfVms::Kind::communicating)),
      timed_(of_timed_, instance, scenario.platform.mpi, recorder),
      communicating_(of_communicating_, scenario, instance, programs, recorder, host),
      jobs_(instance, timed_, communicating_.runtime()) {
  for (std::uint32_t i = 0; i < instance.vms.size(); ++i) {
    world_.processor.set_ranks_running(VmId{i}, !instance.vms[i].jobs.empty());
  }
}

World Surroundings::world_of(RanksOfVms::Kind kind) {
  return {world_.clock, world_.executor, faulty_, ranks_.processor_of(kind), world_.fabric};
}

}  // namespace ferry
