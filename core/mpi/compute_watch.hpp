// Tells who waits for it when a rank begins to compute.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "core/ports/executor.hpp"
#include "core/units/units.hpp"

namespace ferry::mpi {

/// Of one rank, which says what it does; costs it a store and a load while nobody waits.
class ComputeWatch {
 public:
  explicit ComputeWatch(Executor& executor);
  ComputeWatch(const ComputeWatch&) = delete;
  ComputeWatch& operator=(const ComputeWatch&) = delete;

  /// The rank computes from now on, until then if nothing stops it.
  void begins(TimePoint until);
  /// The rank has come to its end: it will not compute any more.
  void ends();
  /// The end of the present computation if that comes after `least`; else blocks until the next one
  /// begins, and returns its end. None: the rank has come to its end, or the caller was cancelled.
  [[nodiscard]] std::optional<TimePoint> next(TimePoint least);

 private:
  std::unique_ptr<Mutex> mutex_;
  std::unique_ptr<Condition> changed_;
  std::atomic<int> waiting_ = 0;
  std::atomic<std::int64_t> until_ = 0;  ///< ns since the start: the end of the latest computation
  std::uint64_t count_ = 0;              ///< of computations that began while somebody waited
  bool ended_ = false;
};

}  // namespace ferry::mpi
