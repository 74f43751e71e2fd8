#include "sim_backend/sim_hypervisor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "core/memory/compression.hpp"
#include "core/memory/stalls.hpp"
#include "core/memory/throttling.hpp"
#include "core/units/check.hpp"

namespace ferry {
namespace {

std::size_t index(DeviceKind kind) { return static_cast<std::size_t>(kind); }

bool has_device(const VmSpec& vm, DeviceKind kind) {
  return kind == DeviceKind::virtual_function ? vm.virtual_function : vm.ivshmem > Bytes(0);
}

std::string speed(Bytes bytes, Duration time) {
  const Bandwidth rate = bytes / time;
  return fmt::format("{:.1f} MB/s", rate.to_bytes_per_second() / 1e6);
}

}  // namespace

struct SimHypervisor::Transfer {
  VmId vm;
  Guest& guest;
  Path path;
  Duration latency;
  const TransferOptions& options;
  TransferObserver& observer;
  TimePoint deadline;
  GuestMemory memory;
  Bytes first_pass;
  Compressor compressor;
  Stalls stalls;
  Bandwidth limit;                      // of the streams and the user
  std::optional<Flows::Stream> stream;  // once memory flows
  Bytes sent;                           // on the network
};

SimHypervisor::SimHypervisor(Scheduler& scheduler, Flows& flows, const Instance& instance,
                             const Platform& platform)
    : scheduler_(scheduler),
      flows_(flows),
      instance_(instance),
      platform_(platform),
      faults_(instance),
      control_free_(instance.hosts.size()),
      places_(instance.hosts.size()) {
  guests_.reserve(instance.vms.size());
  settling_.resize(instance.vms.size());
  for (const VmSpec& vm : instance.vms) {
    const GuestMemory memory = guest_memory(vm.memory, vm.zero);
    const Bytes working_set = std::min(vm.working_set, memory.total - memory.zero);
    const Bandwidth rate = vm.idle_dirty_rate + vm.dirty_rate;
    guests_.push_back({.host = vm.host,
                       .devices = {},
                       .running = true,
                       .moving = false,
                       .mover = nullptr,
                       .aborted = false,
                       .lost = false,
                       .dirty = DirtyMeter(working_set, rate, scheduler.now()),
                       .busy_rate = rate,
                       .idle_rate = vm.idle_dirty_rate,
                       .ranks_running = true,
                       .throttle = Ratio(0)});
    const VmId id{static_cast<std::uint32_t>(guests_.size() - 1)};
    for (const DeviceKind kind : {DeviceKind::virtual_function, DeviceKind::ivshmem}) {
      if (!has_device(vm, kind)) continue;
      device(id, kind).state = DeviceState::attached;
      use_place(id, kind, true);
    }
  }
  for (const ClusterFaultSpec& fault : instance.cluster_faults) {
    if (fault.kind != ClusterFaultSpec::Kind::host_down || fault.until <= fault.from) continue;
    deaths_.push_back(
        std::make_unique<CallbackEvent>([this, host = fault.host] { lose_guests_of(host); }));
    scheduler.schedule(*deaths_.back(), fault.from);
  }
}

SimHypervisor::~SimHypervisor() {
  for (const auto& death : deaths_) {
    if (death->scheduled()) scheduler_.unschedule(*death);
  }
}

// --- Control operations ---

TimePoint SimHypervisor::control_done(HostId host, Duration cost) {
  const Duration serial = cost * platform_.hypervisor.serial.value();
  TimePoint& free = control_free_[host.index];
  free = std::max(free, scheduler_.now()) + serial;
  return faults_.answered(host, scheduler_.now(), free + (cost - serial));
}

Failure SimHypervisor::interrupted(FailureKind kind, VmId vm, const char* what) const {
  const std::string& host = instance_.hosts[guests_[vm.index].host.index].name;
  return {kind,
          fmt::format("{} of {} on {} {}", what, name(vm), host,
                      kind == FailureKind::cancelled ? "was cancelled" : "did not end in time")};
}

Failure SimHypervisor::went_down(HostId host, VmId vm, const char* what) const {
  return {guests_[vm.index].lost ? FailureKind::lost : FailureKind::failed,
          fmt::format("{} does not answer: {} of {} has not ended",
                      instance_.hosts[host.index].name, what, name(vm))};
}

Result<> SimHypervisor::sleep(std::initializer_list<HostId> hosts, TimePoint until, VmId vm,
                              const char* what, TimePoint deadline, Cancellable cancellable) {
  const ClusterFaults::Wait wait = faults_.wait_for({hosts.begin(), hosts.size()}, scheduler_.now(),
                                                    until, platform_.hypervisor.keepalive);
  const Wake wake = scheduler_.block(what, std::min(wait.until, deadline), cancellable);
  if (wake == Wake::cancelled) {
    return tl::unexpected(interrupted(FailureKind::cancelled, vm, what));
  }
  if (wait.until > deadline) return tl::unexpected(interrupted(FailureKind::timed_out, vm, what));
  if (guests_[vm.index].lost) return tl::unexpected(went_down(guests_[vm.index].host, vm, what));
  if (wait.silent) return tl::unexpected(went_down(*wait.silent, vm, what));
  return {};
}

Result<> SimHypervisor::control(HostId host, VmId vm, const char* what, Duration cost,
                                TimePoint deadline) {
  return sleep({host}, control_done(host, cost), vm, what, deadline);
}

Result<> SimHypervisor::not_lost(VmId vm) const {
  const Guest& guest = guests_[vm.index];
  if (!guest.lost) return {};
  return failure(FailureKind::lost, fmt::format("{} runs nowhere; it was last on {}", name(vm),
                                                instance_.hosts[guest.host.index].name));
}

void SimHypervisor::lose(Guest& guest, VmId vm) {
  guest.lost = true;
  pause(guest);
  for (const DeviceKind kind : {DeviceKind::virtual_function, DeviceKind::ivshmem}) {
    if (settle(vm, kind) == DeviceState::absent) continue;
    device(vm, kind).state = DeviceState::absent;
    use_place(vm, kind, false);
  }
  note_settled(vm);
}

void SimHypervisor::lose_guests_of(HostId host) {
  for (std::uint32_t i = 0; i < guests_.size(); ++i) {
    if (guests_[i].host == host && !guests_[i].lost) lose(guests_[i], VmId{i});
  }
}

SimHypervisor::Device& SimHypervisor::device(VmId vm, DeviceKind kind) {
  return guests_[vm.index].devices[index(kind)];
}

SimHypervisor::DeviceState SimHypervisor::settle(VmId vm, DeviceKind kind) {
  Device& settled = device(vm, kind);
  if (settled.state == DeviceState::leaving && settled.gone_at <= scheduler_.now()) {
    settled.state = DeviceState::absent;
    use_place(vm, kind, false);
  }
  return settled.state;
}

void SimHypervisor::use_place(VmId vm, DeviceKind kind, bool used) {
  Places& places = places_[guests_[vm.index].host.index];
  if (kind == DeviceKind::virtual_function) {
    places.virtual_functions_used += used ? 1U : -1U;
  } else {
    const Bytes size = instance_.vms[vm.index].ivshmem;
    places.ivshmem_used = used ? places.ivshmem_used + size : places.ivshmem_used - size;
  }
}

Result<> SimHypervisor::set_status(VmId vm, Phase phase, TimePoint deadline) {
  if (Result<> there = not_lost(vm); !there) return there;
  const char* const what =
      phase == Phase::set_pre_migration ? "set_pre_migration" : "set_post_migration";
  return control(guests_[vm.index].host, vm, what, platform_.hypervisor.set_status, deadline);
}

Result<> SimHypervisor::detach(VmId vm, DeviceKind kind, TimePoint deadline) {
  if (Result<> there = not_lost(vm); !there) return there;
  const DeviceState state = settle(vm, kind);
  if (state == DeviceState::absent) return {};
  if (state == DeviceState::coming) {
    return failure(FailureKind::refused,
                   fmt::format("{} of {} is being attached", to_name(kind), name(vm)));
  }
  if (state == DeviceState::attached) {
    Device& leaving = device(vm, kind);
    leaving.state = DeviceState::leaving;
    leaving.gone_at =
        control_done(guests_[vm.index].host, kind == DeviceKind::virtual_function
                                                 ? platform_.hypervisor.detach_vf
                                                 : platform_.hypervisor.remove_ivshmem);
  }
  return await_detached(vm, kind, deadline);
}

Result<> SimHypervisor::await_detached(VmId vm, DeviceKind kind, TimePoint deadline) {
  if (Result<> there = not_lost(vm); !there) return there;
  const DeviceState state = settle(vm, kind);
  if (state == DeviceState::absent) return {};
  if (state != DeviceState::leaving) {
    return failure(FailureKind::refused,
                   fmt::format("no detach of {} of {} is under way", to_name(kind), name(vm)));
  }
  const char* const what = kind == DeviceKind::virtual_function ? "detach_vf" : "remove_ivshmem";
  Result<> waited = sleep({guests_[vm.index].host}, device(vm, kind).gone_at, vm, what, deadline);
  if (waited) settle(vm, kind);
  return waited;
}

Result<> SimHypervisor::attach(VmId vm, DeviceKind kind, TimePoint deadline) {
  if (Result<> there = not_lost(vm); !there) return there;
  if (settle(vm, kind) == DeviceState::attached) return {};
  if (Result<> allowed = check_attach(vm, kind); !allowed) return allowed;
  const HypervisorCosts& costs = platform_.hypervisor;
  const Duration cost = kind == DeviceKind::virtual_function
                            ? costs.attach_vf.fixed +
                                  costs.attach_vf.per_gib * instance_.vms[vm.index].memory.to_gibi()
                            : costs.add_ivshmem;
  const char* const what = kind == DeviceKind::virtual_function ? "attach_vf" : "add_ivshmem";
  device(vm, kind).state = DeviceState::coming;
  use_place(vm, kind, true);
  Result<> done = control(guests_[vm.index].host, vm, what, cost, deadline);
  if (guests_[vm.index].lost) return done;
  device(vm, kind).state = done ? DeviceState::attached : DeviceState::absent;
  if (!done) use_place(vm, kind, false);
  note_settled(vm);
  return done;
}

Result<> SimHypervisor::check_attach(VmId vm, DeviceKind kind) {
  const Guest& guest = guests_[vm.index];
  const VmSpec& spec = instance_.vms[vm.index];
  const HostSpec& host = instance_.hosts[guest.host.index];
  const Places& places = places_[guest.host.index];
  const std::string_view device_name = to_name(kind);
  std::string reason;
  if (!has_device(spec, kind)) {
    reason = fmt::format("{} has no {}", spec.name, device_name);
  } else if (guest.moving) {
    reason =
        fmt::format("{} is being moved; attach {} when it has arrived", spec.name, device_name);
  } else if (device(vm, kind).state == DeviceState::leaving) {
    reason = fmt::format("{} of {} is still being unplugged", device_name, spec.name);
  } else if (device(vm, kind).state == DeviceState::coming) {
    reason = fmt::format("{} of {} is being attached already", device_name, spec.name);
  } else if (kind == DeviceKind::virtual_function &&
             places.virtual_functions_used >= host.virtual_functions) {
    reason =
        fmt::format("all {} virtual functions of {} are in use", host.virtual_functions, host.name);
  } else if (kind == DeviceKind::ivshmem && places.ivshmem_used + spec.ivshmem > host.ivshmem) {
    reason =
        fmt::format("{} has {} of ivshmem left and {} needs {}", host.name,
                    to_text(host.ivshmem - places.ivshmem_used), spec.name, to_text(spec.ivshmem));
  } else {
    return {};
  }
  return failure(FailureKind::refused, std::move(reason));
}

VmInspection SimHypervisor::inspect(VmId vm) const {
  const Guest& guest = guests_[vm.index];
  const auto usable = [this](const Device& device) {
    return device.state == DeviceState::attached ||
           (device.state == DeviceState::leaving && device.gone_at > scheduler_.now());
  };
  return {.host = guest.host,
          .running = guest.running,
          .virtual_function = usable(guest.devices[index(DeviceKind::virtual_function)]),
          .ivshmem = usable(guest.devices[index(DeviceKind::ivshmem)]),
          .moving = guest.moving};
}

// --- What an earlier controller left at work ---

Result<> SimHypervisor::await_settled(VmId vm, TimePoint deadline) {
  constexpr const char* what = "what was asked earlier";
  for (;;) {
    TimePoint gone = TimePoint::never();
    bool busy = guests_[vm.index].moving;
    for (const DeviceKind kind : {DeviceKind::virtual_function, DeviceKind::ivshmem}) {
      const DeviceState state = settle(vm, kind);
      if (state == DeviceState::leaving) gone = std::min(gone, device(vm, kind).gone_at);
      busy = busy || state == DeviceState::leaving || state == DeviceState::coming;
    }
    if (!busy) return {};
    if (deadline <= scheduler_.now()) {
      return tl::unexpected(interrupted(FailureKind::timed_out, vm, what));
    }
    std::unique_ptr<WaitList>& list = settling_[vm.index];
    if (!list) list = std::make_unique<WaitList>();
    if (scheduler_.block(what, std::min(gone, deadline), Cancellable::yes, list.get()) ==
        Wake::cancelled) {
      return tl::unexpected(interrupted(FailureKind::cancelled, vm, what));
    }
  }
}

void SimHypervisor::note_settled(VmId vm) {
  const std::unique_ptr<WaitList>& list = settling_[vm.index];
  while (list && !list->empty()) scheduler_.wake(*list->first(), Wake::ready);
}

Result<> SimHypervisor::cancel_migration(VmId vm) {
  Guest& guest = guests_[vm.index];
  if (!guest.moving) {
    return failure(FailureKind::refused, fmt::format("{} is not being moved", name(vm)));
  }
  if (guest.mover == nullptr) {
    return failure(FailureKind::refused,
                   fmt::format("{} has been switched over to its destination", name(vm)));
  }
  guest.aborted = true;
  if (Scheduler::blocked(*guest.mover)) scheduler_.wake(*guest.mover, Wake::cancelled);
  return {};
}

// --- Guests ---

void SimHypervisor::set_ranks_running(VmId vm, bool running) {
  Guest& guest = guests_[vm.index];
  guest.ranks_running = running;
  if (guest.running) resume(guest);
}

void SimHypervisor::pause(Guest& guest) {
  guest.running = false;
  guest.dirty.set_rate(Bandwidth(), scheduler_.now());
}

void SimHypervisor::resume(Guest& guest) {
  if (guest.lost) return;
  guest.running = true;
  const Bandwidth rate = guest.ranks_running ? guest.busy_rate : guest.idle_rate;
  guest.dirty.set_rate(rate * (1.0 - guest.throttle.value()), scheduler_.now());
}

void SimHypervisor::throttle(Guest& guest, Ratio share) {
  guest.throttle = share;
  if (guest.running) resume(guest);
}

// --- Moves ---

Result<> SimHypervisor::check_move(VmId vm, HostId destination, const TransferOptions& options) {
  if (Result<> there = not_lost(vm); !there) return there;
  const Guest& guest = guests_[vm.index];
  if (guest.moving) {
    return failure(FailureKind::refused, fmt::format("{} is being moved already", name(vm)));
  }
  if (destination == guest.host) {
    return failure(FailureKind::refused, fmt::format("{} runs on {} already", name(vm),
                                                     instance_.hosts[destination.index].name));
  }
  // The messages are libvirt's and QEMU's.
  if (settle(vm, DeviceKind::virtual_function) != DeviceState::absent) {
    return failure(
        FailureKind::refused,
        fmt::format("virtual_function of {} is attached: Requested operation is not valid: "
                    "domain has assigned non-USB host devices",
                    name(vm)));
  }
  if (settle(vm, DeviceKind::ivshmem) != DeviceState::absent) {
    return failure(
        FailureKind::refused,
        fmt::format("ivshmem of {} is attached: Migration is disabled when using feature "
                    "'peer mode' in device 'ivshmem'",
                    name(vm)));
  }
  if (!flows_.network_for(options.transport)) {
    return failure(FailureKind::refused,
                   fmt::format("no network carries {}", to_name(options.transport)));
  }
  return {};
}

Result<TransferReport> SimHypervisor::migrate(VmId vm, HostId destination,
                                              const TransferOptions& options,
                                              TransferObserver& observer, TimePoint deadline) {
  if (Result<> allowed = check_move(vm, destination, options); !allowed) {
    return tl::unexpected(std::move(allowed.error()));
  }
  Guest& guest = guests_[vm.index];
  const VmSpec& spec = instance_.vms[vm.index];
  const NetworkId network = *flows_.network_for(options.transport);
  const bool pinned = options.transport == Transport::rdma && options.pin_all;
  const GuestMemory memory = guest_memory(spec.memory, spec.zero);
  const Bytes first = first_pass(memory, pinned);
  const Bandwidth limit = std::min(stream_bandwidth(platform_, options), options.bandwidth_limit);
  Transfer transfer{
      .vm = vm,
      .guest = guest,
      .path = {.network = network, .from = guest.host, .to = destination, .limit = limit},
      .latency = flows_.latency(network, guest.host, destination),
      .options = options,
      .observer = observer,
      .deadline = deadline,
      .memory = memory,
      .first_pass = first,
      .compressor =
          Compressor(options.compression, compression_costs(platform_, options.compression), first,
                     first - (memory.total - memory.zero), guest.dirty.most()),
      .stalls = Stalls(options),
      .limit = limit,
      .stream = std::nullopt,
      .sent = Bytes(0)};

  guest.moving = true;
  guest.mover = &scheduler_.current();
  guest.aborted = false;
  TimePoint prepared = control_done(destination, platform_.hypervisor.prepare);
  if (pinned) prepared = prepared + platform_.hypervisor.pin_per_gib * spec.memory.to_gibi();
  Result<> ready =
      sleep({guest.host, destination}, prepared + transfer.latency, vm, "migration", deadline);
  Result<TransferReport> moved =
      ready ? send_memory(transfer) : Result<TransferReport>(tl::unexpected(ready.error()));
  guest.moving = false;
  guest.mover = nullptr;
  guest.throttle = Ratio(0);
  if (!moved && moved.error().kind == FailureKind::lost && !guest.lost) lose(guest, vm);
  resume(guest);
  note_settled(vm);
  if (!moved && guest.aborted && !guest.lost) {
    return failure(FailureKind::failed,
                   fmt::format("the migration of {} was cancelled from elsewhere", name(vm)));
  }
  return moved;
}

Failure SimHypervisor::network_failed(FailureKind kind, const Transfer& transfer) const {
  return {kind, fmt::format("the network to {} failed during the migration of {}",
                            instance_.hosts[transfer.path.to.index].name, name(transfer.vm))};
}

void SimHypervisor::open_stream(Transfer& transfer) {
  const Bandwidth limit = std::min(transfer.limit, transfer.compressor.most());
  if (transfer.stream && transfer.path.limit == limit) return;
  transfer.path.limit = limit;
  transfer.stream.reset();
  transfer.stream.emplace(flows_, transfer.path);
}

Result<> SimHypervisor::send(Transfer& transfer, Bytes bytes, Bandwidth* share) {
  if (transfer.guest.aborted) {
    return tl::unexpected(interrupted(FailureKind::cancelled, transfer.vm, "migration"));
  }
  const TimePoint breaks = breaks_from_now(transfer);
  const FlowEnd end = transfer.stream->send(transfer.compressor.on_network(bytes),
                                            std::min(transfer.deadline, breaks));
  transfer.sent += end.bytes;
  switch (end.outcome) {
    case FlowOutcome::done: break;
    case FlowOutcome::timed_out:
      if (breaks <= transfer.deadline) {
        return tl::unexpected(network_failed(
            transfer.guest.lost ? FailureKind::lost : FailureKind::failed, transfer));
      }
      return tl::unexpected(interrupted(FailureKind::timed_out, transfer.vm, "migration"));
    case FlowOutcome::cancelled:
      return tl::unexpected(interrupted(FailureKind::cancelled, transfer.vm, "migration"));
  }
  if (share != nullptr) *share = end.rate;
  return {};
}

Result<TransferReport> SimHypervisor::send_memory(Transfer& transfer) {
  open_stream(transfer);
  switch (transfer.options.mode) {
    case MemoryMode::offline:
      pause(transfer.guest);
      return switch_over(transfer, transfer.first_pass, 1);
    case MemoryMode::postcopy: return post_copy(transfer, transfer.first_pass, 1);
    case MemoryMode::precopy:
    case MemoryMode::hybrid: break;
  }
  return send_live(transfer);
}

Result<TransferReport> SimHypervisor::send_live(Transfer& transfer) {
  const Bytes first = transfer.first_pass;
  const Path& path = transfer.path;
  const std::uint32_t sharing =
      std::max(flows_.flows_out(path.network, path.from), flows_.flows_in(path.network, path.to));
  const Bandwidth expected = std::min(path.limit, flows_.link_bandwidth(path.network) / sharing);
  Precopy precopy(first, std::max(first, transfer.memory.total - transfer.memory.zero),
                  transfer.options.downtime_limit, transfer.stalls.round_limit(), expected);
  std::optional<AutoConverge> converge;
  if (transfer.options.auto_converge) converge.emplace(scheduler_.now());
  transfer.guest.dirty.take(scheduler_.now());  // dirty logging starts: all counts as dirty
  for (;;) {
    const TimePoint began = scheduler_.now();
    const Bytes sent_before = transfer.sent;
    open_stream(transfer);
    for (Bytes part = precopy.next_part(); part > Bytes(0); part = precopy.next_part()) {
      Bandwidth share;
      if (Result<> sent = send(transfer, part, &share); !sent) {
        return tl::unexpected(std::move(sent.error()));
      }
      precopy.part_done(part, share);
    }
    const Duration time = scheduler_.now() - began;
    const Bytes dirtied = transfer.guest.dirty.take(scheduler_.now());
    const Bytes sent = transfer.sent - sent_before;
    transfer.observer.round_done(
        transfer.vm,
        {.round = precopy.round(), .bytes = sent, .time = time, .dirty_bytes = dirtied});
    transfer.compressor.round_done(precopy.sent_in_round());
    if (converge && converge->synchronised(scheduler_.now(), dirtied, sent)) {
      throttle(transfer.guest, converge->throttle());
    }
    switch (precopy.round_done(dirtied)) {
      case Precopy::Then::next_round: continue;
      case Precopy::Then::stop_and_copy:
        open_stream(transfer);
        pause(transfer.guest);
        return switch_over(transfer, precopy.pending(), precopy.round());
      case Precopy::Then::stalled: break;
    }
    switch (transfer.stalls.next()) {
      case OnStall::auto_converge:
        if (!converge) converge.emplace(scheduler_.now());
        precopy.go_on(transfer.stalls.round_limit());
        break;
      case OnStall::postcopy: return post_copy(transfer, precopy.pending(), precopy.round() + 1);
      case OnStall::abort:
        return failure(
            FailureKind::failed,
            fmt::format("pre-copy of {} has not converged after {} rounds: in the last one {} were "
                        "sent and {} were dirtied{}{}",
                        name(transfer.vm), precopy.round(), speed(sent, time), speed(dirtied, time),
                        transfer.stalls.note().empty() ? "" : "; it ", transfer.stalls.note()));
    }
  }
}

Result<TransferReport> SimHypervisor::switch_over(Transfer& transfer, Bytes rest, int round) {
  const TimePoint paused = scheduler_.now();
  const Bytes sent_before = transfer.sent;
  if (Result<> sent = send(transfer, rest, nullptr); !sent) {
    return tl::unexpected(std::move(sent.error()));
  }
  transfer.observer.round_done(transfer.vm, {.round = round,
                                             .bytes = transfer.sent - sent_before,
                                             .time = scheduler_.now() - paused,
                                             .dirty_bytes = Bytes(0)});
  transfer.stream.reset();
  if (transfer.guest.aborted) {
    return tl::unexpected(interrupted(FailureKind::cancelled, transfer.vm, "migration"));
  }
  // The destination has all of it: there is no way back.
  transfer.guest.mover = nullptr;
  // The destination starts the guest when it is told to finish: if either host goes down before,
  // the source, if it is there, goes on with it (libvirt's protocol of version 3).
  const Result<> finished = sleep({transfer.path.from, transfer.path.to},
                                  scheduler_.now() + transfer.latency + platform_.hypervisor.finish,
                                  transfer.vm, "migration", TimePoint::never(), Cancellable::no);
  if (!finished) return tl::unexpected(finished.error());
  transfer.guest.host = transfer.path.to;
  transfer.guest.throttle = Ratio(0);
  resume(transfer.guest);
  const TransferReport report{.downtime = scheduler_.now() - paused,
                              .bytes = transfer.sent,
                              .rounds = round,
                              .note = transfer.stalls.note()};
  if (Result<> cleaned = clean_up(transfer); !cleaned) return tl::unexpected(cleaned.error());
  return report;
}

Result<TransferReport> SimHypervisor::post_copy(Transfer& transfer, Bytes rest, int round) {
  if (transfer.guest.aborted) {
    return tl::unexpected(interrupted(FailureKind::cancelled, transfer.vm, "migration"));
  }
  // From here on there is no way back.
  transfer.guest.mover = nullptr;
  const TimePoint paused = scheduler_.now();
  pause(transfer.guest);
  if (const Result<> switched =
          sleep({transfer.path.from, transfer.path.to},
                scheduler_.now() + transfer.latency + platform_.hypervisor.postcopy_switch,
                transfer.vm, "migration", TimePoint::never(), Cancellable::no);
      !switched) {
    return failure(FailureKind::lost, switched.error().reason);
  }
  transfer.guest.host = transfer.path.to;
  transfer.guest.throttle = Ratio(0);
  resume(transfer.guest);
  const TimePoint began = scheduler_.now();
  transfer.compressor.stop();
  open_stream(transfer);
  const FlowEnd end = transfer.stream->send(rest, breaks_from_now(transfer), Cancellable::no);
  transfer.sent += end.bytes;
  if (end.outcome != FlowOutcome::done) {
    return tl::unexpected(network_failed(FailureKind::lost, transfer));
  }
  transfer.observer.round_done(
      transfer.vm,
      {.round = round, .bytes = rest, .time = scheduler_.now() - began, .dirty_bytes = Bytes(0)});
  transfer.stream.reset();
  const TransferReport report{.downtime = began - paused,
                              .bytes = transfer.sent,
                              .rounds = round,
                              .note = transfer.stalls.note()};
  if (Result<> cleaned = clean_up(transfer); !cleaned) return tl::unexpected(cleaned.error());
  return report;
}

/// The source's part no longer matters to the guest.
Result<> SimHypervisor::clean_up(const Transfer& transfer) {
  if (platform_.hypervisor.clean_up == Duration::zero()) return {};
  return sleep({transfer.path.to}, scheduler_.now() + platform_.hypervisor.clean_up, transfer.vm,
               "the clean-up after the migration", TimePoint::never(), Cancellable::no);
}

TimePoint SimHypervisor::breaks_from_now(const Transfer& transfer) const {
  const Path& path = transfer.path;
  return faults_.breaks({path.network.index, path.from, path.to}, scheduler_.now(),
                        platform_.hypervisor.keepalive);
}

}  // namespace ferry
