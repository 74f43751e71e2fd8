// Ranks in new places: the questions of who coordinates a migration, communicator by communicator.
#include "core/mpi/engine_call.hpp"
#include "core/units/check.hpp"

namespace ferry::mpi {

std::vector<std::uint32_t> Engine::contexts() const {
  std::vector<std::uint32_t> contexts;
  for (std::size_t i = 0; i < communicators_.size(); ++i)
    if (communicators_[i] != nullptr) contexts.push_back(communicators_[i]->group.context);
  return contexts;
}

std::optional<LocalityAnswer> Engine::ask_locality(std::uint32_t context, Generation generation,
                                                   const JobLocality& locality) {
  Communicator::State& in = *communicators_[context / 2];
  in.planner->know(generation, locality.among(in.group.members));
  return in.planner->turns().ask(generation);
}

void Engine::agree_locality(std::uint32_t context, Generation generation, CollectiveNumber from) {
  Communicator::State& in = *communicators_[context / 2];
  in.planner->turns().agree(generation, from);
  release_held(in);
}

void Engine::give_up_locality(std::uint32_t context, Generation generation) {
  Communicator::State& in = *communicators_[context / 2];
  in.planner->turns().give_up(generation);
  release_held(in);
}

}  // namespace ferry::mpi
