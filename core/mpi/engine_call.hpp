// Scopes of the engine's calls, and blocking in them.
#pragma once

#include "core/mpi/engine.hpp"

namespace ferry::mpi {

/// A call of the program: what it costs, and the lock if the rank's state is shared.
class Engine::Call {
 public:
  explicit Call(Engine& engine) : engine_(engine) {
    const RuntimeCosts& costs = engine.options_.costs;
    if (engine.mutex_ != nullptr) {
      engine.mutex_->lock();
      engine.ports_.processor.spend(costs.call + costs.lock);
    } else if (costs.call != Duration::zero()) {
      engine.ports_.processor.spend(costs.call);
    }
  }
  ~Call() {
    if (engine_.mutex_ != nullptr) engine_.mutex_->unlock();
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

 private:
  Engine& engine_;
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
    if (progress_until(done)) return;
    throw_if_aborted();
    if (mutex_ != nullptr) mutex_->unlock();
    const Wake woken = ports_.wait_set.wait(TimePoint::never());
    if (mutex_ != nullptr) mutex_->lock();
    if (woken == Wake::cancelled) throw JobAborted("the rank was cancelled");
  }
}

}  // namespace ferry::mpi
