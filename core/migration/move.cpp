#include "core/migration/move.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/ports/task_group.hpp"

namespace ferry {

/// Passes rounds on to the records and the journal.
class Move::Observer : public TransferObserver {
 public:
  explicit Observer(MigrationContext& context) : context_(context) {}
  void round_done(VmId vm, const RoundReport& round) override {
    context_.recorder.round(vm, round);
    try {
      context_.note(records::round_ends(context_.instance.vms[vm.index].name, round));
    } catch (const JournalError&) {
      // Memory is on its way: the move ends with the next record, which cannot be written either.
    }
  }

 private:
  MigrationContext& context_;
};

Move::Move(MigrationContext& context, const WaveMove& move)
    : context_(context),
      spec_(context.instance.moves[move.move]),
      vm_(context.instance.vms[spec_.vm.index]),
      from_(move.from),
      to_(move.to) {
  end_.host = from_;
}

MoveEnd Move::run() {
  const DeviceResults gone = release_devices();
  if (!gone.virtual_function || !gone.ivshmem) {
    const Failure why =
        gone.virtual_function ? gone.ivshmem.error() : gone.virtual_function.error();
    const Uncancellable uncancellable(context_.world.executor);
    settle(why.kind == FailureKind::cancelled ? Outcome::cancelled : Outcome::rolled_back,
           why.reason);
    return end_;
  }

  Result<TransferReport> moved = transfer(to_);
  const Uncancellable uncancellable(context_.world.executor);
  if (!moved) {
    if (moved.error().kind == FailureKind::lost) {
      lose(moved.error().reason);
      return end_;
    }
    settle(moved.error().kind == FailureKind::cancelled ? Outcome::cancelled : Outcome::rolled_back,
           moved.error().reason);
    return end_;
  }
  end_.transfer = *moved;
  end_.host = to_;
  end_.reason = moved->note;
  restore_or_go_back();
  return end_;
}

void Move::restore_or_go_back() {
  const DeviceResults back = restore_devices(AfterFailure::ends);
  if (const Failure* const gone = loss_in(back)) {
    lose(gone->reason);
  } else if (!back.virtual_function || !back.ivshmem) {
    go_back(back.virtual_function ? back.ivshmem.error().reason
                                  : back.virtual_function.error().reason);
  }
}

const Failure* Move::loss_in(const DeviceResults& results) {
  for (const Result<>* const result : {&results.virtual_function, &results.ivshmem}) {
    if (!*result && result->error().kind == FailureKind::lost) return &result->error();
  }
  return nullptr;
}

/// It runs nowhere: nothing is left to be done for it.
void Move::lose(const std::string& reason) {
  end_.outcome = Outcome::lost;
  end_.host = context_.world.hypervisor.inspect(spec_.vm).host;
  if (end_.reason.empty()) {
    end_.reason = reason;
  } else if (end_.reason != reason) {
    end_.reason += "; " + reason;
  }
}

MoveEnd Move::recover(const MoveHistory& before) {
  const Uncancellable uncancellable(context_.world.executor);
  end_.transfer = before.transfer;
  end_.redirected = before.redirected;
  end_.lost_traffic = before.lost_traffic;
  if (spec_.transfer.device == DeviceStrategy::detach) {
    end_.vf_gone = before.vf_gone;
    end_.lost_traffic = before.transfer.downtime;
  }
  if (before.rest) {
    end_.host = before.rest->host;
    end_.outcome = before.rest->outcome;
    end_.reason = before.rest->reason;
    return end_;
  }
  if (const Result<> settled = await_settled(before);
      !settled && settled.error().kind != FailureKind::lost) {
    end_.unsettled = settled.error().reason;
    return end_;
  }
  finish_detaches(before);
  const VmInspection found = context_.world.hypervisor.inspect(spec_.vm);
  end_.host = found.host;
  if (found.running && found.host != from_ && found.host != to_) {
    end_.unsettled = fmt::format("it runs on {}, where nobody sent it (from {} to {})",
                                 name(found.host), name(from_), name(to_));
    return end_;
  }
  const Phase last = before.last_phase.value_or(Phase::set_pre_migration);
  const std::string reason =
      before.back.value_or(fmt::format("the controller went down during {}", to_name(last)));
  end_open_phases(before, found);
  if (!found.running) {
    end_.outcome = Outcome::lost;
    end_.reason = reason + "; it runs nowhere";
  } else if (found.host == to_) {
    end_.reason = before.transfer.note.empty() ? reason : before.transfer.note + "; " + reason;
    restore_or_go_back();
  } else {
    settle(Outcome::rolled_back, reason);
  }
  return end_;
}

/// A migration gets the time that its own controller would have given it.
Result<> Move::await_settled(const MoveHistory& before) {
  Hypervisor& hypervisor = context_.world.hypervisor;
  const auto& migration = before.open[static_cast<std::size_t>(Phase::migration)];
  if (migration) {
    const TimePoint deadline =
        std::max(migration->start + spec_.timeouts.migration, context_.world.clock.now());
    const Result<> settled = hypervisor.await_settled(spec_.vm, deadline);
    if (settled || settled.error().kind != FailureKind::timed_out) return settled;
    (void)hypervisor.cancel_migration(spec_.vm);  // refused: then it arrives
  }
  return hypervisor.await_settled(spec_.vm, TimePoint::never());
}

/// A device that was asked to go may go at any time, and no hypervisor can be asked whether it
/// will: it is asked to go again, for the event.
void Move::finish_detaches(const MoveHistory& before) {
  Hypervisor& hypervisor = context_.world.hypervisor;
  for (const DeviceKind kind : {DeviceKind::virtual_function, DeviceKind::ivshmem}) {
    const bool is_function = kind == DeviceKind::virtual_function;
    const Phase phase = is_function ? Phase::detach_vf : Phase::remove_ivshmem;
    if (!before.open[static_cast<std::size_t>(phase)]) continue;
    const VmInspection now = hypervisor.inspect(spec_.vm);
    if (!now.running || !(is_function ? now.virtual_function : now.ivshmem)) continue;
    const Duration patience = is_function ? spec_.timeouts.detach : spec_.timeouts.ivshmem;
    const Result<> gone = hypervisor.detach(spec_.vm, kind, context_.world.clock.now() + patience);
    if (!gone && gone.error().kind == FailureKind::timed_out) {
      (void)hypervisor.await_detached(spec_.vm, kind, TimePoint::never());
    }
  }
}

void Move::end_open_phases(const MoveHistory& before, const VmInspection& found) {
  const TimePoint now = context_.world.clock.now();
  for (const Phase phase : all_phases) {
    const auto& open = before.open[static_cast<std::size_t>(phase)];
    if (!open) continue;
    const bool happened = [&] {
      switch (phase) {
        case Phase::detach_vf: return !found.virtual_function;
        case Phase::remove_ivshmem: return !found.ivshmem;
        case Phase::migration: return found.host == open->to;
        case Phase::attach_vf: return found.virtual_function;
        case Phase::add_ivshmem: return found.ivshmem;
        default: return false;
      }
    }();
    if (phase == Phase::detach_vf && happened && spec_.transfer.device == DeviceStrategy::detach) {
      end_.vf_gone = now;
    }
    if (phase == Phase::migration && happened) {
      // Downtime and rounds were in an answer that nobody heard.
      end_.transfer = {.downtime = {}, .bytes = before.transfer.bytes + before.sent_in_rounds};
      context_.recorder.span({spec_.vm, phase, open->host, open->start, now, Outcome::completed});
      context_.note(
          records::migration_done(vm_.name, now, {.downtime = {}, .bytes = before.sent_in_rounds}));
      continue;
    }
    record(phase, open->host, open->start, now,
           happened ? records::PhaseEnd::done : records::PhaseEnd::failed);
  }
}

/// Puts back the devices that are missing where the VM is and ends the move with `otherwise`, or as
/// `degraded` if a device does not come back.
void Move::settle(Outcome otherwise, const std::string& reason) {
  end_.outcome = otherwise;
  end_.reason = reason;
  if (!end_.transfer.note.empty()) end_.reason += "; it " + end_.transfer.note;
  const DeviceResults back = restore_devices(AfterFailure::goes_on);
  if (const Failure* const gone = loss_in(back)) {
    lose(gone->reason);
    return;
  }
  for (const Result<>* result : {&back.virtual_function, &back.ivshmem}) {
    if (*result) continue;
    end_.outcome = Outcome::degraded;
    end_.reason +=
        fmt::format("; {} has not come back on {}: {}",
                    result == &back.virtual_function ? "the virtual function" : "IVShmem",
                    context_.instance.hosts[end_.host.index].name, result->error().reason);
  }
}

/// The destination cannot attach a device: back to the source, whose places are still held.
void Move::go_back(const std::string& reason) {
  context_.note(records::goes_back(vm_.name, name(from_), reason));
  const DeviceResults gone = release_devices();
  if (const Failure* const lost = loss_in(gone)) {
    end_.reason = reason;
    lose(lost->reason);
    return;
  }
  Result<TransferReport> returned = transfer(from_);
  if (!returned && returned.error().kind == FailureKind::lost) {
    end_.reason = reason;
    lose(returned.error().reason);
    return;
  }
  if (!returned) {
    settle(Outcome::degraded, reason + "; the way back failed: " + returned.error().reason);
    if (end_.outcome == Outcome::lost) return;
    // It stays on the destination. With its devices back after all, the move is complete.
    const VmInspection now = context_.world.hypervisor.inspect(spec_.vm);
    const bool whole =
        (now.virtual_function || !vm_.virtual_function) && (now.ivshmem || vm_.ivshmem == Bytes{});
    if (whole) end_.outcome = Outcome::completed;
    return;
  }
  end_.host = from_;
  end_.transfer.bytes += returned->bytes;
  end_.transfer.downtime += returned->downtime;
  end_.transfer.rounds += returned->rounds;
  settle(Outcome::rolled_back, reason);
}

Move::DeviceResults Move::both(AfterFailure then, const std::function<Result<>(DeviceKind)>& step) {
  DeviceResults results;
  const bool has_function = vm_.virtual_function && spec_.transfer.device != DeviceStrategy::vfio;
  const bool has_ivshmem = vm_.ivshmem != Bytes{};
  auto function_step = [&] { results.virtual_function = step(DeviceKind::virtual_function); };
  auto ivshmem_step = [&] { results.ivshmem = step(DeviceKind::ivshmem); };
  if (has_function && has_ivshmem && context_.world.hypervisor.devices_at_once()) {
    // Cancelling this task must reach the one beside it, which waits on its own: each of them ends
    // by its deadline, and the caller acts on the cancellation when both have ended.
    TaskGroup beside(context_.world.executor);
    beside.run_beside(vm_.name, {ivshmem_step}, function_step);
  } else {
    if (has_function) function_step();
    const Result<>& first = results.virtual_function;
    const bool goes_on = then == AfterFailure::goes_on && !loss_in(results);
    if (has_ivshmem && (first || goes_on)) ivshmem_step();
  }
  return results;
}

Move::DeviceResults Move::release_devices() {
  return both(AfterFailure::ends, [this](DeviceKind kind) { return detach(kind); });
}

Move::DeviceResults Move::restore_devices(AfterFailure then) {
  return both(then, [this](DeviceKind kind) { return attach(kind); });
}

Result<> Move::detach(DeviceKind kind) {
  const VmInspection now = context_.world.hypervisor.inspect(spec_.vm);
  const bool is_function = kind == DeviceKind::virtual_function;
  if (!(is_function ? now.virtual_function : now.ivshmem)) return {};
  const Phase phase = is_function ? Phase::detach_vf : Phase::remove_ivshmem;
  const TimePoint start = context_.world.clock.now();
  context_.intend(records::device_begins(phase, vm_.name, name(now.host), start));
  const Duration patience = is_function ? spec_.timeouts.detach : spec_.timeouts.ivshmem;
  Result<> gone = context_.world.hypervisor.detach(spec_.vm, kind, start + patience);
  if (!gone && (gone.error().kind == FailureKind::timed_out ||
                gone.error().kind == FailureKind::cancelled)) {
    // An unplug cannot be withdrawn: it completes later, and only then can the device come back.
    const Uncancellable uncancellable(context_.world.executor);
    const Result<> later =
        context_.world.hypervisor.await_detached(spec_.vm, kind, TimePoint::never());
    if (!later && later.error().kind == FailureKind::lost) gone = later;
  }
  const bool is_gone = [&] {
    if (!gone && gone.error().kind == FailureKind::lost) return false;
    const VmInspection then = context_.world.hypervisor.inspect(spec_.vm);
    return !(is_function ? then.virtual_function : then.ivshmem);
  }();
  const bool falls_back = spec_.transfer.device == DeviceStrategy::failover;
  if (is_function && is_gone && falls_back) {
    const Result<> flows = await_traffic(spec_.timeouts.detach);
    if (gone && !flows) gone = flows;
  }
  const TimePoint end = context_.world.clock.now();
  if (is_function && is_gone && !falls_back) end_.vf_gone = end;
  record(phase, now.host, start, end,
         gone      ? records::PhaseEnd::done
         : is_gone ? records::PhaseEnd::late
                   : records::PhaseEnd::failed);
  return gone;
}

void Move::note_traffic() {
  if (spec_.transfer.device == DeviceStrategy::detach) return;
  context_.note(records::traffic_lost(vm_.name, end_.redirected, end_.lost_traffic));
}

Result<> Move::await_traffic(Duration patience) {
  const TimePoint start = context_.world.clock.now();
  end_.lost_traffic += (start - flows_since_) * (1 - throughput_.value());
  const Result<Ratio> flows = context_.world.hypervisor.await_traffic(spec_.vm, start + patience);
  const TimePoint end = context_.world.clock.now();
  end_.redirected += end - start;
  end_.lost_traffic += end - start;
  flows_since_ = end;
  throughput_ = flows ? *flows : Ratio(1);
  note_traffic();
  if (!flows) return tl::unexpected(flows.error());
  return {};
}

Result<> Move::attach(DeviceKind kind) {
  Result<> attached = attach_once(kind);
  if (attached || attached.error().kind == FailureKind::lost) return attached;
  if (attached.error().kind == FailureKind::timed_out) {
    // It may still appear: take it away before anything else is tried.
    (void)context_.world.hypervisor.detach(spec_.vm, kind,
                                           context_.world.clock.now() + spec_.timeouts.detach);
  }
  if (kind == DeviceKind::virtual_function) {
    const HostId host = context_.world.hypervisor.inspect(spec_.vm).host;
    Lock lock(context_.mutex);
    if (!context_.inventory.replace_virtual_function(spec_.vm, host)) {
      return failure(attached.error().kind, fmt::format("{}; {} has no other free virtual function",
                                                        attached.error().reason, name(host)));
    }
    context_.journal.append(records::function_replaced(vm_.name, name(host)));
  }
  return attach_once(kind);
}

Result<> Move::attach_once(DeviceKind kind) {
  const VmInspection now = context_.world.hypervisor.inspect(spec_.vm);
  const bool is_function = kind == DeviceKind::virtual_function;
  if (is_function ? now.virtual_function : now.ivshmem) return {};
  const Phase phase = is_function ? Phase::attach_vf : Phase::add_ivshmem;
  const TimePoint start = context_.world.clock.now();
  context_.intend(records::device_begins(phase, vm_.name, name(now.host), start));
  const Duration patience = is_function ? spec_.timeouts.attach : spec_.timeouts.ivshmem;
  Result<> attached = context_.world.hypervisor.attach(spec_.vm, kind, start + patience);
  if (attached && is_function && spec_.transfer.device == DeviceStrategy::failover) {
    attached = await_traffic(patience);
  }
  record(phase, now.host, start, context_.world.clock.now(),
         attached ? records::PhaseEnd::done : records::PhaseEnd::failed);
  return attached;
}

Result<TransferReport> Move::transfer(HostId destination) {
  const HostId source = end_.host;
  const TimePoint start = context_.world.clock.now();
  context_.intend(records::migration_begins(vm_.name, name(source), name(destination), start));
  Observer observer(context_);
  Result<TransferReport> moved = context_.world.hypervisor.migrate(
      spec_.vm, destination, spec_.transfer, observer, start + spec_.timeouts.migration);
  const TimePoint end = context_.world.clock.now();
  if (!moved) {
    record(Phase::migration, source, start, end, records::PhaseEnd::failed);
    return moved;
  }
  context_.recorder.span({spec_.vm, Phase::migration, source, start, end, Outcome::completed});
  context_.note(records::migration_done(vm_.name, end, *moved));
  if (context_.memory_moved) context_.memory_moved(spec_.vm);
  end_.lost_traffic += moved->downtime * throughput_.value();  // of what flowed until the pause
  note_traffic();
  return moved;
}

void Move::record(Phase phase, HostId host, TimePoint start, TimePoint end, records::PhaseEnd how) {
  const bool completed = how == records::PhaseEnd::done;
  context_.recorder.span({.vm = spec_.vm,
                          .phase = phase,
                          .host = host,
                          .start = start,
                          .end = end,
                          .outcome = completed ? Outcome::completed : Outcome::failed});
  context_.note(records::phase_ends(how, phase, vm_.name, end));
}

}  // namespace ferry
