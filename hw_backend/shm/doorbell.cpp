#include "hw_backend/shm/doorbell.hpp"

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <ctime>

namespace ferry::shm {
namespace {

long membarrier(int command) { return syscall(SYS_membarrier, command, 0, 0); }

}  // namespace

bool register_for_sleepers_fences() {
  return membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) == 0;
}

void heavy_fence() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED);  // where it fails, senders fence
}

void futex_sleep(const std::atomic<std::uint32_t>& word, std::uint32_t seen,
                 std::optional<Duration> time) {
  timespec relative{};
  if (time) {
    const std::int64_t nanoseconds = time->count_nanoseconds() > 0 ? time->count_nanoseconds() : 0;
    relative.tv_sec = static_cast<time_t>(nanoseconds / 1'000'000'000);
    relative.tv_nsec = static_cast<long>(nanoseconds % 1'000'000'000);
  }
  // Not the private kind: the other side may be another process.
  syscall(SYS_futex, &word, FUTEX_WAIT, seen, time ? &relative : nullptr, nullptr, 0);
}

void futex_wake_all(std::atomic<std::uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace ferry::shm
