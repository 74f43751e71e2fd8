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
    // The rank's other task, which may have looked a moment before this came.
    if (waiting_) tell_who_waits();
  }
}

/// What a call that blocks looks for while it waits: as far as suspensions leave the rank alone.
template <class Done>
class Engine::Looking final : public Look {
 public:
  Looking(Engine& engine, const Done& done) : engine_(engine), done_(done) {}
  bool look() override {
    looked_ = !disturbed();
    if (!looked_) return true;
    is_done_ = engine_.progress_until(done_);
    return is_done_ || engine_.aborted_.load(std::memory_order_acquire) != nullptr || disturbed();
  }
  /// By the last look, if there was one.
  [[nodiscard]] bool looked() const { return looked_; }
  [[nodiscard]] bool is_done() const { return is_done_; }
  void forget() { looked_ = false; }

 private:
  [[nodiscard]] bool disturbed() const {
    return engine_.suspension_ != nullptr && !engine_.suspension_->is_quiet();
  }
  Engine& engine_;
  const Done& done_;
  bool looked_ = false;
  bool is_done_ = false;
};

/// Not called: a return right after a switch is one that the processor has not foreseen.
template <class Done>
[[gnu::always_inline]] inline void Engine::block_until(Done&& done) {
  for (;;) {
    if (suspension_ != nullptr && suspension_->keeps_program()) {
      take_arrivals();
    } else if (progress_until(done)) {
      break;
    }
    throw_if_aborted();
    if (suspension_ != nullptr) {
      if (suspension_->step()) continue;
      suspension_->program_waits();
    }
    if (wait_for_something() == Wake::cancelled) throw JobAborted(std::string(rank_was_cancelled));
  }
  if (suspension_ != nullptr) suspension_->program_goes_on();
}

template <class Done>
void Engine::block_and_look(Done&& done) {
  Looking<std::decay_t<Done>> look(*this, done);
  for (;;) {
    if (!look.looked()) {
      if (suspension_ != nullptr && suspension_->keeps_program()) {
        take_arrivals();
      } else if (progress_until(done)) {
        break;
      }
    }
    throw_if_aborted();
    look.forget();
    if (suspension_ != nullptr) {
      if (suspension_->step()) continue;
      suspension_->program_waits();
    }
    if (ports_.wait_set.wait_until(look) == Wake::cancelled) {
      throw JobAborted(std::string(rank_was_cancelled));
    }
    if (look.is_done()) break;
  }
  if (suspension_ != nullptr) suspension_->program_goes_on();
}

}  // namespace ferry::mpi
