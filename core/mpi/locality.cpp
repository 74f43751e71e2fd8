// Ranks in new places: what this rank answers, communicator by communicator.
#include "core/mpi/engine_call.hpp"

namespace ferry::mpi {

std::vector<LocalityReply> Engine::ask_locality(Generation generation,
                                                std::shared_ptr<const JobLocality> locality) {
  std::vector<LocalityReply> replies;
  if (generation <= newest_) return replies;
  newest_ = generation;
  newest_locality_ = std::move(locality);
  for (const std::unique_ptr<Communicator::State>& in : communicators_) {
    if (in == nullptr) continue;
    if (const std::optional<LocalityReply> reply = reply_of(*in)) replies.push_back(*reply);
  }
  return replies;
}

/// None if there is nothing newer than what it goes by.
std::optional<LocalityReply> Engine::reply_of(Communicator::State& in) {
  if (newest_ <= in.planner->generation()) return std::nullopt;
  in.planner->know(newest_, newest_locality_);
  const std::optional<LocalityAnswer> answer = in.planner->turns().ask(newest_);
  if (!answer) return std::nullopt;
  return LocalityReply{
      {in.group.context, in.group.in_job(0)}, in.group.rank, in.group.size, newest_, *answer};
}

void Engine::agree_locality(const LocalityAgreement& agreement) {
  const std::size_t index = agreement.of.context / 2;
  if (index >= communicators_.size() || communicators_[index] == nullptr) return;
  Communicator::State& in = *communicators_[index];
  if (in.group.in_job(0) != agreement.of.first) return;  // another one with that context
  in.planner->turns().agree(agreement.generation, agreement.from);
  release_held(in);
}

}  // namespace ferry::mpi
