// The switch itself, for who switches often: each call that lies between two switches is one that
// the processor returns from without having foreseen where to, which takes longer than the switch.
#pragma once

#include <cxxabi.h>

#include <boost/context/detail/fcontext.hpp>
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

using FiberContext = boost::context::detail::fcontext_t;

/// Continues `to`, which hears `note`; returns once something continues the caller, with where that
/// something stopped.
[[gnu::always_inline]] inline FiberContext switch_to(FiberContext to, void* note) {
#if defined(__x86_64__) && !defined(FERRY_ADDRESS_SANITIZER) && !defined(FERRY_THREAD_SANITIZER)
  // Boost's switch goes on by a jump, so a call to it is never returned from. Processors foresee
  // returns by counting calls: each such call would make them miss all returns up to the program of
  // the other fiber. So this is that call without being one. Below the stack pointer may be what a
  // leaf function keeps there (System V ABI for AMD64, 3.2.2: 128 bytes).
  FiberContext from;  // NOLINT(cppcoreguidelines-init-variables): the assembly's result
  asm volatile(
      "leaq -128(%%rsp), %%rsp\n\t"
      "leaq 1f(%%rip), %%rax\n\t"
      "pushq %%rax\n\t"
      "jmp *jump_fcontext@GOTPCREL(%%rip)\n"
      "1:\tleaq 128(%%rsp), %%rsp"
      : "=a"(from), "+D"(to), "+S"(note)
      :
      : "rcx", "rdx", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",
        "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "st",
        "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "cc", "memory");
  return from;
#else
  return boost::context::detail::jump_fcontext(to, note).fctx;
#endif
}

struct alignas(64) Fiber::State {
  // What every switch touches stands together.
  FiberContext inside = nullptr;   // while suspended; null: never started
  FiberContext outside = nullptr;  // while running
  ExceptionState* live_exceptions = live_exception_state();
  ExceptionState exceptions;
  Stack stack;
  std::function<void()> work;
  bool quit = false;
  sanitizers::StackNote inside_note;
  sanitizers::StackNote outside_note;

  [[nodiscard]] bool started() const { return inside != nullptr; }

  /// Continues the work.
  void enter() {
    if (!started()) [[unlikely]] {
      start();
    }
    swap_exception_state(*live_exceptions, exceptions);
    outside_note.leave(inside_note);
    inside = switch_to(inside, this);
    outside_note.arrive(inside_note);
    swap_exception_state(*live_exceptions, exceptions);
    check(StackPool::intact(stack), "a task used more stack than it has");
  }

  /// Leaves the work in the middle.
  void leave() {
    inside_note.leave(outside_note);
    outside = switch_to(outside, this);
    inside_note.arrive(outside_note);
  }

  void start() {
    inside_note.create(stack.bottom, stack.size);
    inside = boost::context::detail::make_fcontext(
        static_cast<std::byte*>(stack.bottom) + stack.size, stack.size, run);
  }

  /// What a new stack begins with; it is left for good by a last switch.
  static void run(boost::context::detail::transfer_t caller) {
    State& self = *static_cast<State*>(caller.data);
    self.outside = caller.fctx;
    self.inside_note.arrive(self.outside_note);
    while (!self.quit) {
      self.work();
      self.work = nullptr;
      self.leave();
    }
    self.inside_note.leave(self.outside_note, true);
    switch_to(self.outside, nullptr);
  }
};

}  // namespace ferry
