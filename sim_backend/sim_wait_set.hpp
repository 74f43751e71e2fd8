// The port `WaitSet` of the simulated world.
#pragma once

#include <optional>
#include <vector>

#include "core/ports/wait_set.hpp"
#include "sim_backend/packets.hpp"
#include "sim_backend/scheduler.hpp"
#include "sim_backend/sim_hypervisor.hpp"

namespace ferry {

/// An event at the first arrival, while somebody waits. Whose guest is paused does not go on before
/// it runs again.
class alignas(64) SimWaitSet final : public WaitSet {
 public:
  /// What a look that finds nothing costs: some cache lines and a branch.
  static constexpr Duration cost_of_pause = Duration::nanoseconds(100);

  SimWaitSet(Scheduler& scheduler, SimHypervisor& hypervisor)
      : scheduler_(scheduler), hypervisor_(hypervisor) {}
  ~SimWaitSet() override;
  SimWaitSet(const SimWaitSet&) = delete;
  SimWaitSet& operator=(const SimWaitSet&) = delete;

  Wake wait(TimePoint deadline) override;
  Wake wait_until(Look& look) override;
  void notify() override;
  void pause() override;

  void add(const PacketQueue& inbox, std::optional<VmId> vm);
  void remove(const PacketQueue& inbox);
  /// Something has come that can be seen from `at` on.
  void expect(TimePoint at) {
    if (!waiting_.empty()) wake_at(at);
  }

 private:
  struct Arrivals final : Event {
    explicit Arrivals(SimWaitSet& owner) : set(owner) {}
    void fire() override { set.wake_all(); }
    bool fetch(int step) const override { return set.fetch(step); }
    SimWaitSet& set;
  };
  class Looking;
  enum class Begun { waits, ready, cancelled };
  /// What comes before a wait: if that is none, how it would end.
  Begun begin(TimePoint deadline);
  /// What comes after it.
  void end();
  void wake_at(TimePoint at);
  void wake_all();
  /// What the first one that waits will touch, if it looks without being continued.
  bool fetch(int step) const;
  /// When there is something to see; `never()` as far as is known.
  [[nodiscard]] TimePoint next() const;

  Scheduler& scheduler_;
  SimHypervisor& hypervisor_;
  const PacketQueue* inbox_ = nullptr;  // most ranks have one
  std::optional<VmId> vm_;
  TimePoint notified_ = TimePoint::never();  // since the last wait returned; never: not
  WaitList waiting_;
  bool looks_ = false;  // who waits, without being continued
  Arrivals arrivals_{*this};
  std::vector<const PacketQueue*> more_inboxes_;
};

}  // namespace ferry
