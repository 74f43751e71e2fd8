// What the contract's tests share: each runs on every world, and is skipped with the reason where a
// world is not available.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "core/ports/world.hpp"
#include "tests/contract/small_cluster.hpp"
#include "tests/contract/worlds.hpp"

namespace ferry {

class Contract : public testing::TestWithParam<const WorldUnderTest*> {
 protected:
  void SetUp() override {
    if (const auto missing = GetParam()->missing()) GTEST_SKIP() << *missing;
  }
  /// Runs `body` in the world under test, made of the members below.
  void run(const std::function<void(World&)>& body) const {
    GetParam()->run(instance, platform, body);
  }

  SmallCluster cluster_ = small_cluster();
  Instance& instance = cluster_.instance;
  Platform& platform = cluster_.platform;
};

inline std::string world_name(const testing::TestParamInfo<const WorldUnderTest*>& world) {
  return world.param->name();
}

/// Instantiates a suite derived from `Contract` for every world.
#define FERRY_FOR_EVERY_WORLD(suite) \
  INSTANTIATE_TEST_SUITE_P(Worlds, suite, testing::ValuesIn(worlds_under_test()), world_name)

#define FERRY_FOR_EVERY_FABRIC(suite) \
  INSTANTIATE_TEST_SUITE_P(Worlds, suite, testing::ValuesIn(worlds_with_packets()), world_name)

constexpr Duration ms(std::int64_t count) { return Duration::milliseconds(count); }

inline TimePoint after(const World& world, Duration delay) { return world.clock.now() + delay; }

inline void sleep(World& world, Duration time) { world.clock.sleep_until(after(world, time)); }

/// Waits until `condition` holds: another task may begin late on a busy machine, whatever the clock
/// says. `ASSERT_TRUE(comes_true(...))`.
template <class Condition>
testing::AssertionResult comes_true(World& world, const Condition& condition) {
  for (int tries = 0; tries < 20'000; ++tries) {
    if (condition()) return testing::AssertionSuccess();
    sleep(world, ms(1));
  }
  return testing::AssertionFailure() << "it never came true";
}

/// A task that is cancelled, then joined, when the test leaves its scope: one that failed must not
/// wait for what will no longer happen.
class ScopedTask {
 public:
  ScopedTask(World& world, std::string name, std::function<void()> body)
      : task_(world.executor.spawn(std::move(name), std::move(body))) {}
  ~ScopedTask() { task_->cancel(); }
  ScopedTask(const ScopedTask&) = delete;
  ScopedTask& operator=(const ScopedTask&) = delete;
  void join() { task_->join(); }

 private:
  std::unique_ptr<Task> task_;
};

/// `EXPECT_TRUE(succeeded(...))` prints the reason of a failure.
template <class T>
testing::AssertionResult succeeded(const Result<T>& result) {
  if (result) return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << "kind " << static_cast<int>(result.error().kind) << ": " << result.error().reason;
}

/// `EXPECT_TRUE(failed_as(FailureKind::refused, ...))`: that kind, and a reason is given.
template <class T>
testing::AssertionResult failed_as(FailureKind kind, const Result<T>& result) {
  if (result) return testing::AssertionFailure() << "it succeeded";
  if (result.error().kind != kind) return succeeded(result);
  if (result.error().reason.empty()) return testing::AssertionFailure() << "no reason is given";
  return testing::AssertionSuccess();
}

/// Keeps the rounds that it is told of.
class RoundLog final : public TransferObserver {
 public:
  void round_done(VmId vm, const RoundReport& round) override {
    vms.push_back(vm);
    rounds.push_back(round);
  }
  std::vector<VmId> vms;
  std::vector<RoundReport> rounds;
};

}  // namespace ferry
