#include "core/mpi/engine.hpp"

#include <algorithm>

#include "core/mpi/engine_call.hpp"
#include "core/mpi/rank_board.hpp"
#include "core/units/check.hpp"

namespace ferry::mpi {

Engine::Engine(const ProcessPorts& ports, RankId rank, std::uint32_t job_size,
               const ProcessOptions& options)
    : ports_(ports), rank_(rank), job_size_(job_size), options_(options) {
  check(options.credits >= 64 && options.credits <= 32'767, "credits are from 64 to 32,767");
  options_.check_bodies = options.check_packets && options.check_bodies;
  if (options.migration_thread) {
    mutex_ = ports.executor.make_mutex();
    turn_ = ports.executor.make_condition();
  }
  Group world;
  world.name = "world";
  world.rank = static_cast<Rank>(rank.index);
  world.size = static_cast<Rank>(job_size);
  make_communicator(std::move(world), {options_.collectives, options_.locality, first_generation});
  if (ports.board != nullptr) {
    suspension_ = std::make_unique<Suspension>(*this, *ports.board, ports.executor);
  }
}

Engine::~Engine() {
  suspension_.reset();
  for_each_matching([this](const Matching& queues) {
    for (Unexpected* message = queues.first_unexpected(); message != nullptr;
         message = Matching::next_unexpected(*message)) {
      message->body.drop(blocks_);
    }
  });
  for (Peer* peer : peers_.in_order()) {
    while (Early* early = peer->early.pop_front()) early->body.drop(blocks_);
  }
  for (const auto& communicator : communicators_) {  // collectives of a job that was aborted
    if (communicator == nullptr) continue;
    while (CollectiveRun* run = communicator->runs.pop_front()) {
      if (std::byte* const scratch = run->region(Region::scratch)) {
        blocks_.give_back(scratch, run->course->scratch);
      }
    }
  }
}

/// It begins with what the collective went by in which its ranks agreed on it: all of them know
/// the same of that.
Communicator::State& Engine::add_communicator(Group group, const Communicator::State& parent) {
  const Locked locked(*this);
  const CollectivePlanner& planner = *parent.planner;
  Communicator::State& state = make_communicator(
      std::move(group), {options_.collectives, planner.locality(), planner.generation()});
  if (const std::optional<LocalityReply> reply = reply_of(state))
    ports_.board->reply(rank_, *reply);
  return state;
}

Communicator::State& Engine::make_communicator(Group group, CollectivePolicy policy) {
  const std::size_t index = group.context / 2;
  if (communicators_.size() <= index) communicators_.resize(index + 1);
  check(communicators_[index] == nullptr, "the context of a communicator is its own");
  communicators_[index] = std::make_unique<Communicator::State>();
  communicators_[index]->engine = this;
  Communicator::State& state = *communicators_[index];
  state.group = std::move(group);
  state.planner.emplace(state.group.rank, state.group.size, std::move(policy), state.group.members);
  return state;
}

std::uint32_t Engine::next_context() {
  const Locked locked(*this);
  return 2 * static_cast<std::uint32_t>(communicators_.size());
}

Matching& Engine::matching_of_part(std::uint32_t context) {
  if (context >= matching_.size()) matching_.resize(context + 1);
  std::unique_ptr<Matching>& queues = matching_[context];
  if (queues == nullptr) queues = std::make_unique<Matching>();
  return *queues;
}

void Engine::abort(const std::string& why) {
  aborted_.store(&why, std::memory_order_release);
  ports_.wait_set.notify();
}

void Engine::fail(const std::string& why) { ports_.watch.abort(why); }

// --- Process. ---

Process::Process(const ProcessPorts& ports, RankId rank, std::uint32_t job_size,
                 const ProcessOptions& options)
    : engine_(std::make_unique<Engine>(ports, rank, job_size, options)) {}

Process::~Process() = default;

RankId Process::rank() const { return engine_->rank(); }

std::uint32_t Process::job_size() const { return engine_->job_size(); }

Communicator Process::world() { return engine_->world(); }

std::uint64_t Process::suspension_turns() const { return engine_->suspension_turns(); }

void Process::finish() { engine_->finish(); }

std::string Process::describe_waits() const { return engine_->describe_waits(); }

}  // namespace ferry::mpi
