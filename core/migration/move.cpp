#include "core/migration/move.hpp"

#include <fmt/format.h>

#include "core/ports/task_group.hpp"

namespace ferry {

/// Passes rounds on to the records.
class Move::Observer : public TransferObserver {
 public:
  explicit Observer(Recorder& recorder) : recorder_(recorder) {}
  void round_done(VmId vm, const RoundReport& round) override { recorder_.round(vm, round); }

 private:
  Recorder& recorder_;
};

Move::Move(MigrationContext& context, std::size_t move, HostId from, HostId to)
    : context_(context),
      spec_(context.instance.moves[move]),
      vm_(context.instance.vms[spec_.vm.index]),
      from_(from),
      to_(to) {
  end_.host = from;
}

MoveEnd Move::run() {
  const DeviceResults gone = release_devices();
  if (!gone.virtual_function || !gone.ivshmem) {
    const Failure& why = gone.virtual_function ? gone.ivshmem.error() : gone.virtual_function.error();
    const Uncancellable uncancellable(context_.world.executor);
    settle(why.kind == FailureKind::cancelled ? Outcome::cancelled : Outcome::rolled_back,
           why.reason);
    return end_;
  }

  Result<TransferReport> moved = transfer(to_);
  const Uncancellable uncancellable(context_.world.executor);
  if (!moved) {
    if (moved.error().kind == FailureKind::lost) {
      end_.outcome = Outcome::lost;
      end_.reason = moved.error().reason;
      return end_;
    }
    settle(moved.error().kind == FailureKind::cancelled ? Outcome::cancelled : Outcome::rolled_back,
           moved.error().reason);
    return end_;
  }
  end_.transfer = *moved;
  end_.host = to_;
  end_.reason = moved->note;

  const DeviceResults back = restore_devices();
  if (!back.virtual_function || !back.ivshmem) {
    go_back(back.virtual_function ? back.ivshmem.error().reason
                                  : back.virtual_function.error().reason);
  }
  return end_;
}

/// Puts back the devices that are missing where the VM is and ends the move with `otherwise`, or as
/// `degraded` if a device does not come back.
void Move::settle(Outcome otherwise, const std::string& reason) {
  end_.outcome = otherwise;
  end_.reason = reason;
  const DeviceResults back = restore_devices();
  for (const Result<>* result : {&back.virtual_function, &back.ivshmem}) {
    if (*result) continue;
    end_.outcome = Outcome::degraded;
    end_.reason += fmt::format("; {} has not come back on {}: {}",
                               result == &back.virtual_function ? "the virtual function" : "IVShmem",
                               context_.instance.hosts[end_.host.index].name,
                               result->error().reason);
  }
}

/// The destination cannot attach a device: back to the source, whose places are still held.
void Move::go_back(const std::string& reason) {
  context_.note(fmt::format("back {} {}", vm_.name, context_.instance.hosts[from_.index].name));
  release_devices();
  Result<TransferReport> returned = transfer(from_);
  if (!returned) {
    settle(Outcome::degraded, reason + "; the way back failed: " + returned.error().reason);
    // It stays on the destination. With its devices back after all, the move is complete.
    const VmInspection now = context_.world.hypervisor.inspect(spec_.vm);
    const bool whole = (now.virtual_function || !vm_.virtual_function) &&
                       (now.ivshmem || vm_.ivshmem == Bytes{});
    if (whole) end_.outcome = Outcome::completed;
    return;
  }
  end_.host = from_;
  end_.transfer.bytes += returned->bytes;
  end_.transfer.downtime += returned->downtime;
  end_.transfer.rounds += returned->rounds;
  settle(Outcome::rolled_back, reason);
}

Move::DeviceResults Move::both(const std::function<Result<>(DeviceKind)>& step) {
  DeviceResults results;
  const bool has_function = vm_.virtual_function;
  const bool has_ivshmem = vm_.ivshmem != Bytes{};
  auto function_step = [&] { results.virtual_function = step(DeviceKind::virtual_function); };
  auto ivshmem_step = [&] { results.ivshmem = step(DeviceKind::ivshmem); };
  if (has_function && has_ivshmem && context_.world.hypervisor.devices_at_once()) {
    // Cancelling this task must reach the one beside it, which waits on its own: each of them ends by
    // its deadline, and the caller acts on the cancellation when both have ended.
    TaskGroup beside(context_.world.executor);
    beside.run_beside(vm_.name, {ivshmem_step}, function_step);
  } else {
    if (has_function) function_step();
    if (has_ivshmem && results.virtual_function) ivshmem_step();
  }
  return results;
}

Move::DeviceResults Move::release_devices() {
  return both([this](DeviceKind kind) { return detach(kind); });
}

Move::DeviceResults Move::restore_devices() {
  return both([this](DeviceKind kind) { return attach(kind); });
}

Result<> Move::detach(DeviceKind kind) {
  const VmInspection now = context_.world.hypervisor.inspect(spec_.vm);
  const bool is_function = kind == DeviceKind::virtual_function;
  if (!(is_function ? now.virtual_function : now.ivshmem)) return {};
  const Phase phase = is_function ? Phase::detach_vf : Phase::remove_ivshmem;
  context_.intend(fmt::format("{} {} {}", to_name(phase), vm_.name,
                              context_.instance.hosts[now.host.index].name));
  const TimePoint start = context_.world.clock.now();
  const Duration patience = is_function ? spec_.timeouts.detach : spec_.timeouts.ivshmem;
  Result<> gone = context_.world.hypervisor.detach(spec_.vm, kind, start + patience);
  if (!gone && (gone.error().kind == FailureKind::timed_out ||
                gone.error().kind == FailureKind::cancelled)) {
    // An unplug cannot be withdrawn: it completes later, and only then can the device come back.
    const Uncancellable uncancellable(context_.world.executor);
    (void)context_.world.hypervisor.await_detached(spec_.vm, kind, TimePoint::never());
  }
  const bool is_gone = [&] {
    const VmInspection then = context_.world.hypervisor.inspect(spec_.vm);
    return !(is_function ? then.virtual_function : then.ivshmem);
  }();
  if (is_function && is_gone) end_.vf_gone = context_.world.clock.now();
  record(phase, start, gone.has_value());
  return gone;
}

Result<> Move::attach(DeviceKind kind) {
  Result<> attached = attach_once(kind);
  if (attached) return attached;
  if (attached.error().kind == FailureKind::timed_out) {
    // It may still appear: take it away before anything else is tried.
    (void)context_.world.hypervisor.detach(spec_.vm, kind,
                                           context_.world.clock.now() + spec_.timeouts.detach);
  }
  if (kind == DeviceKind::virtual_function) {
    const HostId host = context_.world.hypervisor.inspect(spec_.vm).host;
    Lock lock(context_.mutex);
    if (!context_.inventory.replace_virtual_function(spec_.vm, host)) {
      return failure(attached.error().kind,
                     fmt::format("{}; {} has no other free virtual function",
                                 attached.error().reason, context_.instance.hosts[host.index].name));
    }
  }
  return attach_once(kind);
}

Result<> Move::attach_once(DeviceKind kind) {
  const VmInspection now = context_.world.hypervisor.inspect(spec_.vm);
  const bool is_function = kind == DeviceKind::virtual_function;
  if (is_function ? now.virtual_function : now.ivshmem) return {};
  const Phase phase = is_function ? Phase::attach_vf : Phase::add_ivshmem;
  context_.intend(fmt::format("{} {} {}", to_name(phase), vm_.name,
                              context_.instance.hosts[now.host.index].name));
  const TimePoint start = context_.world.clock.now();
  const Duration patience = is_function ? spec_.timeouts.attach : spec_.timeouts.ivshmem;
  Result<> attached = context_.world.hypervisor.attach(spec_.vm, kind, start + patience);
  record(phase, start, attached.has_value());
  return attached;
}

Result<TransferReport> Move::transfer(HostId destination) {
  context_.intend(fmt::format("migration {} {} {}", vm_.name,
                              context_.instance.hosts[end_.host.index].name,
                              context_.instance.hosts[destination.index].name));
  Observer observer(context_.recorder);
  const TimePoint start = context_.world.clock.now();
  Result<TransferReport> moved =
      context_.world.hypervisor.migrate(spec_.vm, destination, spec_.transfer, observer,
                                        start + spec_.timeouts.migration);
  record(Phase::migration, start, moved.has_value());
  return moved;
}

void Move::record(Phase phase, TimePoint start, bool completed) {
  const HostId host = phase == Phase::migration
                          ? end_.host
                          : context_.world.hypervisor.inspect(spec_.vm).host;
  context_.recorder.span({.vm = spec_.vm,
                          .phase = phase,
                          .host = host,
                          .start = start,
                          .end = context_.world.clock.now(),
                          .outcome = completed ? Outcome::completed : Outcome::failed});
  context_.note(fmt::format("{} {} {}", completed ? "done" : "failed", to_name(phase), vm_.name));
}

}  // namespace ferry
