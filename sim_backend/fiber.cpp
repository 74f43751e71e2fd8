#include "sim_backend/fiber.hpp"

#include <utility>

#include "sim_backend/fiber_state.hpp"

namespace ferry {

Fiber::Fiber(const Stack& stack) : state_(std::make_unique<State>()) { state_->stack = stack; }

Fiber::~Fiber() {
  if (!state_->started()) return;
  const Stack stack = state_->stack;
  if (idle()) {
    state_->quit = true;
    resume();
    state_->inside_note.destroy();
  } else {
    // Unwinding what waits for something that will never happen would wait again, in destructors.
    // What it owns stays, and so does its state, by which it can be found.
    static_cast<void>(state_.release());
  }
  sanitizers::forget_frames(stack.bottom, stack.size);
}

void Fiber::assign(std::function<void()> work) {
  check(idle(), "a fiber takes work only while it is idle");
  state_->work = std::move(work);
}

bool Fiber::idle() const { return state_->work == nullptr; }

void Fiber::resume() { state_->enter(); }

void Fiber::suspend() { state_->leave(); }

}  // namespace ferry
