// The port `Hypervisor` of the simulated world: hypervisors that cost what the platform file says,
// and guests that dirty memory.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/faults/cluster_faults.hpp"
#include "core/memory/precopy.hpp"
#include "core/ports/hypervisor.hpp"
#include "core/ports/wait_set.hpp"
#include "core/scenario/instance.hpp"
#include "core/scenario/platform.hpp"
#include "sim_backend/control_operation.hpp"
#include "sim_backend/cores.hpp"
#include "sim_backend/flows.hpp"
#include "sim_backend/scheduler.hpp"
#include "sim_backend/variation.hpp"

namespace ferry {

/// Control operations (status, devices, preparing a destination) of a host: `serial` of each runs
/// one at a time, first come first served; then the rest, beside others. What was asked of a host
/// is done even if the caller gives up waiting, and keeps its place in the row; only a detach then
/// still has an effect. With `hypervisor.variation` what one costs is drawn each time: lognormal,
/// its median the platform's constant, from the seed and the VM's name.
///
/// A move: refusals; prepare (the destination's host); with rdma and `pin_all` pinning; memory
/// (`Precopy`); finish; clean_up. The path's latency is paid once before memory flows and once
/// after the last byte. Until that last byte a deadline or cancellation leaves the guest running on
/// its source; from then on the move completes, whatever the deadline says.
///
/// `device: failover`: the guest redirects its traffic as soon as its virtual function has gone or
/// has come, which takes `failover.redirect`. `device: vfio`: the destination's QEMU holds a
/// function from when it is prepared, pins guest memory for it (`attach_vf.per_gib`), and the
/// paused guest also waits until the function's state was saved, sent and loaded.
///
/// Where `streams` have `cpu`, migrations and guests compete for their hosts' cores (`CorePool`).
/// Each rank keeps a vCPU busy while it runs; a guest that gets less than it demands dirties that
/// much less. A stream keeps its threads (one, or one for each of `streams`) at either end busy for
/// `cpu`, and for what compresses, per byte on the network; with less than that it is slower by as
/// much. What it demands is reckoned for its limit and an equal share of its first and last link.
/// Control operations of a guest keep `hypervisor.cpu` cores busy (`ControlOperation`), and so does
/// each guest in `occupy`, on a vCPU that its ranks go without meanwhile. Not modelled: a job that
/// takes longer because its guest is slower.
///
/// Post-copy (QEMU docs/devel/migration/postcopy.rst): the guest pauses for `postcopy_switch` and
/// the latency, while its device state crosses; then it runs on the destination, and all that was
/// not sent follows, at what the streams and the network give, whether the guest asks for a page or
/// not. From the pause on nothing ends the move but a network that fails: then the guest is lost
/// (QEMU would wait for an operator to mend it). Not modelled: the guest waits for pages that it
/// touches before they have come.
///
/// Hosts that go down take their guests with them, for good; who waits for one hears of it
/// `keepalive` later. A connection over which nothing goes for so long breaks: then the move fails,
/// and the guest goes on at its source if that is up and all memory is still there.
class SimHypervisor final : public Hypervisor {
 public:
  /// Guests start on the hosts of `instance`, with their devices, ranks running.
  SimHypervisor(Scheduler& scheduler, Flows& flows, const Instance& instance,
                const Platform& platform, std::uint64_t seed);
  ~SimHypervisor() override;

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
    return !faults_.is_down(host, scheduler_.now());
  }
  Result<> await_settled(VmId vm, TimePoint deadline) override;
  Result<> cancel_migration(VmId vm) override;

  // What guests are to their ranks.

  void set_ranks_running(VmId vm, bool running);
  /// Where it runs.
  [[nodiscard]] HostId host_of(VmId vm) const { return guests_[vm.index].host; }
  [[nodiscard]] bool paused(VmId vm) const { return !guests_[vm.index].running; }
  /// How long it has been paused, all times together.
  [[nodiscard]] Duration paused_time(VmId vm) const;
  /// Runs nowhere, and never will.
  [[nodiscard]] bool lost(VmId vm) const { return guests_[vm.index].lost; }
  /// Blocks the calling task while the guest is paused. `ready`, or `cancelled`: also if it is
  /// lost.
  Wake await_running(VmId vm);
  /// Whether it is known what work of guests has to compete with, or how much it varies.
  [[nodiscard]] bool knows_work_of_guests() const {
    return control_takes_cores() || variation_.any();
  }
  /// As `Processor::occupy`: each guest keeps as many cores busy as a control operation, and one
  /// vCPU, which its ranks go without meanwhile.
  Wake occupy(std::span<const VmId> vms, Duration work, TimePoint deadline);
  /// Where ranks of the guest wait: notified when it is lost, until it is removed.
  void add_wait_set(VmId vm, WaitSet& set) { wait_sets_[vm.index].push_back(&set); }
  void remove_wait_set(VmId vm, WaitSet& set) { std::erase(wait_sets_[vm.index], &set); }
  [[nodiscard]] bool has_usable(VmId vm, DeviceKind kind) const {
    const Device& device = guests_[vm.index].devices[static_cast<std::size_t>(kind)];
    return device.state == DeviceState::attached ||
           (device.state == DeviceState::leaving && device.gone_at > scheduler_.now());
  }
  /// Whether it is absent or there, and not about to change.
  [[nodiscard]] bool has_settled(VmId vm, DeviceKind kind) const {
    const DeviceState state = guests_[vm.index].devices[static_cast<std::size_t>(kind)].state;
    return state == DeviceState::attached || state == DeviceState::absent;
  }
  /// How often a guest has come to another host, or the state of a device has changed.
  [[nodiscard]] std::uint32_t changes_of_places() const { return changes_of_places_; }
  /// How often the device has come: what was on its way to an earlier one is lost.
  [[nodiscard]] std::uint32_t times_attached(VmId vm, DeviceKind kind) const {
    return guests_[vm.index].devices[static_cast<std::size_t>(kind)].times_attached;
  }

 private:
  enum class DeviceState { absent, coming, attached, leaving };
  struct Device {
    DeviceState state = DeviceState::absent;
    TimePoint gone_at;                                 // if leaving
    std::unique_ptr<ControlOperation> operation = {};  // likewise, where it takes cores
    std::uint32_t times_attached = 0;
  };
  struct Places {  // of a host
    std::uint32_t virtual_functions_used = 0;
    Bytes ivshmem_used;
  };
  struct Guest {
    HostId host;
    std::array<Device, 2> devices;  // by DeviceKind
    bool running = true;
    TimePoint paused_since;  // if not running
    Duration paused_before;  // until it ran again
    bool moving = false;
    SimTask* mover = nullptr;  // whose wait `cancel_migration` may end; none once it must arrive
    bool aborted = false;      // the present or latest move, by `cancel_migration`
    bool lost = false;         // it runs nowhere, and never will again
    DirtyMeter dirty;
    Bandwidth busy_rate;
    Bandwidth idle_rate;
    bool ranks_running = true;
    Ratio throttle;              // by auto-converge
    bool has_standby = false;    // a paravirtual NIC that takes the place of its virtual function
    TimePoint traffic_flows_at;  // over the one or the other
    std::uint32_t occupied = 0;  // vCPUs, by its own work for its ranks (`occupy`)
    double demand = 0;           // cores that its ranks keep busy; counts where cores are modelled
    std::unique_ptr<CorePool::User> cores = {};  // none while it demands none
    GuestOperations operations = {};
  };
  struct Transfer;  // one move under way

  /// Whether control operations, and what guests do for their ranks, compete for cores.
  [[nodiscard]] bool control_takes_cores() const {
    return models_cores() && platform_.hypervisor.cpu > Ratio(0);
  }
  /// Of an operation on a device, a change of a status, what a migration does beside its stream,
  /// and a guest that works for its ranks.
  [[nodiscard]] OperationNeed device_need() const {
    return {platform_.hypervisor.cpu.value(), platform_.hypervisor.busy.value()};
  }
  [[nodiscard]] OperationNeed status_need() const {
    return all_the_time(platform_.hypervisor.status_cpu);
  }
  [[nodiscard]] OperationNeed migration_need() const {
    return all_the_time(platform_.hypervisor.migration_cpu);
  }
  [[nodiscard]] OperationNeed guest_need() const { return all_the_time({}); }
  /// `own` cores; zero: as operations on devices.
  [[nodiscard]] OperationNeed all_the_time(Ratio own) const {
    return {(own > Ratio(0) ? own : platform_.hypervisor.cpu).value(), 1};
  }
  /// When an operation of `cost` that is asked of `host` now will be done.
  TimePoint control_done(HostId host, Duration cost);
  /// When it begins.
  TimePoint control_begin(HostId host, Duration cost);
  /// The same as something under way on the host's cores, whose `moved` is as of one.
  std::unique_ptr<ControlOperation> operate(HostId host, VmId vm, OperationNeed need, Duration cost,
                                            std::function<void()> moved);
  /// Waits for it; `what` as in "WHAT of vm3 on host1 has not ended in time".
  Result<> control(HostId host, VmId vm, OperationKind kind, const char* what, Duration median,
                   TimePoint deadline);
  /// Until what one or two hosts do is done; `lost` or `failed` if one of them goes down before,
  /// from `since` (now) on. Ends early, well, when somebody is woken in `list`.
  Result<> sleep(std::initializer_list<HostId> hosts, TimePoint until, VmId vm, const char* what,
                 TimePoint deadline, Cancellable cancellable = Cancellable::yes,
                 WaitList* list = nullptr, std::optional<TimePoint> since = std::nullopt);
  /// The same, until an operation is done that is asked now: of the first of them, if its libvirt
  /// answers for it.
  Result<> await(ControlOperation& operation, std::initializer_list<HostId> hosts, bool answers,
                 VmId vm, const char* what, TimePoint deadline,
                 Cancellable cancellable = Cancellable::yes);
  [[nodiscard]] Failure went_down(HostId host, VmId vm, const char* what) const;
  [[nodiscard]] Result<> not_lost(VmId vm) const;
  void lose(Guest& guest, VmId vm);
  void lose_guests_of(HostId host);
  [[nodiscard]] Failure interrupted(FailureKind kind, VmId vm, const char* what) const;
  [[nodiscard]] Device& device(VmId vm, DeviceKind kind);
  [[nodiscard]] const std::string& name(VmId vm) const { return instance_.vms[vm.index].name; }
  /// The guest is on its new host.
  void arrive(Transfer& transfer);
  void set_state(Device& device, DeviceState state) {
    device.state = state;
    if (state != DeviceState::leaving) device.operation.reset();
    ++changes_of_places_;
  }
  /// As it is now: takes note of a detach that has completed meanwhile.
  DeviceState settle(VmId vm, DeviceKind kind);
  /// What keeps the device from being attached where its VM is.
  Result<> check_attach(VmId vm, DeviceKind kind);
  void use_place(VmId vm, DeviceKind kind, bool used);
  /// Sets `gone_at`, which may change later where that takes cores.
  void begin_to_leave(VmId vm, DeviceKind kind);
  /// Whether migrations and guests compete for cores.
  [[nodiscard]] bool models_cores() const { return !pools_.empty(); }
  void make_pools();
  [[nodiscard]] CorePool& pool_of(HostId host) {
    return *pools_[pools_.size() == 1 ? 0 : host.index];
  }
  /// What it demands has changed, or where.
  void use_cores(VmId vm);
  void set_dirty_rate(Guest& guest);
  void use_cores(Transfer& transfer);
  /// Processor time at an end, in seconds for each byte on the network.
  [[nodiscard]] double sending_work(const Transfer& transfer) const;
  [[nodiscard]] double receiving_work(const Transfer& transfer) const;
  [[nodiscard]] Bandwidth least_limit(const Transfer& transfer) const;
  /// For all that it could send, however many threads it has.
  [[nodiscard]] double cores_wanted(const Transfer& transfer, double work) const;
  [[nodiscard]] CoreUse use_of(const Transfer& transfer, double work) const;
  /// Ends a part that is under way, to go on with what the cores now allow.
  void cores_changed(Transfer& transfer);
  static void close_stream(Transfer& transfer);
  void pause(VmId vm);
  void resume(VmId vm);
  void throttle(VmId vm, Ratio share);

  [[nodiscard]] bool moves_function(VmId vm, const TransferOptions& options) const {
    return options.device == DeviceStrategy::vfio && instance_.vms[vm.index].virtual_function;
  }
  Result<> check_function(VmId vm, HostId destination, const TransferOptions& options);
  Result<> check_move(VmId vm, HostId destination, const TransferOptions& options);
  Result<TransferReport> send_memory(Transfer& transfer);
  Result<TransferReport> send_live(Transfer& transfer);
  /// Of a guest that is paused already.
  Result<TransferReport> send_stopped(Transfer& transfer);
  [[nodiscard]] Precopy first_round(const Transfer& transfer) const;
  /// What the present round sends, part by part.
  Result<> send_round(Transfer& transfer, Precopy& precopy);
  /// The user's: QEMU has none while the guest is paused for the last pass.
  void lift_limit(Transfer& transfer);
  /// Sends `bytes` of guest memory, compressed as the present round has it.
  Result<> send(Transfer& transfer, Bytes bytes, Bandwidth* share);
  /// Part by part, as cores are taken and given back.
  FlowEnd send_part(Transfer& transfer, Bytes bytes, TimePoint deadline, Cancellable cancellable);
  /// The same as they are.
  Result<> send_on_network(Transfer& transfer, Bytes bytes, Bandwidth* share);
  /// Opens the transfer's stream, or gives it the present round's limit.
  void open_stream(Transfer& transfer);
  Result<TransferReport> switch_over(Transfer& transfer, Bytes rest, int round);
  Result<TransferReport> post_copy(Transfer& transfer, Bytes rest, int round);
  Result<> clean_up(const Transfer& transfer);
  /// Until the destination is ready for memory; `pinning` is spent there after that.
  Result<> prepare(const Transfer& transfer, Duration pinning);
  /// The end of a migration, from `before` from now on, which nothing cancels.
  Result<> end_on_both(const Transfer& transfer, Duration before, Duration median);
  /// When the connection over which memory goes breaks, if nothing gets better.
  [[nodiscard]] TimePoint breaks_from_now(const Transfer& transfer) const;
  [[nodiscard]] Failure network_failed(FailureKind kind, const Transfer& transfer) const;

  Scheduler& scheduler_;
  Flows& flows_;
  const Instance& instance_;
  const Platform& platform_;
  ClusterFaults faults_;
  std::vector<std::unique_ptr<CallbackEvent>> deaths_;  // of hosts
  /// Of a guest, that something which was under way has ended.
  void note_settled(VmId vm);

  Variation variation_;
  std::vector<std::unique_ptr<CorePool>> pools_;  // by host, or one for all; before who uses them
  std::vector<Guest> guests_;
  std::uint32_t changes_of_places_ = 0;
  std::vector<std::unique_ptr<WaitList>> settling_;         // by guest; none until somebody waited
  std::vector<std::unique_ptr<WaitList>> ranks_of_paused_;  // likewise
  std::vector<std::vector<WaitSet*>> wait_sets_;            // by guest
  std::vector<TimePoint>
      control_free_;            // by host, or all hosts' first: when its serial part is free again
  std::vector<Places> places_;  // by host
};

}  // namespace ferry
