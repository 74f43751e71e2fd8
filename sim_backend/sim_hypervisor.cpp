#include "sim_backend/sim_hypervisor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "core/memory/compression.hpp"
#include "core/memory/memory_transfer.hpp"
#include "core/memory/stalls.hpp"
#include "core/memory/throttling.hpp"
#include "core/units/check.hpp"
#include "core/units/fetch_lines.hpp"

namespace ferry {
namespace {

std::size_t index(DeviceKind kind) { return static_cast<std::size_t>(kind); }

bool has_device(const VmSpec& vm, DeviceKind kind) {
  return kind == DeviceKind::virtual_function ? vm.virtual_function : vm.ivshmem > Bytes(0);
}

std::string speed(Bytes bytes, Duration time) {
  if (time == Duration::zero()) return "none";
  const Bandwidth rate = bytes / time;
  return fmt::format("{:.1f} MB/s", rate.to_bytes_per_second() / 1e6);
}

/// What the running task, which moves a guest, touches when it goes on from an operation: it does
/// so seldom, and then much. Scope of the wait.
class MovedGuest final : public Fetchable {
 public:
  template <class Guest>
  MovedGuest(Scheduler& scheduler, const Guest& guest, const VmSpec& vm)
      : scheduler_(scheduler),
        guest_(&guest),
        guest_lines_(1 + sizeof guest / cache_line),
        vm_(&vm) {
    scheduler_.will_touch(this);
  }
  ~MovedGuest() override { scheduler_.will_touch(nullptr); }
  MovedGuest(const MovedGuest&) = delete;
  MovedGuest& operator=(const MovedGuest&) = delete;
  void fetch(int step) const override {
    if (step != 0) return;
    fetch_lines(guest_, guest_lines_);
    fetch_lines(vm_, 1 + sizeof *vm_ / cache_line);
    // The frames that it returns to, and those of what it calls then.
    ask_for_lines(reinterpret_cast<const std::byte*>(this) - 8 * cache_line, 20);
  }

 private:
  Scheduler& scheduler_;
  const void* guest_;
  std::size_t guest_lines_;
  const VmSpec* vm_;
};

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
  Bandwidth limit;                      // of the streams, and of the user while that holds
  std::optional<Flows::Stream> stream;  // once memory flows
  Bytes sent;                           // on the network
  VfioCosts device;                     // that moves too; all zero: none
  // Where cores are modelled:
  SimTask* sender = nullptr;  // whose part is under way
  bool cut = false;           // that part, because the cores changed
  std::optional<CorePool::User> sending = {};
  std::optional<CorePool::User> receiving = {};
};

SimHypervisor::SimHypervisor(Scheduler& scheduler, Flows& flows, const Instance& instance,
                             const Platform& platform, std::uint64_t seed)
    : scheduler_(scheduler),
      flows_(flows),
      instance_(instance),
      platform_(platform),
      faults_(instance),
      variation_(platform.hypervisor.variation, seed),
      control_free_(instance.hosts.size()),
      places_(instance.hosts.size()) {
  guests_.reserve(instance.vms.size());
  settling_.resize(instance.vms.size());
  ranks_of_paused_.resize(instance.vms.size());
  wait_sets_.resize(instance.vms.size());
  std::vector<bool> falls_back(instance.vms.size(), false);
  for (const MoveSpec& move : instance.moves) {
    if (move.transfer.device == DeviceStrategy::failover) falls_back[move.vm.index] = true;
  }
  for (const VmSpec& vm : instance.vms) {
    const GuestMemory memory = guest_memory(vm.memory, vm.zero);
    const Bytes working_set = std::min(vm.working_set, memory.total - memory.zero);
    const Bandwidth rate = vm.idle_dirty_rate + vm.dirty_rate;
    guests_.push_back({.host = vm.host,
                       .devices = {},
                       .running = true,
                       .paused_since = {},
                       .paused_before = {},
                       .moving = false,
                       .mover = nullptr,
                       .aborted = false,
                       .lost = false,
                       .dirty = DirtyMeter(working_set, rate, scheduler.now()),
                       .busy_rate = rate,
                       .idle_rate = vm.idle_dirty_rate,
                       .ranks_running = true,
                       .throttle = Ratio(0),
                       .has_standby = falls_back[guests_.size()],
                       .traffic_flows_at = TimePoint::start()});
    variation_.add(vm.name);
    const VmId id{static_cast<std::uint32_t>(guests_.size() - 1)};
    for (const DeviceKind kind : {DeviceKind::virtual_function, DeviceKind::ivshmem}) {
      if (!has_device(vm, kind)) continue;
      set_state(device(id, kind), DeviceState::attached);
      use_place(id, kind, true);
    }
  }
  for (const ClusterFaultSpec& fault : instance.cluster_faults) {
    if (fault.kind != ClusterFaultSpec::Kind::host_down || fault.until <= fault.from) continue;
    deaths_.push_back(
        std::make_unique<CallbackEvent>([this, host = fault.host] { lose_guests_of(host); }));
    scheduler.schedule(*deaths_.back(), fault.from);
  }
  make_pools();
}

SimHypervisor::~SimHypervisor() {
  // What is still under way tells others when it gives cores back.
  for (Guest& guest : guests_) {
    for (Device& each : guest.devices) each.operation.reset();
  }
  for (const auto& death : deaths_) {
    if (death->scheduled()) scheduler_.unschedule(*death);
  }
}

// --- Control operations ---

TimePoint SimHypervisor::control_begin(HostId host, Duration cost) {
  // Hosts that share their processors share what a control path needs of them.
  TimePoint& free = control_free_[platform_.processors.shared ? 0 : host.index];
  const TimePoint begin = std::max(free, scheduler_.now());
  free = begin + cost * platform_.hypervisor.serial.value();
  return begin;
}

TimePoint SimHypervisor::control_done(HostId host, Duration cost) {
  return faults_.answered(host, scheduler_.now(), control_begin(host, cost) + cost);
}

std::unique_ptr<ControlOperation> SimHypervisor::operate(HostId host, VmId vm, OperationNeed need,
                                                         Duration cost,
                                                         std::function<void()> moved) {
  return std::make_unique<ControlOperation>(scheduler_, pool_of(host), need,
                                            guests_[vm.index].operations, control_begin(host, cost),
                                            cost, std::move(moved));
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
                              const char* what, TimePoint deadline, Cancellable cancellable,
                              WaitList* list, std::optional<TimePoint> since) {
  const ClusterFaults::Wait wait =
      faults_.wait_for({hosts.begin(), hosts.size()}, since.value_or(scheduler_.now()), until,
                       platform_.hypervisor.keepalive);
  if (guests_[vm.index].lost && until == TimePoint::never() && !wait.silent) {
    return tl::unexpected(went_down(guests_[vm.index].host, vm, what));
  }
  const Wake wake = [&] {
    const MovedGuest memory(scheduler_, guests_[vm.index], instance_.vms[vm.index]);
    return scheduler_.block(what, std::min(wait.until, deadline), cancellable, list);
  }();
  if (wake == Wake::cancelled) {
    return tl::unexpected(interrupted(FailureKind::cancelled, vm, what));
  }
  if (wake == Wake::ready) return {};  // it will be done at another time
  if (wait.until > deadline) return tl::unexpected(interrupted(FailureKind::timed_out, vm, what));
  if (guests_[vm.index].lost) return tl::unexpected(went_down(guests_[vm.index].host, vm, what));
  if (wait.silent) return tl::unexpected(went_down(*wait.silent, vm, what));
  return {};
}

Result<> SimHypervisor::await(ControlOperation& operation, std::initializer_list<HostId> hosts,
                              bool answers, VmId vm, const char* what, TimePoint deadline,
                              Cancellable cancellable) {
  const TimePoint asked = scheduler_.now();
  const Guest& guest = guests_[vm.index];
  const auto done = [&] {
    return answers ? faults_.answered(*hosts.begin(), asked, operation.done()) : operation.done();
  };
  for (;;) {
    // With a guest that is lost it is heard from its host, later, that nothing comes any more.
    Result<> slept = sleep(hosts, guest.lost ? TimePoint::never() : done(), vm, what, deadline,
                           cancellable, guest.lost ? nullptr : &operation.waiting, asked);
    if (!slept) return slept;
    if (guest.moving && guest.aborted && guest.mover == &scheduler_.current()) {
      return tl::unexpected(interrupted(FailureKind::cancelled, vm, what));
    }
    if (!guest.lost && done() <= scheduler_.now()) return {};
  }
}

Wake SimHypervisor::occupy(std::span<const VmId> vms, Duration work, TimePoint deadline) {
  constexpr const char* what = "work of guests";
  constexpr auto of_guest = OperationKind::of_guest;
  if (!control_takes_cores()) {
    Duration longest;
    for (const VmId vm : vms) longest = std::max(longest, variation_.drawn(vm, of_guest, work));
    return scheduler_.block(what, std::min(scheduler_.now() + longest, deadline), Cancellable::yes);
  }
  const auto occupied = [&](std::uint32_t change) {
    for (const VmId vm : vms) {
      guests_[vm.index].occupied += change;
      use_cores(vm);
    }
  };
  const auto all_done = [&] {
    std::vector<std::unique_ptr<ControlOperation>> works;
    for (const VmId vm : vms) {
      works.push_back(std::make_unique<ControlOperation>(
          scheduler_, pool_of(host_of(vm)), guest_need(), guests_[vm.index].operations,
          scheduler_.now(), variation_.drawn(vm, of_guest, work), [] {}));
    }
    for (const auto& each : works) {
      while (each->done() > scheduler_.now()) {
        if (scheduler_.now() >= deadline) return Wake::timed_out;
        const Wake wake = scheduler_.block(what, std::min(each->done(), deadline), Cancellable::yes,
                                           &each->waiting);
        if (wake == Wake::cancelled) return wake;
      }
    }
    return Wake::timed_out;
  };
  occupied(1);
  const Wake wake = all_done();
  occupied(-1U);
  return wake;
}

Result<> SimHypervisor::control(HostId host, VmId vm, OperationKind kind, const char* what,
                                Duration median, TimePoint deadline) {
  const Duration cost = variation_.drawn(vm, kind, median);
  if (control_takes_cores()) {
    const OperationNeed need = kind == OperationKind::set_status ? status_need() : device_need();
    const auto operation = operate(host, vm, need, cost, [] {});
    return await(*operation, {host}, true, vm, what, deadline);
  }
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
  pause(vm);
  // Its ranks find that they have ended with it.
  const std::unique_ptr<WaitList>& ranks = ranks_of_paused_[vm.index];
  while (ranks && !ranks->empty()) scheduler_.wake(*ranks->first(), Wake::ready);
  for (WaitSet* const set : wait_sets_[vm.index]) set->notify();
  for (const DeviceKind kind : {DeviceKind::virtual_function, DeviceKind::ivshmem}) {
    if (settle(vm, kind) == DeviceState::absent) continue;
    set_state(device(vm, kind), DeviceState::absent);
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
    set_state(settled, DeviceState::absent);
    use_place(vm, kind, false);
    if (kind == DeviceKind::virtual_function) {
      guests_[vm.index].traffic_flows_at = settled.gone_at + platform_.hypervisor.failover.redirect;
    }
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
  return control(guests_[vm.index].host, vm, OperationKind::set_status, what,
                 platform_.hypervisor.set_status, deadline);
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
    set_state(leaving, DeviceState::leaving);
    begin_to_leave(vm, kind);
  }
  return await_detached(vm, kind, deadline);
}

void SimHypervisor::begin_to_leave(VmId vm, DeviceKind kind) {
  const HostId host = guests_[vm.index].host;
  const HypervisorCosts& costs = platform_.hypervisor;
  const Duration cost =
      kind == DeviceKind::virtual_function
          ? variation_.drawn(vm, OperationKind::detach_vf, costs.detach_vf)
          : variation_.drawn(vm, OperationKind::remove_ivshmem, costs.remove_ivshmem);
  Device& leaving = device(vm, kind);
  if (!control_takes_cores()) {
    leaving.gone_at = control_done(host, cost);
    return;
  }
  const auto know = [this, host, &leaving, asked = scheduler_.now()] {
    leaving.gone_at = faults_.answered(host, asked, leaving.operation->done());
  };
  leaving.operation = operate(host, vm, device_need(), cost, [this, vm, know] {
    know();
    note_settled(vm);
  });
  know();
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
  const Device& leaving = device(vm, kind);
  const HostId host = guests_[vm.index].host;
  const TimePoint asked = scheduler_.now();
  const Guest& guest = guests_[vm.index];
  for (;;) {
    const Result<> waited =
        sleep({host}, guest.lost ? TimePoint::never() : leaving.gone_at, vm, what, deadline,
              Cancellable::yes, leaving.operation ? &leaving.operation->waiting : nullptr, asked);
    if (!waited) return waited;
    if (!guest.lost && settle(vm, kind) != DeviceState::leaving) return {};
  }
}

Result<> SimHypervisor::attach(VmId vm, DeviceKind kind, TimePoint deadline) {
  if (Result<> there = not_lost(vm); !there) return there;
  if (settle(vm, kind) == DeviceState::attached) return {};
  if (Result<> allowed = check_attach(vm, kind); !allowed) return allowed;
  const HypervisorCosts& costs = platform_.hypervisor;
  const bool function = kind == DeviceKind::virtual_function;
  const Duration cost = function
                            ? costs.attach_vf.fixed +
                                  costs.attach_vf.per_gib * instance_.vms[vm.index].memory.to_gibi()
                            : costs.add_ivshmem;
  const char* const what = function ? "attach_vf" : "add_ivshmem";
  set_state(device(vm, kind), DeviceState::coming);
  use_place(vm, kind, true);
  Result<> done = control(guests_[vm.index].host, vm,
                          function ? OperationKind::attach_vf : OperationKind::add_ivshmem, what,
                          cost, deadline);
  if (guests_[vm.index].lost) return done;
  if (done) ++device(vm, kind).times_attached;
  set_state(device(vm, kind), done ? DeviceState::attached : DeviceState::absent);
  if (!done) use_place(vm, kind, false);
  if (done && kind == DeviceKind::virtual_function) {
    guests_[vm.index].traffic_flows_at = scheduler_.now() + platform_.hypervisor.failover.redirect;
  }
  note_settled(vm);
  return done;
}

Result<Ratio> SimHypervisor::await_traffic(VmId vm, TimePoint deadline) {
  const Guest& guest = guests_[vm.index];
  if (!guest.has_standby) {
    return failure(FailureKind::refused,
                   fmt::format("{} has no paravirtual NIC beside its virtual function", name(vm)));
  }
  const bool on_standby = settle(vm, DeviceKind::virtual_function) == DeviceState::absent;
  if (guest.traffic_flows_at > scheduler_.now()) {
    if (Result<> flows =
            sleep({guest.host}, guest.traffic_flows_at, vm, "the redirection of traffic", deadline);
        !flows) {
      return tl::unexpected(std::move(flows.error()));
    }
  }
  return on_standby ? platform_.hypervisor.failover.throughput : Ratio(1);
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
  return {.host = guest.host,
          .running = guest.running,
          .virtual_function = has_usable(vm, DeviceKind::virtual_function),
          .ivshmem = has_usable(vm, DeviceKind::ivshmem),
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
  guests_[vm.index].ranks_running = running;
  if (guests_[vm.index].running) resume(vm);
}

Duration SimHypervisor::paused_time(VmId vm) const {
  const Guest& guest = guests_[vm.index];
  return guest.running ? guest.paused_before
                       : guest.paused_before + (scheduler_.now() - guest.paused_since);
}

Wake SimHypervisor::await_running(VmId vm) {
  while (paused(vm)) {
    if (lost(vm)) return Wake::cancelled;
    std::unique_ptr<WaitList>& list = ranks_of_paused_[vm.index];
    if (!list) list = std::make_unique<WaitList>();
    const Wake wake = scheduler_.block("its guest, which is paused", TimePoint::never(),
                                       Cancellable::yes, list.get());
    if (wake == Wake::cancelled) return wake;
  }
  return Wake::ready;
}

void SimHypervisor::pause(VmId vm) {
  Guest& guest = guests_[vm.index];
  if (guest.running) guest.paused_since = scheduler_.now();
  guest.running = false;
  use_cores(vm);
  set_dirty_rate(guests_[vm.index]);
}

void SimHypervisor::resume(VmId vm) {
  Guest& guest = guests_[vm.index];
  if (guest.lost) return;
  guest.paused_before = paused_time(vm);
  guest.running = true;
  const std::unique_ptr<WaitList>& ranks = ranks_of_paused_[vm.index];
  while (ranks && !ranks->empty()) scheduler_.wake(*ranks->first(), Wake::ready);
  use_cores(vm);
  set_dirty_rate(guests_[vm.index]);
}

void SimHypervisor::throttle(VmId vm, Ratio share) {
  guests_[vm.index].throttle = share;
  if (guests_[vm.index].running) resume(vm);
}

void SimHypervisor::set_dirty_rate(Guest& guest) {
  if (!guest.running) {
    guest.dirty.set_rate(Bandwidth(), scheduler_.now());
    return;
  }
  Bandwidth rate = guest.ranks_running ? guest.busy_rate : guest.idle_rate;
  rate = rate * (1.0 - guest.throttle.value());
  if (guest.cores && guest.cores->cores() < guest.demand) {
    rate = rate * (guest.cores->cores() / guest.demand);
  }
  guest.dirty.set_rate(rate, scheduler_.now());
}

// --- Cores ---

void SimHypervisor::make_pools() {
  const auto costs = [](const StreamCosts& stream) {
    return stream.cpu.send > Duration::zero() || stream.cpu.receive > Duration::zero();
  };
  if (std::ranges::none_of(platform_.streams, costs)) return;
  const Processors& processors = platform_.processors;
  const std::size_t count = processors.shared ? 1 : instance_.hosts.size();
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t cores = processors.cores > 0 ? processors.cores : instance_.hosts[i].cores;
    pools_.push_back(std::make_unique<CorePool>(cores));
  }
  for (std::uint32_t i = 0; i < guests_.size(); ++i) resume(VmId{i});
}

/// A busy guest holds its part on its host; another holds none.
void SimHypervisor::use_cores(VmId vm) {
  if (!models_cores()) return;
  Guest& guest = guests_[vm.index];
  const VmSpec& spec = instance_.vms[vm.index];
  std::uint32_t busy = 0;
  for (const JobId job : spec.jobs) busy += instance_.jobs[job.index].ranks_per_vm;
  busy = guest.running && guest.ranks_running ? std::min(busy, spec.vcpus) : 0;
  guest.cores.reset();  // it may be on another host now
  busy = std::min(busy, spec.vcpus - std::min(guest.occupied, spec.vcpus));
  guest.demand = busy * (1.0 - guest.throttle.value());
  if (guest.demand <= 0) return;
  guest.cores = std::make_unique<CorePool::User>(
      pool_of(guest.host),
      [&guest, busy] {
        return CoreUse{static_cast<double>(busy), guest.demand};
      },
      [this, &guest] { set_dirty_rate(guest); });
}

double SimHypervisor::sending_work(const Transfer& transfer) const {
  const auto transport = static_cast<std::size_t>(transfer.options.transport);
  double work = platform_.streams[transport].cpu.send.to_seconds() /
                static_cast<double>(Bytes::gibi(1).count());
  if (transfer.options.compression == Compression::zstd) {
    work += 1 / (platform_.zstd.speed.to_bytes_per_second() * platform_.zstd.ratio.value());
  } else if (!transfer.compressor.most().is_unlimited()) {
    work += 1 / transfer.compressor.most().to_bytes_per_second();
  }
  return work;
}

double SimHypervisor::receiving_work(const Transfer& transfer) const {
  const auto transport = static_cast<std::size_t>(transfer.options.transport);
  return platform_.streams[transport].cpu.receive.to_seconds() /
         static_cast<double>(Bytes::gibi(1).count());
}

double SimHypervisor::cores_wanted(const Transfer& transfer, double work) const {
  const Path& path = transfer.path;
  const std::uint32_t sharing = std::max(
      {1U, flows_.flows_out(path.network, path.from), flows_.flows_in(path.network, path.to)});
  const Bandwidth rate = std::min(
      {transfer.limit, transfer.compressor.most(), flows_.link_bandwidth(path.network) / sharing});
  return work * rate.to_bytes_per_second();
}

CoreUse SimHypervisor::use_of(const Transfer& transfer, double work) const {
  const auto threads = static_cast<double>(transfer.options.streams);
  const double wanted = cores_wanted(transfer, work);
  return {.threads = threads, .demand = std::min(threads, wanted), .useful = wanted};
}

void SimHypervisor::use_cores(Transfer& transfer) {
  if (!models_cores()) return;
  if (transfer.sending) {  // compression may demand another part in this round
    CorePool& pool = pool_of(transfer.path.from);
    CorePool& other = pool_of(transfer.path.to);
    pool.share();
    if (&other != &pool) other.share();
    return;
  }
  const auto changed = [this, &transfer] { cores_changed(transfer); };
  transfer.sending.emplace(
      pool_of(transfer.path.from),
      [this, &transfer] { return use_of(transfer, sending_work(transfer)); }, changed);
  transfer.receiving.emplace(
      pool_of(transfer.path.to),
      [this, &transfer] { return use_of(transfer, receiving_work(transfer)); }, changed);
}

/// Of the streams, the user, compression and cores.
Bandwidth SimHypervisor::least_limit(const Transfer& transfer) const {
  Bandwidth limit = std::min(transfer.limit, transfer.compressor.most());
  const auto by_cores = [&](const std::optional<CorePool::User>& user, double work) {
    // What it could use by now, it has not asked for.
    if (!user || work <= 0 || !user->is_short()) return;
    limit = std::min(limit, Bandwidth::bytes_per_second(user->cores() / work));
  };
  by_cores(transfer.sending, sending_work(transfer));
  by_cores(transfer.receiving, receiving_work(transfer));
  return limit;
}

void SimHypervisor::cores_changed(Transfer& transfer) {
  if (transfer.sender == nullptr || !Scheduler::blocked(*transfer.sender)) return;
  if (least_limit(transfer) == transfer.path.limit) return;
  transfer.cut = true;
  scheduler_.wake(*transfer.sender, Wake::timed_out);
}

void SimHypervisor::close_stream(Transfer& transfer) {
  transfer.stream.reset();
  transfer.sending.reset();
  transfer.receiving.reset();
}

// --- Moves ---

/// The messages are libvirt's and QEMU's.
Result<> SimHypervisor::check_function(VmId vm, HostId destination,
                                       const TransferOptions& options) {
  const DeviceState state = settle(vm, DeviceKind::virtual_function);
  if (!moves_function(vm, options)) {
    if (state == DeviceState::absent) return {};
    return failure(
        FailureKind::refused,
        fmt::format("virtual_function of {} is attached: Requested operation is not valid: "
                    "domain has assigned non-USB host devices",
                    name(vm)));
  }
  const HostSpec& host = instance_.hosts[destination.index];
  std::string reason;
  if (state != DeviceState::attached) {
    reason = fmt::format("virtual_function of {} is not attached, and its state is to be moved",
                         name(vm));
  } else if (places_[destination.index].virtual_functions_used >= host.virtual_functions) {
    reason =
        fmt::format("all {} virtual functions of {} are in use", host.virtual_functions, host.name);
  } else if (options.mode == MemoryMode::postcopy || options.mode == MemoryMode::hybrid ||
             std::ranges::find(options.on_stall, OnStall::postcopy) != options.on_stall.end()) {
    reason = fmt::format("virtual_function of {}: VFIO migration is not supported with postcopy",
                         name(vm));
  } else {
    return {};
  }
  return failure(FailureKind::refused, std::move(reason));
}

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
  if (Result<> allowed = check_function(vm, destination, options); !allowed) return allowed;
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
  const Bytes first = first_pass(spec, options);
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
      .sent = Bytes(0),
      .device = moves_function(vm, options) ? platform_.hypervisor.vfio : VfioCosts()};

  guest.moving = true;
  guest.mover = &scheduler_.current();
  guest.aborted = false;
  Duration pinning;
  if (pinned) pinning = platform_.hypervisor.pin_per_gib * spec.memory.to_gibi();
  const HostId source = guest.host;
  if (moves_function(vm, options)) {
    places_[destination.index].virtual_functions_used += 1;
    pinning = pinning + platform_.hypervisor.attach_vf.per_gib * spec.memory.to_gibi();
  }
  Result<> ready = prepare(transfer, pinning);
  Result<TransferReport> moved =
      ready ? send_memory(transfer) : Result<TransferReport>(tl::unexpected(ready.error()));
  close_stream(transfer);
  if (moves_function(vm, options)) {
    const HostId left = guest.host == destination ? source : destination;
    places_[left.index].virtual_functions_used -= 1;
  }
  guest.moving = false;
  guest.mover = nullptr;
  guest.throttle = Ratio(0);
  if (!moved && moved.error().kind == FailureKind::lost && !guest.lost) lose(guest, vm);
  resume(vm);
  note_settled(vm);
  if (!moved && guest.aborted && !guest.lost) {
    return failure(FailureKind::failed,
                   fmt::format("the migration of {} was cancelled from elsewhere", name(vm)));
  }
  return moved;
}

Result<> SimHypervisor::prepare(const Transfer& transfer, Duration pinning) {
  const HostId source = transfer.path.from;
  const HostId destination = transfer.path.to;
  const Duration after = pinning + transfer.latency;
  const Duration cost =
      variation_.drawn(transfer.vm, OperationKind::prepare, platform_.hypervisor.prepare);
  if (!control_takes_cores()) {
    return sleep({source, destination}, control_done(destination, cost) + after, transfer.vm,
                 "migration", transfer.deadline);
  }
  const auto operation = operate(destination, transfer.vm, migration_need(), cost, [] {});
  Result<> done =
      await(*operation, {destination, source}, true, transfer.vm, "migration", transfer.deadline);
  if (!done || after == Duration::zero()) return done;
  return sleep({source, destination}, scheduler_.now() + after, transfer.vm, "migration",
               transfer.deadline);
}

Failure SimHypervisor::network_failed(FailureKind kind, const Transfer& transfer) const {
  return {kind, fmt::format("the network to {} failed during the migration of {}",
                            instance_.hosts[transfer.path.to.index].name, name(transfer.vm))};
}

void SimHypervisor::open_stream(Transfer& transfer) {
  if (!transfer.stream) transfer.stream.emplace(flows_, transfer.path);
  use_cores(transfer);
  const Bandwidth limit = least_limit(transfer);
  if (transfer.path.limit == limit) return;
  transfer.path.limit = limit;
  transfer.stream.reset();
  transfer.stream.emplace(flows_, transfer.path);
}

FlowEnd SimHypervisor::send_part(Transfer& transfer, Bytes bytes, TimePoint deadline,
                                 Cancellable cancellable) {
  if (models_cores()) open_stream(transfer);  // its guest may have been paused meanwhile
  Bytes before;
  for (;;) {
    transfer.sender = &scheduler_.current();
    FlowEnd end = transfer.stream->send(bytes - before, deadline, cancellable);
    transfer.sender = nullptr;
    before += end.bytes;
    end.bytes = before;
    if (!std::exchange(transfer.cut, false)) return end;
    open_stream(transfer);
    if (before < bytes) continue;
    return {FlowOutcome::done, bytes, transfer.path.limit};
  }
}

Result<> SimHypervisor::send(Transfer& transfer, Bytes bytes, Bandwidth* share) {
  if (transfer.guest.aborted) {
    return tl::unexpected(interrupted(FailureKind::cancelled, transfer.vm, "migration"));
  }
  return send_on_network(transfer, transfer.compressor.on_network(bytes), share);
}

Result<> SimHypervisor::send_on_network(Transfer& transfer, Bytes bytes, Bandwidth* share) {
  const TimePoint breaks = breaks_from_now(transfer);
  const FlowEnd end =
      send_part(transfer, bytes, std::min(transfer.deadline, breaks), Cancellable::yes);
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

void SimHypervisor::lift_limit(Transfer& transfer) {
  transfer.limit = stream_bandwidth(platform_, transfer.options);
  open_stream(transfer);
}

Result<TransferReport> SimHypervisor::send_memory(Transfer& transfer) {
  open_stream(transfer);
  switch (transfer.options.mode) {
    case MemoryMode::offline: pause(transfer.vm); return send_stopped(transfer);
    case MemoryMode::postcopy: return post_copy(transfer, transfer.first_pass, 1);
    case MemoryMode::precopy:
    case MemoryMode::hybrid: break;
  }
  return send_live(transfer);
}

Precopy SimHypervisor::first_round(const Transfer& transfer) const {
  const Bytes first = transfer.first_pass;
  const Path& path = transfer.path;
  const std::uint32_t sharing =
      std::max(flows_.flows_out(path.network, path.from), flows_.flows_in(path.network, path.to));
  const Bandwidth expected = std::min(path.limit, flows_.link_bandwidth(path.network) / sharing);
  return Precopy(first, std::max(first, transfer.memory.total - transfer.memory.zero),
                 transfer.options.downtime_limit, transfer.stalls.round_limit(), expected,
                 transfer.device.state);
}

Result<> SimHypervisor::send_round(Transfer& transfer, Precopy& precopy) {
  for (Bytes part = precopy.next_part(); part > Bytes(0); part = precopy.next_part()) {
    Bandwidth share;
    if (Result<> sent = send(transfer, part, &share); !sent) return sent;
    precopy.part_done(part, share);
  }
  return {};
}

/// Without a limit the last pass is as fast as what comes before: one of all memory.
Result<TransferReport> SimHypervisor::send_stopped(Transfer& transfer) {
  if (transfer.options.bandwidth_limit.is_unlimited()) {
    return switch_over(transfer, transfer.first_pass, 1);
  }
  const TimePoint began = scheduler_.now();
  Precopy precopy = first_round(transfer);
  if (Result<> sent = send_round(transfer, precopy); !sent) {
    return tl::unexpected(std::move(sent.error()));
  }
  transfer.observer.round_done(transfer.vm, {.round = 1,
                                             .bytes = transfer.sent,
                                             .time = scheduler_.now() - began,
                                             .dirty_bytes = Bytes(0)});
  lift_limit(transfer);
  return switch_over(transfer, precopy.pending(), 2);
}

Result<TransferReport> SimHypervisor::send_live(Transfer& transfer) {
  Precopy precopy = first_round(transfer);
  std::optional<AutoConverge> converge;
  if (transfer.options.auto_converge) converge.emplace(scheduler_.now());
  transfer.guest.dirty.take(scheduler_.now());  // dirty logging starts: all counts as dirty
  for (;;) {
    const TimePoint began = scheduler_.now();
    const Bytes sent_before = transfer.sent;
    open_stream(transfer);
    if (Result<> sent = send_round(transfer, precopy); !sent) {
      return tl::unexpected(std::move(sent.error()));
    }
    const Duration time = scheduler_.now() - began;
    const Bytes dirtied = transfer.guest.dirty.take(scheduler_.now());
    const Bytes sent = transfer.sent - sent_before;
    transfer.observer.round_done(
        transfer.vm,
        {.round = precopy.round(), .bytes = sent, .time = time, .dirty_bytes = dirtied});
    transfer.compressor.round_done(precopy.sent_in_round());
    if (converge && converge->synchronised(scheduler_.now(), dirtied, sent)) {
      throttle(transfer.vm, converge->throttle());
    }
    switch (precopy.round_done(dirtied)) {
      case Precopy::Then::next_round: continue;
      case Precopy::Then::stop_and_copy:
        lift_limit(transfer);
        pause(transfer.vm);
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
                        "sent and {} were dirtied{}{}{}",
                        name(transfer.vm), precopy.round(), speed(sent, time), speed(dirtied, time),
                        transfer.device.state == Bytes(0)
                            ? ""
                            : fmt::format(", and with the guest paused {} of device state are to "
                                          "be sent within {}",
                                          to_text(transfer.device.state),
                                          to_text(transfer.options.downtime_limit)),
                        transfer.stalls.note().empty() ? "" : "; it ", transfer.stalls.note()));
    }
  }
}

Result<TransferReport> SimHypervisor::switch_over(Transfer& transfer, Bytes rest, int round) {
  const TimePoint paused = transfer.guest.paused_since;
  const Bytes sent_before = transfer.sent;
  if (transfer.device.save > Duration::zero()) {
    Result<> saved = sleep({transfer.path.from}, scheduler_.now() + transfer.device.save,
                           transfer.vm, "migration", transfer.deadline);
    if (!saved) return tl::unexpected(std::move(saved.error()));
  }
  const TimePoint began = scheduler_.now();
  Result<> sent = send(transfer, rest, nullptr);
  if (sent) sent = send_on_network(transfer, transfer.device.state, nullptr);
  if (!sent) return tl::unexpected(std::move(sent.error()));
  transfer.observer.round_done(transfer.vm, {.round = round,
                                             .bytes = transfer.sent - sent_before,
                                             .time = scheduler_.now() - began,
                                             .dirty_bytes = Bytes(0)});
  close_stream(transfer);
  if (transfer.guest.aborted) {
    return tl::unexpected(interrupted(FailureKind::cancelled, transfer.vm, "migration"));
  }
  // The destination has all of it: there is no way back.
  transfer.guest.mover = nullptr;
  // The destination starts the guest when it is told to finish: if either host goes down before,
  // the source, if it is there, goes on with it (libvirt's protocol of version 3).
  const Result<> finished =
      end_on_both(transfer, transfer.latency + transfer.device.load, platform_.hypervisor.finish);
  if (!finished) return tl::unexpected(finished.error());
  arrive(transfer);
  transfer.guest.throttle = Ratio(0);
  resume(transfer.vm);
  const TransferReport report{.downtime = scheduler_.now() - paused,
                              .bytes = transfer.sent,
                              .rounds = round,
                              .note = transfer.stalls.note()};
  if (Result<> cleaned = clean_up(transfer); !cleaned) return tl::unexpected(cleaned.error());
  return report;
}

Result<> SimHypervisor::end_on_both(const Transfer& transfer, Duration before, Duration median) {
  const Duration cost = variation_.drawn(transfer.vm, OperationKind::finish, median);
  const HostId from = transfer.path.from;
  const HostId to = transfer.path.to;
  const TimePoint begin = scheduler_.now() + before;
  if (!control_takes_cores()) {
    return sleep({from, to}, begin + cost, transfer.vm, "migration", TimePoint::never(),
                 Cancellable::no);
  }
  ControlOperation operation(scheduler_, pool_of(to), migration_need(),
                             guests_[transfer.vm.index].operations, begin, cost, [] {});
  return await(operation, {to, from}, false, transfer.vm, "migration", TimePoint::never(),
               Cancellable::no);
}

void SimHypervisor::arrive(Transfer& transfer) {
  transfer.guest.host = transfer.path.to;
  ++changes_of_places_;
}

Result<TransferReport> SimHypervisor::post_copy(Transfer& transfer, Bytes rest, int round) {
  if (transfer.guest.aborted) {
    return tl::unexpected(interrupted(FailureKind::cancelled, transfer.vm, "migration"));
  }
  // From here on there is no way back.
  transfer.guest.mover = nullptr;
  const TimePoint paused = scheduler_.now();
  pause(transfer.vm);
  if (const Result<> switched =
          end_on_both(transfer, transfer.latency, platform_.hypervisor.postcopy_switch);
      !switched) {
    return failure(FailureKind::lost, switched.error().reason);
  }
  arrive(transfer);
  transfer.guest.throttle = Ratio(0);
  resume(transfer.vm);
  const TimePoint began = scheduler_.now();
  transfer.compressor.stop();
  open_stream(transfer);
  const FlowEnd end = send_part(transfer, rest, breaks_from_now(transfer), Cancellable::no);
  transfer.sent += end.bytes;
  if (end.outcome != FlowOutcome::done) {
    return tl::unexpected(network_failed(FailureKind::lost, transfer));
  }
  transfer.observer.round_done(
      transfer.vm,
      {.round = round, .bytes = rest, .time = scheduler_.now() - began, .dirty_bytes = Bytes(0)});
  close_stream(transfer);
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
  const Duration cost =
      variation_.drawn(transfer.vm, OperationKind::clean_up, platform_.hypervisor.clean_up);
  return sleep({transfer.path.to}, scheduler_.now() + cost, transfer.vm,
               "the clean-up after the migration", TimePoint::never(), Cancellable::no);
}

TimePoint SimHypervisor::breaks_from_now(const Transfer& transfer) const {
  const Path& path = transfer.path;
  return faults_.breaks({path.network.index, path.from, path.to}, scheduler_.now(),
                        platform_.hypervisor.keepalive);
}

}  // namespace ferry
