#include "core/mpi/collectives/locality_agreement.hpp"

#include <algorithm>

#include "core/units/check.hpp"

namespace ferry::mpi {

std::optional<LocalityAnswer> LocalityTurns::ask(Generation generation) {
  if (generation < newest_) return std::nullopt;
  if (generation == newest_ && !asked_) {
    if (agreed_.generation != generation) return std::nullopt;  // it was given up
    return LocalityAnswer{agreed_.from, true};
  }
  if (!asked_) {
    // What was agreed before keeps its turn: a newer generation cannot come before it.
    held_from_ = std::max(next_, agreed_.from);
  }
  newest_ = generation;
  asked_ = true;
  return LocalityAnswer{held_from_, false};
}

void LocalityTurns::agree(Generation generation, CollectiveNumber from) {
  if (!asked_ || generation != newest_) return;
  check(from >= held_from_, "no rank has been left behind by what was agreed");
  asked_ = false;
  agreed_ = {from, generation};
  turns_.push_back(agreed_);
  turn();
}

void LocalityTurns::give_up(Generation generation) {
  if (asked_ && generation == newest_) asked_ = false;
}

void LocalityTurns::start() {
  check(!held(), "a collective does not start before its locality is agreed");
  ++next_;
  turn();
}

void LocalityTurns::turn() {
  while (!turns_.empty() && turns_.front().from <= next_) {
    current_ = turns_.front().generation;
    turns_.erase(turns_.begin());
  }
}

void LocalityVote::answer(Rank rank, Generation generation, const LocalityAnswer& answer) {
  Member& member = members_[static_cast<std::size_t>(rank)];
  if (generation != generation_ || member.answered) return;
  member.answered = true;
  ++answered_;
  highest_ = std::max(highest_, answer.number);
  if (!answer.agreed) return;
  settled_ = answer.number;
  member.acknowledged = true;
}

void LocalityVote::acknowledge(Rank rank, Generation generation) {
  if (generation == generation_) members_[static_cast<std::size_t>(rank)].acknowledged = true;
}

std::optional<CollectiveNumber> LocalityVote::agreed() const {
  if (settled_) return settled_;
  if (answered_ < members_.size()) return std::nullopt;
  return highest_;
}

std::vector<Rank> LocalityVote::missing() const {
  const bool telling = agreed().has_value();
  std::vector<Rank> ranks;
  for (std::size_t i = 0; i < members_.size(); ++i)
    if (telling ? !members_[i].acknowledged : !members_[i].answered)
      ranks.push_back(static_cast<Rank>(i));
  return ranks;
}

}  // namespace ferry::mpi
