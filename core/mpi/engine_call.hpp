// Scopes of the engine's calls, and blocking in them.
#pragma once

#include "core/mpi/engine.hpp"
#include "core/mpi/suspension.hpp"

namespace ferry::mpi {

class Engine::Locked {
 public:
  explicit Locked(Engine& engine) : engine_(engine) {
    if (engine_.mutex_ != nullptr) engine_.mutex_->lock();
  }
  ~Locked() {
    if (engine_.mutex_ != nullptr) engine_.mutex_->unlock();
  }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  Engine& engine_;
};

/// A call of the program: what it costs, and the lock if the rank's state is shared. With the
/// progress engine it lasts until a suspension is over.
class Engine::Call {
 public:
  explicit Call(Engine& engine) : locked_(engine) {
    const RuntimeCosts& costs = engine.options_.costs;
    if (engine.mutex_ != nullptr) {
      engine.ports_.processor.spend(costs.call + costs.lock);
    } else if (costs.call != Duration::zero()) {
      engine.ports_.processor.spend(costs.call);
    }
    if (engine.suspension_ != nullptr && engine.suspension_->stirred()) engine.take_part();
  }

 private:
  Locked locked_;
};

/// What a blocked call waits for; seen by who reports a deadlock.
class Engine::Block {
 public:
  struct Probe {
    const Group* group;
    Rank from;
    Tag tag;
  };
  Block(Engine& engine, const Operation& operation) : Block(engine) { operation_ = &operation; }
  Block(Engine& engine, std::span<const Request> requests, bool all) : Block(engine) {
    requests_ = requests;
    all_ = all;
  }
  Block(Engine& engine, Probe probe) : Block(engine) { probe_ = probe; }
  ~Block() {
    Block** link = &engine_.blocked_;
    while (*link != this) link = &(*link)->outer_;
    *link = outer_;
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

 private:
  friend class Engine;
  explicit Block(Engine& engine) : engine_(engine), outer_(engine.blocked_) {
    engine.blocked_ = this;
  }

  Engine& engine_;
  Block* outer_;
  const Operation* operation_ = nullptr;
  std::span<const Request> requests_;
  bool all_ = true;
  std::optional<Probe> probe_;
};

template <class Done>
bool Engine::progress_until(Done&& done) {
  if (!backlog_.empty()) flush_backlog();
  for (;;) {
    if (done()) return true;
    const Arrival* arrival = ports_.endpoint.poll();
    if (arrival == nullptr) return false;
    handle(*arrival);
  }
}

template <class Done>
void Engine::block_until(Done&& done) {
  for (;;) {
    if (suspension_ != nullptr && suspension_->keeps_program()) {
      take_arrivals();
    } else if (progress_until(done)) {
      if (suspension_ != nullptr) suspension_->program_goes_on();
      return;
    }
    throw_if_aborted();
    if (suspension_ != nullptr) {
      if (suspension_->step()) continue;
      suspension_->program_waits();
    }
    if (wait_for_something() == Wake::cancelled) throw JobAborted(std::string(rank_was_cancelled));
  }
}

}  // namespace ferry::mpi
