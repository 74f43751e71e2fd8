// A hypervisor whose VMs are pretended but whose operations take real time: the platform's costs,
// and memory at the speed of the transport's stream. It keeps what a real one keeps (who runs
// where, with which devices), refuses what a real one refuses, and completes a late unplug after
// its caller left. What `faults:` say of hosts and links happens to it too.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "core/faults/cluster_faults.hpp"
#include "core/ports/clock.hpp"
#include "core/ports/executor.hpp"
#include "core/ports/hypervisor.hpp"
#include "core/ports/processor.hpp"
#include "core/scenario/instance.hpp"
#include "hw_backend/threads/fifo_gate.hpp"
#include "hw_backend/threads/guest_memory.hpp"

namespace ferry {

/// Also the `Processor`: the pretended guests dirty their pages while their ranks run.
class FakeHypervisor final : public Hypervisor, public Processor {
 public:
  /// `executor` runs the hypervisor's own threads (unplugs) and must outlive it.
  FakeHypervisor(const Instance& instance, const Platform& platform, Clock& clock,
                 Executor& executor);
  /// Drops the unplugs that are still under way.
  ~FakeHypervisor() override;

  Result<> set_status(VmId vm, Phase phase, TimePoint deadline) override;
  Result<> detach(VmId vm, DeviceKind kind, TimePoint deadline) override;
  Result<> await_detached(VmId vm, DeviceKind kind, TimePoint deadline) override;
  Result<> attach(VmId vm, DeviceKind kind, TimePoint deadline) override;
  Result<Ratio> await_traffic(VmId vm, TimePoint deadline) override;
  Result<TransferReport> migrate(VmId vm, HostId destination, const TransferOptions& options,
                                 TransferObserver& observer, TimePoint deadline) override;
  [[nodiscard]] bool devices_at_once() const override {
    return platform_.hypervisor.devices_at_once;
  }
  [[nodiscard]] VmInspection inspect(VmId vm) const override;
  [[nodiscard]] bool reachable(HostId host) const override {
    return !faults_.is_down(host, clock_.now());
  }
  Result<> await_settled(VmId vm, TimePoint deadline) override;
  Result<> cancel_migration(VmId vm) override;
  void set_ranks_running(VmId vm, bool running) override;
  /// Takes that long, and does nothing meanwhile: the machine's cores are not the guests'.
  Wake compute(std::optional<VmId> vm, Duration work) override;
  void spend(Duration /*cost*/) override {}
  std::optional<Wake> occupy(std::span<const VmId> /*vms*/, Duration /*cost*/,
                             TimePoint /*deadline*/) override {
    return std::nullopt;
  }

 private:
  enum class DeviceState { absent, plugging, attached, unplugging };
  struct Device {
    DeviceState state = DeviceState::absent;
    std::unique_ptr<Task> unplug;  ///< the latest one
  };
  struct Guest {
    /// How long it has run since the world began.
    [[nodiscard]] Duration ran(TimePoint now) const {
      return running ? ran_before + (now - running_since) : ran_before;
    }
    void set_running(bool runs, TimePoint now) {
      if (runs == running) return;
      ran_before = ran(now);
      running_since = now;
      running = runs;
    }

    HostId host;
    bool running = true;
    Duration ran_before = Duration::zero();        ///< until `running_since`
    TimePoint running_since = TimePoint::start();  ///< or not running since then
    bool moving = false;
    bool may_abort = false;                ///< it moves, and has not been switched over
    bool aborted = false;                  ///< the present or latest move, by `cancel_migration`
    bool lost = false;                     ///< it runs nowhere, and never will again
    TimePoint since = TimePoint::start();  ///< it runs on `host`
    std::array<Device, 2> devices;         ///< by DeviceKind
    bool has_standby = false;              ///< a paravirtual NIC beside its virtual function
    TimePoint traffic_flows_at = {};       ///< over the one or the other
    DirtyLog dirty_log;
    /// A device's state, the end of a move or the wish for it, or how fast pages are dirtied.
    std::unique_ptr<Condition> changed;
  };
  struct Host {
    FifoGate control;  ///< the part of control operations that runs one at a time
    std::uint32_t virtual_functions_used = 0;
    Bytes ivshmem_used;
  };
  struct Move;

  Guest& guest(VmId vm);
  [[nodiscard]] const Guest& guest(VmId vm) const;
  Device& device(VmId vm, DeviceKind kind);
  [[nodiscard]] const std::string& name(VmId vm) const;
  [[nodiscard]] const std::string& name(HostId host) const;

  /// Takes `cost` on the control path of `host`: its serial part in turn, then the rest. `lost` or
  /// `failed` if the host goes down before that.
  Result<> control(HostId host, VmId vm, Duration cost, const std::string& what,
                   TimePoint deadline);
  /// Lets `host` work until `end`, or less if the deadline or a cancellation comes first.
  Result<> pass(HostId host, VmId vm, TimePoint end, const std::string& what, TimePoint deadline);
  /// The same for both hosts of a move, which `cancel_migration` may also end.
  Result<> pass_moving(const Move& move, TimePoint end);
  /// Sends so many bytes of a move, while the guest runs nowhere or its memory follows it.
  Result<> pass_sending(const Move& move, Bytes bytes, Bandwidth bandwidth);
  [[nodiscard]] Failure went_down(HostId host, VmId vm, const std::string& what) const;
  [[nodiscard]] Failure network_failed(const Move& move) const;
  [[nodiscard]] bool is_lost(VmId vm) const;
  /// `lost` if the guest is.
  [[nodiscard]] Result<> not_lost(VmId vm) const;
  /// Gives back what guests held that went down with their hosts.
  void note_losses();
  Result<> wait_until_gone(VmId vm, DeviceKind kind, TimePoint deadline);
  void unplug(VmId vm, DeviceKind kind);

  // With `mutex_` held:
  [[nodiscard]] Result<> may_plug(VmId vm, DeviceKind kind) const;
  /// Whether what is attached, or not, lets the VM move.
  [[nodiscard]] Result<> may_keep_devices(VmId vm, HostId destination,
                                          const TransferOptions& options) const;
  [[nodiscard]] Result<> may_move(VmId vm, HostId destination,
                                  const TransferOptions& options) const;
  /// Books or gives back the host's part of a device.
  void use(HostId host, VmId vm, DeviceKind kind, bool used);

  // The steps of a move, in this order.
  Result<TransferReport> transfer(Move& move);
  enum class After { stop_and_copy, post_copy };
  Result<After> pre_copy(Move& move, TransferReport& report, Bytes& pending);
  struct Round {
    Bytes sent;  ///< of the guest's memory; compressed, it may be less
    Bytes left;
    Bytes dirtied;
    Duration time;
  };
  Result<Round> send_round(const Move& move, Bytes pending);
  /// Pauses the guest, and leaves `pending` for the last pass.
  Result<> send_stopped(const Move& move, TransferReport& report, Bytes& pending);
  Result<> stop_and_copy(const Move& move, TransferReport& report, Bytes pending);
  Result<> post_copy(Move& move, TransferReport& report, Bytes pending);
  Result<> commit(const Move& move);
  Result<> arrive(const Move& move);
  /// Returns since when it is paused.
  TimePoint pause(VmId vm);
  void set_running(VmId vm, bool running);
  void set_throttle(VmId vm, Ratio share);

  const Instance instance_;
  const Platform platform_;
  const ClusterFaults faults_;
  Clock& clock_;
  Executor& executor_;
  std::unique_ptr<Mutex> mutex_;  ///< of everything below
  std::vector<Guest> guests_;     ///< by VmId
  std::vector<std::unique_ptr<Host>> hosts_;
};

}  // namespace ferry
