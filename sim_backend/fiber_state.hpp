// The switch itself, for who switches often: each call that lies between two switches is one that
// the processor returns from without having foreseen where to, which takes longer than the switch.
#pragma once

#include <cxxabi.h>

#include <boost/context/fiber.hpp>
#include <boost/context/stack_context.hpp>
#include <cstddef>
#include <functional>
#include <utility>

#include "core/units/check.hpp"
#include "sim_backend/fiber.hpp"
#include "sim_backend/sanitizers.hpp"

namespace ferry {

/// The exceptions that a thread is handling and unwinding (Itanium C++ ABI, 2.2.2: a pointer and a
/// count behind `__cxa_get_globals`).
struct ExceptionState {
  void* caught = nullptr;
  unsigned int uncaught = 0;
};

/// Of the calling thread, on which a fiber stays.
inline ExceptionState* live_exception_state() {
  return reinterpret_cast<ExceptionState*>(abi::__cxa_get_globals());
}

inline void swap_exception_state(ExceptionState& live, ExceptionState& kept) {
  // Hardly ever does either handle one; reading costs less than writing.
  const bool any = (live.caught != nullptr) | (kept.caught != nullptr) | (live.uncaught != 0) |
                   (kept.uncaught != 0);
  if (any) [[unlikely]] {
    std::swap(live, kept);
  }
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

struct Fiber::State {
  Stack stack;
  boost::context::fiber inside;   // while suspended
  boost::context::fiber outside;  // while running
  sanitizers::StackNote inside_note;
  sanitizers::StackNote outside_note;
  ExceptionState exceptions;
  ExceptionState* live_exceptions = live_exception_state();
  std::function<void()> work;
  bool quit = false;
  bool started = false;

  /// Continues the work.
  void enter() {
    if (!started) [[unlikely]] {
      start();
    }
    swap_exception_state(*live_exceptions, exceptions);
    outside_note.leave(inside_note);
    inside = std::move(inside).resume();
    outside_note.arrive(inside_note);
    swap_exception_state(*live_exceptions, exceptions);
    check(StackPool::intact(stack), "a task used more stack than it has");
  }

  /// Leaves the work in the middle.
  void leave() {
    inside_note.leave(outside_note);
    outside = std::move(outside).resume();
    inside_note.arrive(outside_note);
  }

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
};

}  // namespace ferry
