// Waking who sleeps, without a fence in the sender.
//
// A sender publishes a packet, then looks whether the receiver sleeps; a receiver says that it
// sleeps, then looks for packets. One of the two must see the other (Dekker), so both need a full
// fence between their two steps, and the sender would pay it for every packet: about 20 ns, and the
// stores before it in line. Instead the sleeper pays for both: membarrier(GLOBAL_EXPEDITED) makes
// every running thread of the registered processes pass a full fence between the sleeper's two
// steps. A sender's thread then is either before its fence with the packet published (the sleeper,
// looking afterwards, sees it) or after it with the look still to come (it sees the sleeper and
// rings). Where the kernel has no membarrier, senders fence.
#pragma once

#include <optional>

#include "core/units/units.hpp"
#include "hw_backend/shm/layout.hpp"

namespace ferry::shm {

/// Registers this process; false: senders must fence. To be called in each process, and after fork.
bool register_for_sleepers_fences();

/// Of the side that is often there.
inline void light_fence(bool sleepers_fence) {
  if (sleepers_fence) {
    std::atomic_signal_fence(std::memory_order_seq_cst);
  } else {
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
}
/// Of the side that is about to sleep.
void heavy_fence();

/// Sleeps while `word` is `seen`, at most for `time`; may return early.
void futex_sleep(const std::atomic<std::uint32_t>& word, std::uint32_t seen,
                 std::optional<Duration> time);
void futex_wake_all(std::atomic<std::uint32_t>& word);

/// Makes all who sleep at `slot` look again.
inline void ring_doorbell(WaitSlot& slot) {
  slot.word.fetch_add(1, std::memory_order_seq_cst);
  futex_wake_all(slot.word);
}
/// The same after something was published, if anyone sleeps.
inline void ring_if_asleep(WaitSlot& slot, bool sleepers_fence) {
  light_fence(sleepers_fence);
  if (slot.sleepers.load(std::memory_order_relaxed) != 0) [[unlikely]]
    ring_doorbell(slot);
}

/// A turn of a spinning loop.
inline void spin_pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace ferry::shm
