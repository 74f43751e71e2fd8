// What a control path does, where it competes for its host's cores.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "core/units/units.hpp"
#include "sim_backend/cores.hpp"
#include "sim_backend/scheduler.hpp"

namespace ferry {

class ControlOperation;

/// What is done for one guest at the same time keeps no more cores busy than one operation: QEMU
/// serves a guest's devices in one thread, and the guest answers them one after another.
class GuestOperations {
 private:
  friend class ControlOperation;
  std::vector<ControlOperation*> under_way_;
};

/// What an operation needs of its host's cores.
struct OperationNeed {
  double cpu = 0;   ///< cores that it keeps busy while it computes
  double busy = 1;  ///< share of its time in which it computes; then it waits and wants none
};

/// An operation that computes, and then waits. While it computes it keeps `cpu` cores busy (with
/// others of its guest that compute, its share of them): one for that share of the time, or all of
/// the time if that is more than one, several threads. Where it gets less, that share s = min(cpu,
/// 1) of the time gets longer, and the rest does not: with `part` cores in place of its `own`, one
/// second of computing takes 1 - s + s * own / part seconds. Until it begins it wants none.
class ControlOperation {
 public:
  /// It begins at `begin` and takes `time` where there are cores enough. When `done` has changed,
  /// `moved` is called, which must not change any pool, and who waits in `waiting` is woken.
  /// `guest` outlives it.
  ControlOperation(Scheduler& scheduler, CorePool& pool, OperationNeed need, GuestOperations& guest,
                   TimePoint begin, Duration time, std::function<void()> moved);
  ~ControlOperation();
  ControlOperation(const ControlOperation&) = delete;
  ControlOperation& operator=(const ControlOperation&) = delete;

  /// When it is done, if cores stay as they are.
  [[nodiscard]] TimePoint done() const { return done_; }
  WaitList waiting;

 private:
  void turn();
  void part_changed();
  void come();
  void go();
  /// Cores that it keeps busy if it gets them.
  [[nodiscard]] double own() const { return cpu_ / static_cast<double>(guest_.under_way_.size()); }
  /// So much of it is done for each second that passes.
  [[nodiscard]] double speed() const;

  Scheduler& scheduler_;
  CorePool& pool_;
  double cpu_;
  GuestOperations& guest_;
  std::function<void()> moved_;
  double left_;      ///< of its computing, seconds with cores enough
  Duration waits_;   ///< after that
  TimePoint since_;  ///< `left_` was that
  double speed_ = 1;
  TimePoint done_;
  CallbackEvent turn_;  ///< it begins, or has computed
  std::optional<CorePool::User> user_;
};

}  // namespace ferry
