#include "sim_backend/fiber.hpp"

#include <cxxabi.h>

#include <boost/context/fiber.hpp>
#include <boost/context/stack_context.hpp>
#include <cstdint>
#include <cstring>
#include <utility>

#include "core/units/check.hpp"
#include "sim_backend/sanitizers.hpp"

namespace ferry {
namespace {

/// The exceptions that a thread is handling and unwinding (Itanium C++ ABI, 2.2.2: a pointer and a
/// count behind `__cxa_get_globals`).
struct ExceptionState {
  void* caught = nullptr;
  unsigned int uncaught = 0;
};

void swap_exception_state(ExceptionState& kept) {
  auto* const live = reinterpret_cast<ExceptionState*>(abi::__cxa_get_globals());
  std::swap(*live, kept);
}

/// Gives Boost a stack that somebody else owns.
struct BorrowedStack {
  boost::context::stack_context allocate() const {  // NOLINT: Boost's name
    boost::context::stack_context context;
    context.size = stack.size;
    context.sp = static_cast<std::byte*>(stack.bottom) + stack.size;
    return context;
  }
  void deallocate(boost::context::stack_context& context) const { context.sp = nullptr; }
  Stack stack;
};

}  // namespace

struct Fiber::State {
  Stack stack;
  boost::context::fiber inside;   // while suspended
  boost::context::fiber outside;  // while running
  sanitizers::StackNote inside_note;
  sanitizers::StackNote outside_note;
  ExceptionState exceptions;
  std::function<void()> work;
  bool quit = false;
  bool started = false;

  void start() {
    started = true;
    inside_note.create(stack.bottom, stack.size);
    inside = boost::context::fiber(
        std::allocator_arg, BorrowedStack{stack},
        [this](boost::context::fiber&& caller) { return run(std::move(caller)); });
  }

  boost::context::fiber run(boost::context::fiber&& caller) {
    outside = std::move(caller);
    inside_note.arrive(outside_note);
    while (!quit) {
      work();
      work = nullptr;
      leave();
    }
    inside_note.leave(outside_note, true);
    return std::move(outside);
  }

  void leave() {
    inside_note.leave(outside_note);
    outside = std::move(outside).resume();
    inside_note.arrive(outside_note);
  }
};

Fiber::Fiber(const Stack& stack) : state_(std::make_unique<State>()) { state_->stack = stack; }

Fiber::~Fiber() {
  if (!state_->started) return;
  const Stack stack = state_->stack;
  if (idle()) {
    state_->quit = true;
    resume();
    state_->inside_note.destroy();
  } else {
    // Unwinding what waits for something that will never happen would wait again, in destructors.
    // NOLINTNEXTLINE(bugprone-unhandled-exception-at-new): without memory here, ending is right
    static_cast<void>(new boost::context::fiber(std::move(state_->inside)));
    static_cast<void>(state_.release());
  }
  sanitizers::forget_frames(stack.bottom, stack.size);
}

void Fiber::assign(std::function<void()> work) {
  check(idle(), "a fiber takes work only while it is idle");
  state_->work = std::move(work);
}

bool Fiber::idle() const { return state_->work == nullptr; }

void Fiber::resume() {
  State& state = *state_;
  if (!state.started) state.start();
  swap_exception_state(state.exceptions);
  state.outside_note.leave(state.inside_note);
  state.inside = std::move(state.inside).resume();
  state.outside_note.arrive(state.inside_note);
  swap_exception_state(state.exceptions);
  check(StackPool::intact(state.stack), "a task used more stack than it has");
}

void Fiber::suspend() { state_->leave(); }

}  // namespace ferry
