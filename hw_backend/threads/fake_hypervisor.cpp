#include "hw_backend/threads/fake_hypervisor.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/memory/compression.hpp"
#include "core/memory/stalls.hpp"
#include "core/memory/throttling.hpp"
#include "core/units/check.hpp"

namespace ferry {
namespace {

constexpr std::array<DeviceKind, 2> all_devices = {DeviceKind::virtual_function,
                                                   DeviceKind::ivshmem};

bool has_device(const VmSpec& vm, DeviceKind kind) {
  return kind == DeviceKind::ivshmem ? vm.ivshmem > Bytes() : vm.virtual_function;
}

bool moves_function(const VmSpec& vm, const TransferOptions& options) {
  return options.device == DeviceStrategy::vfio && vm.virtual_function;
}

Duration plug_cost(const HypervisorCosts& costs, const VmSpec& vm, DeviceKind kind) {
  return kind == DeviceKind::ivshmem
             ? costs.add_ivshmem
             : costs.attach_vf.fixed + costs.attach_vf.per_gib * vm.memory.to_gibi();
}

Duration unplug_cost(const HypervisorCosts& costs, DeviceKind kind) {
  return kind == DeviceKind::ivshmem ? costs.remove_ivshmem : costs.detach_vf;
}

std::string operation(const char* verb, DeviceKind kind) {
  return std::string(verb) + " of " + std::string(to_name(kind));
}

tl::unexpected<Failure> ended(Wake wake, const std::string& what) {
  return wake == Wake::cancelled ? failure(FailureKind::cancelled, what + " was cancelled")
                                 : failure(FailureKind::timed_out, what + " passed its deadline");
}

tl::unexpected<Failure> ended_from_elsewhere(const std::string& what) {
  return failure(FailureKind::failed, "the " + what + " was cancelled from elsewhere");
}

struct Carrier {
  std::uint32_t network = 0;
  Bandwidth bandwidth;  ///< zero: no network carries it
};

/// The fastest that one stream gets: no stream is faster than the link below it.
/// Streams do not share links here.
Carrier carrier_of(const Instance& instance, const Platform& platform,
                   const TransferOptions& options) {
  const std::vector<Network>& networks =
      instance.networks.empty() ? platform.networks : instance.networks;
  for (std::uint32_t i = 0; i < networks.size(); ++i) {
    const std::vector<Transport>& carries = networks[i].carries;
    if (std::ranges::find(carries, options.transport) == carries.end()) continue;
    return {i, std::min(stream_bandwidth(platform, options), networks[i].link.bandwidth)};
  }
  return {};
}

}  // namespace

struct FakeHypervisor::Move {
  VmId vm;
  HostId source;
  HostId destination;
  std::uint32_t network;
  const TransferOptions& options;
  TransferObserver& observer;
  TimePoint deadline;
  Bandwidth path;    ///< what streams and link allow
  std::string what;  ///< for reasons
  Compressor compressor;
  Stalls stalls;
  VfioCosts device;  ///< that moves too; all zero: none

  [[nodiscard]] bool pins_all() const {
    return options.transport == Transport::rdma && options.pin_all;
  }
  /// On the network, in the present round.
  [[nodiscard]] Bandwidth bandwidth() const {
    return std::min(last_bandwidth(), options.bandwidth_limit);
  }
  /// With the guest paused for what is left: QEMU lifts the limit then.
  [[nodiscard]] Bandwidth last_bandwidth() const { return std::min(path, compressor.most()); }
  /// At which guest memory goes.
  [[nodiscard]] Bandwidth guest_bandwidth() const { return bandwidth() / compressor.factor(); }
  /// What may be left of memory when the guest is paused; as QEMU, without regard to compression.
  /// `share`: of the path's bandwidth that there is now.
  [[nodiscard]] Bytes threshold(Ratio share) const {
    const Bytes limit = bandwidth() * share.value() * options.downtime_limit;
    return limit > device.state ? limit - device.state : Bytes();
  }
  /// Not if the device's state alone takes longer than the guest may be paused.
  [[nodiscard]] bool may_pause(Bytes pending, Ratio share) const {
    const bool device_fits = device.state == Bytes() ||
                             bandwidth() * share.value() * options.downtime_limit > device.state;
    return device_fits && pending <= threshold(share);
  }
  [[nodiscard]] LinkPair links() const { return {network, source, destination}; }
};

FakeHypervisor::FakeHypervisor(const Instance& instance, const Platform& platform, Clock& clock,
                               Executor& executor)
    : instance_(instance),
      platform_(platform),
      faults_(instance),
      clock_(clock),
      executor_(executor),
      mutex_(executor.make_mutex()) {
  hosts_.reserve(instance_.hosts.size());
  for (std::size_t i = 0; i < instance_.hosts.size(); ++i) {
    hosts_.push_back(std::make_unique<Host>(Host{FifoGate(executor), 0, Bytes()}));
  }
  guests_.reserve(instance_.vms.size());
  for (std::uint32_t i = 0; i < instance_.vms.size(); ++i) {
    const VmSpec& vm = instance_.vms[i];
    Guest& guest = guests_.emplace_back(
        Guest{.host = vm.host,
              .since = TimePoint::start(),
              .devices = {},
              .dirty_log = DirtyLog({vm.working_set, vm.idle_dirty_rate, vm.dirty_rate}),
              .changed = executor.make_condition()});
    guest.has_standby = std::ranges::any_of(instance_.moves, [i](const MoveSpec& move) {
      return move.vm == VmId{i} && move.transfer.device == DeviceStrategy::failover;
    });
    guest.dirty_log.set_ranks_running(!vm.jobs.empty(), TimePoint::start());
    for (const DeviceKind kind : all_devices) {
      if (!has_device(vm, kind)) continue;
      device(VmId{i}, kind).state = DeviceState::attached;
      use(vm.host, VmId{i}, kind, true);
    }
  }
}

FakeHypervisor::~FakeHypervisor() {
  for (Guest& guest : guests_) {
    for (Device& device : guest.devices) {
      if (device.unplug) device.unplug->cancel();
    }
  }
  for (Guest& guest : guests_) {
    for (Device& device : guest.devices) device.unplug.reset();  // joins
  }
}

Result<> FakeHypervisor::set_status(VmId vm, Phase phase, TimePoint deadline) {
  check(phase == Phase::set_pre_migration || phase == Phase::set_post_migration,
        "a VM's status is set before and after its migration only");
  if (Result<> there = not_lost(vm); !there) return there;
  return control(inspect(vm).host, vm, platform_.hypervisor.set_status,
                 std::string(to_name(phase)) + " of " + name(vm), deadline);
}

Result<> FakeHypervisor::detach(VmId vm, DeviceKind kind, TimePoint deadline) {
  if (Result<> there = not_lost(vm); !there) return there;
  std::unique_ptr<Task> former;  // has ended, or is about to: joined after the lock
  {
    const Lock lock(*mutex_);
    Device& target = device(vm, kind);
    if (target.state == DeviceState::plugging) {
      return failure(FailureKind::refused,
                     std::string(to_name(kind)) + " of " + name(vm) + " is being attached");
    }
    if (target.state == DeviceState::attached) {
      former = std::exchange(target.unplug, executor_.spawn("unplug " + name(vm), [this, vm, kind] {
        unplug(vm, kind);
      }));
      target.state = DeviceState::unplugging;
    }
  }
  return wait_until_gone(vm, kind, deadline);
}

Result<> FakeHypervisor::await_detached(VmId vm, DeviceKind kind, TimePoint deadline) {
  if (Result<> there = not_lost(vm); !there) return there;
  {
    const Lock lock(*mutex_);
    const DeviceState state = device(vm, kind).state;
    if (state == DeviceState::attached || state == DeviceState::plugging) {
      return failure(FailureKind::refused, "no detach of " + std::string(to_name(kind)) + " of " +
                                               name(vm) + " is under way");
    }
  }
  return wait_until_gone(vm, kind, deadline);
}

Result<> FakeHypervisor::wait_until_gone(VmId vm, DeviceKind kind, TimePoint deadline) {
  const Lock lock(*mutex_);
  const HostId host = guest(vm).host;
  const std::string what = operation("detach", kind) + " of " + name(vm);
  const ClusterFaults::Wait wait = faults_.wait_for({&host, 1}, clock_.now(), TimePoint::never(),
                                                    platform_.hypervisor.keepalive);
  while (device(vm, kind).state == DeviceState::unplugging) {
    const Wake wake = guest(vm).changed->wait_until(*mutex_, std::min(deadline, wait.until));
    if (wake == Wake::timed_out && wait.until <= deadline) {
      return tl::unexpected(went_down(host, vm, what));
    }
    if (wake != Wake::ready) return ended(wake, what);
  }
  return {};
}

void FakeHypervisor::unplug(VmId vm, DeviceKind kind) {
  const HostId host = inspect(vm).host;  // a VM with a device does not move
  const Result<> done = control(host, vm, unplug_cost(platform_.hypervisor, kind),
                                operation("detach", kind) + " of " + name(vm), TimePoint::never());
  const Lock lock(*mutex_);
  if (done && !guest(vm).lost) {  // else the world ends, or the host went down
    device(vm, kind).state = DeviceState::absent;
    use(host, vm, kind, false);
    if (kind == DeviceKind::virtual_function) {
      guest(vm).traffic_flows_at = clock_.now() + platform_.hypervisor.failover.redirect;
    }
  }
  guest(vm).changed->notify_all();
}

Result<> FakeHypervisor::attach(VmId vm, DeviceKind kind, TimePoint deadline) {
  if (Result<> there = not_lost(vm); !there) return there;
  HostId host;
  {
    const Lock lock(*mutex_);
    note_losses();
    if (device(vm, kind).state == DeviceState::attached) return {};
    if (Result<> allowed = may_plug(vm, kind); !allowed) return allowed;
    host = guest(vm).host;
    device(vm, kind).state = DeviceState::plugging;
    use(host, vm, kind, true);
  }
  Result<> done = control(host, vm, plug_cost(platform_.hypervisor, instance_.vms[vm.index], kind),
                          operation("attach", kind) + " of " + name(vm), deadline);
  const Lock lock(*mutex_);
  if (guest(vm).lost) return done;  // and what it held is given back
  device(vm, kind).state = done ? DeviceState::attached : DeviceState::absent;
  if (!done) use(host, vm, kind, false);
  if (done && kind == DeviceKind::virtual_function) {
    guest(vm).traffic_flows_at = clock_.now() + platform_.hypervisor.failover.redirect;
  }
  guest(vm).changed->notify_all();
  return done;
}

Result<Ratio> FakeHypervisor::await_traffic(VmId vm, TimePoint deadline) {
  TimePoint flows_at;
  bool on_standby = false;
  {
    const Lock lock(*mutex_);
    const Guest& seen = guest(vm);
    if (!seen.has_standby) {
      return failure(FailureKind::refused,
                     name(vm) + " has no paravirtual NIC beside its virtual function");
    }
    flows_at = seen.traffic_flows_at;
    on_standby = device(vm, DeviceKind::virtual_function).state == DeviceState::absent;
  }
  const Wake wake = clock_.sleep_until(std::min(flows_at, deadline));
  if (wake == Wake::cancelled || flows_at > deadline) {
    return ended(wake, "the redirection of " + name(vm) + "'s traffic");
  }
  return on_standby ? platform_.hypervisor.failover.throughput : Ratio(1);
}

Result<> FakeHypervisor::may_plug(VmId vm, DeviceKind kind) const {
  const Guest& target = guest(vm);
  const VmSpec& spec = instance_.vms[vm.index];
  const HostSpec& host_spec = instance_.hosts[target.host.index];
  const Host& host = *hosts_[target.host.index];
  const std::string device_name(to_name(kind));
  if (!has_device(spec, kind)) {
    return failure(FailureKind::refused, name(vm) + " has no " + device_name);
  }
  if (target.moving) {
    return failure(FailureKind::refused,
                   name(vm) + " is migrating; attach " + device_name + " when it has arrived");
  }
  switch (target.devices[static_cast<std::size_t>(kind)].state) {
    case DeviceState::unplugging:
      return failure(FailureKind::refused,
                     "the detach of " + device_name + " of " + name(vm) + " has not completed yet");
    case DeviceState::plugging:
      return failure(FailureKind::refused,
                     device_name + " of " + name(vm) + " is being attached already");
    case DeviceState::attached:
    case DeviceState::absent: break;
  }
  if (kind == DeviceKind::virtual_function &&
      host.virtual_functions_used >= host_spec.virtual_functions) {
    return failure(FailureKind::refused, "all " + std::to_string(host_spec.virtual_functions) +
                                             " virtual functions of " + host_spec.name +
                                             " are in use");
  }
  if (kind == DeviceKind::ivshmem && host.ivshmem_used + spec.ivshmem > host_spec.ivshmem) {
    return failure(FailureKind::refused,
                   host_spec.name + " has " + to_text(host_spec.ivshmem - host.ivshmem_used) +
                       " of ivshmem left and " + name(vm) + " needs " + to_text(spec.ivshmem));
  }
  return {};
}

void FakeHypervisor::use(HostId host, VmId vm, DeviceKind kind, bool used) {
  Host& place = *hosts_[host.index];
  if (kind == DeviceKind::virtual_function) {
    place.virtual_functions_used += used ? 1U : -1U;
  } else {
    const Bytes size = instance_.vms[vm.index].ivshmem;
    place.ivshmem_used = used ? place.ivshmem_used + size : place.ivshmem_used - size;
  }
}

Result<TransferReport> FakeHypervisor::migrate(VmId vm, HostId destination,
                                               const TransferOptions& options,
                                               TransferObserver& observer, TimePoint deadline) {
  check(destination.index < hosts_.size(), "the destination is a host of the world");
  HostId source;
  {
    const Lock lock(*mutex_);
    note_losses();
    if (Result<> allowed = may_move(vm, destination, options); !allowed) {
      return tl::unexpected(allowed.error());
    }
    source = guest(vm).host;
    guest(vm).moving = guest(vm).may_abort = true;
    guest(vm).aborted = false;
    if (moves_function(instance_.vms[vm.index], options)) {
      use(destination, vm, DeviceKind::virtual_function, true);
    }
  }
  const Carrier carrier = carrier_of(instance_, platform_, options);
  check(carrier.bandwidth > Bandwidth() && !carrier.bandwidth.is_unlimited(),
        "a migration stream has a speed");
  const VmSpec& spec = instance_.vms[vm.index];
  const Bytes written = spec.memory * (1.0 - spec.zero.value());
  Move move{vm,
            source,
            destination,
            carrier.network,
            options,
            observer,
            deadline,
            carrier.bandwidth,
            "migration of " + name(vm),
            Compressor(options.compression, compression_costs(platform_, options.compression),
                       written, Bytes(), std::min(spec.working_set, written)),
            Stalls(options),
            moves_function(spec, options) ? platform_.hypervisor.vfio : VfioCosts()};
  Result<TransferReport> report = transfer(move);
  const bool gone = !report && report.error().kind == FailureKind::lost;
  if (!report && !gone) set_running(vm, true);  // where it was
  set_throttle(vm, Ratio(0));
  const Lock lock(*mutex_);
  if (moves_function(spec, options)) {
    const HostId left = guest(vm).host == destination ? source : destination;
    use(left, vm, DeviceKind::virtual_function, false);
  }
  if (gone) {
    guest(vm).lost = true;
    guest(vm).set_running(false, clock_.now());
  }
  guest(vm).moving = guest(vm).may_abort = false;
  guest(vm).changed->notify_all();
  return report;
}

Result<> FakeHypervisor::may_keep_devices(VmId vm, HostId destination,
                                          const TransferOptions& options) const {
  const bool function_moves = moves_function(instance_.vms[vm.index], options);
  for (const DeviceKind kind : all_devices) {
    const DeviceState state = guest(vm).devices[static_cast<std::size_t>(kind)].state;
    const bool stays = function_moves && kind == DeviceKind::virtual_function;
    if (stays && state != DeviceState::attached) {
      return failure(FailureKind::refused,
                     name(vm) + " has no attached virtual function whose state could be moved");
    }
    if (stays || state == DeviceState::absent) continue;
    return failure(FailureKind::refused, name(vm) + " has an attached " +
                                             std::string(to_name(kind)) +
                                             ", which blocks migration; detach it first");
  }
  if (!function_moves) return {};
  if (options.mode == MemoryMode::postcopy || options.mode == MemoryMode::hybrid ||
      std::ranges::find(options.on_stall, OnStall::postcopy) != options.on_stall.end()) {
    return failure(FailureKind::refused,
                   name(vm) + " has an attached virtual_function, which blocks post-copy");
  }
  const HostSpec& host = instance_.hosts[destination.index];
  if (hosts_[destination.index]->virtual_functions_used >= host.virtual_functions) {
    return failure(FailureKind::refused, "all " + std::to_string(host.virtual_functions) +
                                             " virtual functions of " + host.name + " are in use");
  }
  return {};
}

Result<> FakeHypervisor::may_move(VmId vm, HostId destination,
                                  const TransferOptions& options) const {
  const Guest& moved = guest(vm);
  if (Result<> allowed = may_keep_devices(vm, destination, options); !allowed) return allowed;
  if (moved.moving) return failure(FailureKind::refused, name(vm) + " is migrating already");
  if (moved.host == destination) {
    return failure(FailureKind::refused, name(vm) + " is on " + name(destination) + " already");
  }
  if (carrier_of(instance_, platform_, options).bandwidth == Bandwidth()) {
    return failure(FailureKind::refused,
                   "no network carries " + std::string(to_name(options.transport)));
  }
  return {};
}

Result<TransferReport> FakeHypervisor::transfer(Move& move) {
  const HypervisorCosts& costs = platform_.hypervisor;
  const VmSpec& vm = instance_.vms[move.vm.index];
  TransferReport report;

  if (Result<> done = control(move.destination, move.vm, costs.prepare, "prepare for " + move.what,
                              move.deadline);
      !done) {
    return tl::unexpected(done.error());
  }
  if (move.pins_all()) {
    const Duration cost = costs.pin_per_gib * vm.memory.to_gibi();
    if (Result<> done = pass_moving(move, clock_.now() + cost); !done) {
      return tl::unexpected(done.error());
    }
  }
  if (move.device.state > Bytes()) {  // guest memory is pinned for the function that waits there
    const Duration cost = costs.attach_vf.per_gib * vm.memory.to_gibi();
    if (Result<> done = pass_moving(move, clock_.now() + cost); !done)
      return tl::unexpected(done.error());
  }
  // Zero pages cost nothing, except pinned ones: RDMA sends what it has registered.
  Bytes pending = move.pins_all() ? vm.memory : vm.memory * (1.0 - vm.zero.value());
  After after = After::stop_and_copy;
  switch (move.options.mode) {
    case MemoryMode::offline: {
      const Result<> sent = send_stopped(move, report, pending);
      if (!sent) return tl::unexpected(sent.error());
      break;
    }
    case MemoryMode::postcopy: after = After::post_copy; break;
    case MemoryMode::precopy:
    case MemoryMode::hybrid: {
      const Result<After> sent = pre_copy(move, report, pending);
      if (!sent) return tl::unexpected(sent.error());
      after = *sent;
    }
  }
  const Result<> moved = after == After::post_copy ? post_copy(move, report, pending)
                                                   : stop_and_copy(move, report, pending);
  if (!moved) return tl::unexpected(moved.error());
  report.note = move.stalls.note();
  // The VM runs on its destination: nothing can be undone, so nobody may end this wait.
  const Uncancellable rest(executor_);
  if (Result<> done = pass(move.destination, move.vm, clock_.now() + costs.clean_up, move.what,
                           TimePoint::never());
      !done) {
    return tl::unexpected(done.error());
  }
  return report;
}

/// Sends rounds until what is `pending` may be sent with the guest paused, or is left to post-copy.
Result<FakeHypervisor::After> FakeHypervisor::pre_copy(Move& move, TransferReport& report,
                                                       Bytes& pending) {
  std::optional<AutoConverge> converge;
  {
    const Lock lock(*mutex_);
    guest(move.vm).dirty_log.take(clock_.now());
    if (move.options.auto_converge) converge.emplace(clock_.now());
  }
  const auto share = [&] { return faults_.share(move.links(), clock_.now()); };
  while (!move.may_pause(pending, share())) {
    if (report.rounds >= move.stalls.round_limit()) {
      switch (move.stalls.next()) {
        case OnStall::postcopy: return After::post_copy;
        case OnStall::auto_converge:
          if (!converge) converge.emplace(clock_.now());
          break;
        case OnStall::abort:
          return failure(FailureKind::failed,
                         move.what + " has not converged after " + std::to_string(report.rounds) +
                             " rounds: " + to_text(pending) + " are still to be sent, and only " +
                             to_text(move.threshold(share())) + " fit in the downtime limit" +
                             (move.device.state == Bytes()
                                  ? ""
                                  : " beside " + to_text(move.device.state) + " of device state") +
                             (move.stalls.note().empty() ? "" : "; it ") + move.stalls.note());
      }
    }
    const Result<Round> round = send_round(move, pending);
    if (!round) return tl::unexpected(round.error());
    const Bytes sent = move.compressor.on_network(round->sent);
    pending = round->left + round->dirtied;
    report.bytes += sent;
    report.rounds += 1;
    move.observer.round_done(move.vm, {report.rounds, sent, round->time, pending});
    move.compressor.round_done(round->sent);
    if (converge && converge->synchronised(clock_.now(), round->dirtied, sent)) {
      set_throttle(move.vm, converge->throttle());
    }
  }
  return After::stop_and_copy;
}

/// Sends what a limit holds for. Without one all of `pending` is sent in one pass.
Result<> FakeHypervisor::send_stopped(const Move& move, TransferReport& report, Bytes& pending) {
  pause(move.vm);
  if (move.options.bandwidth_limit.is_unlimited()) return {};
  {
    const Lock lock(*mutex_);
    guest(move.vm).dirty_log.take(clock_.now());
  }
  const Result<Round> round = send_round(move, pending);
  if (!round) return tl::unexpected(round.error());
  const Bytes sent = move.compressor.on_network(round->sent);
  pending = round->left;
  report.bytes += sent;
  report.rounds += 1;
  move.observer.round_done(move.vm, {report.rounds, sent, round->time, Bytes()});
  return {};
}

/// Ends when all of `pending` is sent, or when what is left and what is dirty may be sent with the
/// guest paused.
Result<FakeHypervisor::Round> FakeHypervisor::send_round(const Move& move, Bytes pending) {
  const Lock lock(*mutex_);
  Guest& moved = guest(move.vm);
  const Bandwidth bandwidth = move.guest_bandwidth();
  const TimePoint start = clock_.now();
  const TimePoint breaks = faults_.breaks(move.links(), start, platform_.hypervisor.keepalive);
  for (;;) {
    const TimePoint now = clock_.now();
    const Ratio share = faults_.share(move.links(), now);
    const Bytes sent = std::min(pending, bandwidth * faults_.carried(move.links(), start, now));
    const Bytes left = pending - sent;
    const Bytes dirty = moved.dirty_log.dirty(now);
    if (left == Bytes() || left + dirty <= move.threshold(share)) {
      return Round{sent, left, moved.dirty_log.take(now), now - start};
    }
    TimePoint next = faults_.next_change(move.links(), now);
    if (share > Ratio(0)) {
      const Bandwidth now_there = bandwidth * share.value();
      const RoundState state{left,
                             dirty,
                             moved.dirty_log.rate(),
                             moved.dirty_log.working_set(),
                             now_there,
                             move.threshold(share)};
      const Duration foreseen = time_to_switch_over(state).value_or(left / now_there);
      // At least a nanosecond: rounding must not make a loop without waiting of this one.
      next = std::min(next, now + std::max(foreseen, Duration::nanoseconds(1)));
    }
    if (moved.aborted) return ended_from_elsewhere(move.what);
    if (now >= breaks) return tl::unexpected(network_failed(move));
    if (now >= move.deadline) return ended(Wake::timed_out, move.what);
    // `ready` means that the ranks stopped or went on, so that the round is to be foreseen anew.
    const Wake wake = moved.changed->wait_until(*mutex_, std::min({next, breaks, move.deadline}));
    if (wake == Wake::cancelled) return ended(wake, move.what);
  }
}

Result<> FakeHypervisor::stop_and_copy(const Move& move, TransferReport& report, Bytes pending) {
  const Bytes sent = move.compressor.on_network(pending);
  const TimePoint start = pause(move.vm);
  if (Result<> done = pass_moving(move, clock_.now() + move.device.save); !done) return done;
  const TimePoint began = clock_.now();
  const Bytes all = sent + move.device.state;
  if (Result<> done = pass_sending(move, all, move.last_bandwidth()); !done) return done;
  report.bytes += all;
  ++report.rounds;
  const Duration time = clock_.now() - began;
  const TimePoint finished = clock_.now() + move.device.load + platform_.hypervisor.finish;
  if (Result<> done = pass_moving(move, finished); !done) {
    return done;
  }
  if (Result<> done = commit(move); !done) return done;
  if (Result<> done = arrive(move); !done) return done;
  report.downtime = clock_.now() - start;
  move.observer.round_done(move.vm, {report.rounds, all, time, Bytes()});
  return {};
}

/// The guest moves, then its memory. From the switch on there is no way back.
Result<> FakeHypervisor::post_copy(Move& move, TransferReport& report, Bytes pending) {
  if (Result<> done = commit(move); !done) return done;
  const Uncancellable rest(executor_);
  const TimePoint start = clock_.now();
  set_running(move.vm, false);
  // Whatever fails from here on: its memory is on two hosts, and it runs on neither.
  const auto lost = [](const Result<>& failed) {
    return failure(FailureKind::lost, failed.error().reason);
  };
  for (const HostId host : {move.source, move.destination}) {
    const Result<> switched = pass(host, move.vm, start + platform_.hypervisor.postcopy_switch,
                                   move.what, TimePoint::never());
    if (!switched) return lost(switched);
  }
  if (const Result<> done = arrive(move); !done) return lost(done);
  const TimePoint running = clock_.now();
  report.downtime = running - start;
  move.compressor.stop();
  if (const Result<> done = pass_sending(move, pending, move.bandwidth()); !done) return lost(done);
  report.bytes += pending;
  ++report.rounds;
  move.observer.round_done(move.vm, {report.rounds, pending, clock_.now() - running, Bytes()});
  return {};
}

/// From here on there is no way back, unless the move was cancelled from elsewhere before.
Result<> FakeHypervisor::commit(const Move& move) {
  const Lock lock(*mutex_);
  if (guest(move.vm).aborted) return ended_from_elsewhere(move.what);
  guest(move.vm).may_abort = false;
  return {};
}

Result<> FakeHypervisor::arrive(const Move& move) {
  {
    const Lock lock(*mutex_);
    if (is_lost(move.vm)) return tl::unexpected(went_down(move.source, move.vm, move.what));
    guest(move.vm).host = move.destination;
    guest(move.vm).since = clock_.now();
  }
  set_throttle(move.vm, Ratio(0));
  set_running(move.vm, true);
  return {};
}

TimePoint FakeHypervisor::pause(VmId vm) {
  set_running(vm, false);
  const Lock lock(*mutex_);
  return guest(vm).running_since;
}

void FakeHypervisor::set_throttle(VmId vm, Ratio share) {
  const Lock lock(*mutex_);
  guest(vm).dirty_log.set_throttle(share, clock_.now());
  guest(vm).changed->notify_all();
}

void FakeHypervisor::set_running(VmId vm, bool running) {
  const Lock lock(*mutex_);
  const TimePoint now = clock_.now();
  guest(vm).set_running(running, now);
  guest(vm).dirty_log.set_paused(!running, now);
  guest(vm).changed->notify_all();
}

void FakeHypervisor::set_ranks_running(VmId vm, bool running) {
  const Lock lock(*mutex_);
  guest(vm).dirty_log.set_ranks_running(running, clock_.now());
  guest(vm).changed->notify_all();
}

Wake FakeHypervisor::compute(std::optional<VmId> vm, Duration work) {
  if (!vm) return clock_.sleep_until(clock_.now() + work);
  const Lock lock(*mutex_);
  const Guest& computing = guest(*vm);
  // By how long the guest ran: of a pause its ranks may hear late.
  const Duration done = computing.ran(clock_.now()) + work;
  for (;;) {
    const TimePoint now = clock_.now();
    const TimePoint end = now + (done - computing.ran(now));
    const Wake wake =
        computing.changed->wait_until(*mutex_, computing.running ? end : TimePoint::never());
    if (wake == Wake::cancelled) return wake;
    if (computing.ran(clock_.now()) >= done) return Wake::timed_out;
  }
}

VmInspection FakeHypervisor::inspect(VmId vm) const {
  const Lock lock(*mutex_);
  const Guest& seen = guest(vm);
  const auto usable = [&seen](DeviceKind kind) {
    const DeviceState state = seen.devices[static_cast<std::size_t>(kind)].state;
    return state == DeviceState::attached || state == DeviceState::unplugging;
  };
  if (is_lost(vm)) return {seen.host, false, false, false, seen.moving};
  return {seen.host, seen.running, usable(DeviceKind::virtual_function),
          usable(DeviceKind::ivshmem), seen.moving};
}

Result<> FakeHypervisor::await_settled(VmId vm, TimePoint deadline) {
  const Lock lock(*mutex_);
  const auto busy = [this, vm, &seen = guest(vm)] {
    if (is_lost(vm)) return seen.moving;
    return seen.moving || std::ranges::any_of(seen.devices, [](const Device& device) {
             return device.state == DeviceState::plugging ||
                    device.state == DeviceState::unplugging;
           });
  };
  while (busy()) {
    const Wake wake = guest(vm).changed->wait_until(*mutex_, deadline);
    if (wake != Wake::ready && (wake == Wake::cancelled || busy())) {
      return ended(wake, "what was asked of " + name(vm) + " earlier");
    }
  }
  return {};
}

Result<> FakeHypervisor::cancel_migration(VmId vm) {
  const Lock lock(*mutex_);
  Guest& moved = guest(vm);
  if (!moved.moving) return failure(FailureKind::refused, name(vm) + " is not migrating");
  if (!moved.may_abort) {
    return failure(FailureKind::refused, name(vm) + " has been switched over to its destination");
  }
  moved.aborted = true;
  moved.changed->notify_all();
  return {};
}

Result<> FakeHypervisor::control(HostId host, VmId vm, Duration cost, const std::string& what,
                                 TimePoint deadline) {
  const TimePoint asked = clock_.now();
  const Duration serial = cost * platform_.hypervisor.serial.value();
  if (serial > Duration::zero()) {
    FifoGate& gate = hosts_[host.index]->control;
    const ClusterFaults::Wait wait =
        faults_.wait_for({&host, 1}, asked, TimePoint::never(), platform_.hypervisor.keepalive);
    const Wake wake = gate.enter(std::min(deadline, wait.until));
    if (wake == Wake::timed_out && wait.until <= deadline) {
      return tl::unexpected(went_down(host, vm, what));
    }
    if (wake != Wake::ready) return ended(wake, what);
    Result<> done = pass(host, vm, clock_.now() + serial, what, deadline);
    gate.leave();
    if (!done) return done;
  }
  const TimePoint end = faults_.answered(host, asked, clock_.now() + (cost - serial));
  return pass(host, vm, end, what, deadline);
}

Result<> FakeHypervisor::pass(HostId host, VmId vm, TimePoint end, const std::string& what,
                              TimePoint deadline) {
  const ClusterFaults::Wait wait =
      faults_.wait_for({&host, 1}, clock_.now(), end, platform_.hypervisor.keepalive);
  const Wake wake = clock_.sleep_until(std::min(wait.until, deadline));
  if (wake == Wake::cancelled || wait.until > deadline) return ended(wake, what);
  if (wait.silent) return tl::unexpected(went_down(host, vm, what));
  return {};
}

Result<> FakeHypervisor::pass_moving(const Move& move, TimePoint end) {
  const std::array<HostId, 2> hosts = {move.source, move.destination};
  const Lock lock(*mutex_);
  const ClusterFaults::Wait wait =
      faults_.wait_for(hosts, clock_.now(), end, platform_.hypervisor.keepalive);
  const Guest& moved = guest(move.vm);
  for (;;) {
    if (moved.aborted) return ended_from_elsewhere(move.what);
    const TimePoint now = clock_.now();
    if (now >= std::min(wait.until, move.deadline)) {
      if (wait.until > move.deadline) return ended(Wake::timed_out, move.what);
      if (wait.silent) return tl::unexpected(went_down(*wait.silent, move.vm, move.what));
      return {};
    }
    const Wake wake = moved.changed->wait_until(*mutex_, std::min(wait.until, move.deadline));
    if (wake == Wake::cancelled) return ended(wake, move.what);
  }
}

Result<> FakeHypervisor::pass_sending(const Move& move, Bytes bytes, Bandwidth bandwidth) {
  const Lock lock(*mutex_);
  Guest& moved = guest(move.vm);
  const bool may_end = moved.may_abort;  // else it has been switched over
  const TimePoint deadline = may_end ? move.deadline : TimePoint::never();
  const TimePoint start = clock_.now();
  const TimePoint end = faults_.carried_by(move.links(), start, bytes / bandwidth);
  const TimePoint breaks = faults_.breaks(move.links(), start, platform_.hypervisor.keepalive);
  for (;;) {
    if (may_end && moved.aborted) return ended_from_elsewhere(move.what);
    const TimePoint now = clock_.now();
    if (now >= std::min({end, breaks, deadline})) {
      if (end <= std::min(breaks, deadline)) return {};
      if (breaks <= deadline) return tl::unexpected(network_failed(move));
      return ended(Wake::timed_out, move.what);
    }
    const Wake wake = moved.changed->wait_until(*mutex_, std::min({end, breaks, deadline}));
    if (wake == Wake::cancelled) return ended(wake, move.what);
  }
}

// --- Hosts that go down ---

Failure FakeHypervisor::went_down(HostId host, VmId vm, const std::string& what) const {
  return {is_lost(vm) ? FailureKind::lost : FailureKind::failed,
          name(host) + " does not answer: " + what + " has not ended"};
}

Failure FakeHypervisor::network_failed(const Move& move) const {
  return {is_lost(move.vm) ? FailureKind::lost : FailureKind::failed,
          "the network to " + name(move.destination) + " failed during the " + move.what};
}

bool FakeHypervisor::is_lost(VmId vm) const {
  const Guest& seen = guest(vm);
  return seen.lost ||
         (!faults_.empty() && faults_.down_from(seen.host, seen.since) <= clock_.now());
}

Result<> FakeHypervisor::not_lost(VmId vm) const {
  const Lock lock(*mutex_);
  if (!is_lost(vm)) return {};
  return failure(FailureKind::lost,
                 name(vm) + " runs nowhere; it was last on " + name(guest(vm).host));
}

void FakeHypervisor::note_losses() {
  if (faults_.empty()) return;
  for (std::uint32_t i = 0; i < guests_.size(); ++i) {
    const VmId vm{i};
    Guest& gone = guest(vm);
    if (gone.lost || !is_lost(vm)) continue;
    gone.lost = true;
    gone.set_running(false, clock_.now());
    for (const DeviceKind kind : all_devices) {
      Device& held = device(vm, kind);
      if (held.state == DeviceState::absent) continue;
      held.state = DeviceState::absent;
      use(gone.host, vm, kind, false);
    }
    gone.changed->notify_all();
  }
}

FakeHypervisor::Guest& FakeHypervisor::guest(VmId vm) {
  check(vm.index < guests_.size(), "a VM of the world");
  return guests_[vm.index];
}
const FakeHypervisor::Guest& FakeHypervisor::guest(VmId vm) const {
  check(vm.index < guests_.size(), "a VM of the world");
  return guests_[vm.index];
}
FakeHypervisor::Device& FakeHypervisor::device(VmId vm, DeviceKind kind) {
  return guest(vm).devices[static_cast<std::size_t>(kind)];
}
const std::string& FakeHypervisor::name(VmId vm) const { return instance_.vms[vm.index].name; }
const std::string& FakeHypervisor::name(HostId host) const {
  return instance_.hosts[host.index].name;
}

}  // namespace ferry
