// A host's cores and what competes for them: guests' vCPUs and the threads of migrations.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

namespace ferry {

/// What somebody does with cores.
struct CoreUse {
  double threads = 0;  ///< that may run at once
  double demand = 0;   ///< cores that they keep busy if nobody else wants any; at most `threads`
  double useful = 0;   ///< if above `demand`: cores that more threads could keep busy
};

/// Cores that each of `uses` gets of `cores`: what it demands, if that is enough for all; else
/// every thread gets the same, less those that want less (max-min fairness over threads, which is
/// what the fair scheduler of an operating system comes to with equal weights). Sums to at most
/// `cores`.
std::vector<double> share_cores(double cores, std::span<const CoreUse> uses);

/// Cores that many users share. Users are told when their part changes.
class CorePool {
 public:
  explicit CorePool(double cores) : cores_(cores) {}
  CorePool(const CorePool&) = delete;
  CorePool& operator=(const CorePool&) = delete;

  /// A part of the pool for as long as it lives. `use` is asked whenever the pool changes;
  /// `part_changed` is called after that, and must not change any pool.
  class User {
   public:
    User(CorePool& pool, std::function<CoreUse()> use, std::function<void()> part_changed);
    ~User();
    User(const User&) = delete;
    User& operator=(const User&) = delete;
    [[nodiscard]] double cores() const { return cores_; }
    /// Whether more would have been of use to it when cores were last shared.
    [[nodiscard]] bool is_short() const { return cores_ < useful_; }

   private:
    friend class CorePool;
    CorePool& pool_;
    std::function<CoreUse()> use_;
    std::function<void()> part_changed_;
    double cores_ = 0;
    double useful_ = 0;
  };

  /// To be called when what some user would answer has changed.
  void share();

 private:
  double cores_;
  std::vector<User*> users_;  ///< in the order in which they came
};

}  // namespace ferry
