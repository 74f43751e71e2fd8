// Who waits for whom, in words.
#include <fmt/format.h>

#include "core/mpi/engine_call.hpp"

namespace ferry::mpi {
namespace {

std::string tag_of(Tag tag) { return tag == any_tag ? "any tag" : fmt::format("tag {}", tag); }

std::string rank_of(const Group& group, std::uint32_t source) {
  return source == any_rank ? "any rank" : fmt::format("rank {}", group.rank_of(source));
}

std::string describe(const Operation& operation) {
  const Group& group = *operation.group;
  if (operation.kind == Operation::Kind::collective) {
    return fmt::format("{} number {} of communicator {}",
                       to_name(static_cast<Collective>(operation.collective)), operation.tag,
                       group.name);
  }
  const std::string peer = rank_of(group, operation.source);
  if (operation.kind == Operation::Kind::send) {
    return fmt::format("{} to receive {} bytes, {}, communicator {}", peer, operation.from.size(),
                       tag_of(operation.tag), group.name);
  }
  const bool is_posted = operation.state == Operation::State::posted;
  const std::size_t wanted = is_posted ? operation.into.size() : operation.wanted;
  const std::size_t moved = is_posted ? 0 : operation.moved;
  return fmt::format("a message from {}, {}, communicator {} ({} of {} bytes)", peer,
                     tag_of(operation.tag), group.name, moved, wanted);
}

}  // namespace

std::uint64_t Engine::suspension_turns() {
  const Locked locked(*this);
  return suspension_ == nullptr ? 0 : suspension_->turns();
}

std::string Engine::describe_waits() const {
  std::string text;
  const auto line = [&](const Group& group, const std::string& what) {
    const bool in_world = group.context == 0;
    text += fmt::format("rank {}{} waits for {}\n", rank_.index,
                        in_world ? "" : fmt::format(" ({} in it)", group.rank), what);
  };
  const auto operation_line = [&](const Operation& operation) {
    line(*operation.group, describe(operation));
    if (operation.kind != Operation::Kind::collective) return;
    const std::size_t index = operation.group->context / 2;
    const auto& runs = communicators_[index]->runs;
    for (const CollectiveRun* run = runs.front(); run != nullptr;
         run = std::decay_t<decltype(runs)>::next(*run)) {
      if (run->request != &operation || run->held == nullptr) continue;
      text += "  not begun: a rank has not answered yet from when on it can go by new hosts\n";
    }
    for (std::uint32_t i = 0; i < requests_.places(); ++i) {
      const Operation& step = requests_.at(i);
      if (step.run == nullptr || step.run->request != &operation || step.is_complete()) continue;
      text += fmt::format("  in round {}: {}\n", step.run->round, describe(step));
    }
  };
  for (const Block* block = blocked_; block != nullptr; block = block->outer_) {
    if (block->operation_ != nullptr) operation_line(*block->operation_);
    if (block->probe_) {
      const std::string from = block->probe_->from == any_source
                                   ? "any rank"
                                   : fmt::format("rank {}", block->probe_->from);
      line(*block->probe_->group,
           fmt::format("a message from {}, {}, communicator {} (to look at it)", from,
                       tag_of(block->probe_->tag), block->probe_->group->name));
    }
    for (const Request& request : block->requests_) {
      if (request.index >= requests_.places()) continue;
      const Operation& operation = requests_.at(request.index);
      if (operation.generation != request.generation || operation.is_complete()) continue;
      operation_line(operation);
    }
  }
  return text;
}

std::vector<Engine::Balance> Engine::balances() const {
  std::vector<Balance> all;
  for (const Peer* peer : peers_.in_order()) {
    const bool idle = peer->answers.empty() && peer->sends.empty() && peer->streams.empty() &&
                      peer->early.empty() && peer->hold.reads == 0;
    all.push_back({peer->rank, peer->connection, peer->returned_credits + peer->taken_credits,
                   peer->consumed_credits, peer->hold.fragments_sent, peer->hold.fragments_taken,
                   idle});
  }
  return all;
}

std::size_t Engine::unexpected_count() const {
  std::size_t count = 0;
  for_each_matching([&](const Matching& queues) { count += queues.unexpected_count(); });
  return count;
}

}  // namespace ferry::mpi
