// A stack of its own on which work runs that can be left in the middle and continued.
#pragma once

#include <functional>
#include <memory>

#include "sim_backend/stacks.hpp"

namespace ferry {

/// Runs one piece of work after the other on one stack. All on the thread that made it; `resume`
/// and `suspend` cost some ten nanoseconds. Each fiber has its own state of exceptions being
/// handled, so that a wait inside a handler does not hand one fiber's exception to another.
class Fiber {
 public:
  explicit Fiber(const Stack& stack);
  /// Idle, or never to be resumed again: what is on the stack then is abandoned, not unwound.
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Only while idle. `work` must not throw. It starts with the next `resume`.
  void assign(std::function<void()> work);
  [[nodiscard]] bool idle() const;
  /// Continues the work until it suspends or ends. From outside any fiber.
  void resume();
  /// Leaves the work in the middle, back to `resume`. From inside this fiber.
  void suspend();

  /// The same two without a call (fiber_state.hpp).
  struct State;
  [[nodiscard]] State& state() const { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

}  // namespace ferry
