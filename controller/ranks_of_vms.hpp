// Whether ranks of a VM run, where some of its jobs send messages and others are timed stand-ins:
// each kind knows its own ranks only.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "core/ports/executor.hpp"
#include "core/ports/processor.hpp"
#include "core/scenario/instance.hpp"

namespace ferry {

/// A VM's ranks wait inside the library when those of both kinds do. Everything given outlives it.
class RanksOfVms {
 public:
  enum class Kind : std::uint8_t { timed, communicating };

  RanksOfVms(Processor& inner, Executor& executor, const Instance& instance)
      : inner_(inner),
        mutex_(executor.make_mutex()),
        views_{View(*this, Kind::timed), View(*this, Kind::communicating)} {
    for (const VmSpec& vm : instance.vms) {
      Running& running = running_.emplace_back();
      for (const JobId job : vm.jobs) running.at(kind_of(instance, job)) = true;
      mixed_ = mixed_ || (running[0] && running[1]);
    }
  }
  RanksOfVms(const RanksOfVms&) = delete;
  RanksOfVms& operator=(const RanksOfVms&) = delete;

  /// What ranks of that kind are to use: the processor itself where no VM has jobs of both.
  [[nodiscard]] Processor& processor_of(Kind kind) {
    return mixed_ ? views_.at(static_cast<std::size_t>(kind)) : inner_;
  }

 private:
  using Running = std::array<bool, 2>;  ///< by kind

  class View final : public Processor {
   public:
    View(RanksOfVms& ranks, Kind kind) : ranks_(ranks), kind_(static_cast<std::size_t>(kind)) {}
    void set_ranks_running(VmId vm, bool running) override {
      const Lock lock(*ranks_.mutex_);
      Running& kinds = ranks_.running_[vm.index];
      kinds.at(kind_) = running;
      ranks_.inner_.set_ranks_running(vm, kinds[0] || kinds[1]);
    }
    Wake compute(std::optional<VmId> vm, Duration work) override {
      return ranks_.inner_.compute(vm, work);
    }
    void spend(Duration cost) override { ranks_.inner_.spend(cost); }
    std::optional<Wake> occupy(std::span<const VmId> vms, Duration cost,
                               TimePoint deadline) override {
      return ranks_.inner_.occupy(vms, cost, deadline);
    }

   private:
    RanksOfVms& ranks_;
    std::size_t kind_;
  };

  static std::size_t kind_of(const Instance& instance, JobId job) {
    return static_cast<std::size_t>(instance.jobs[job.index].communicates() ? Kind::communicating
                                                                            : Kind::timed);
  }

  Processor& inner_;
  std::unique_ptr<Mutex> mutex_;
  std::vector<Running> running_;  ///< by VM
  bool mixed_ = false;
  std::array<View, 2> views_;
};

}  // namespace ferry
