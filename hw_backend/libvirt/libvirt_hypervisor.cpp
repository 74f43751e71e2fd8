#include "hw_backend/libvirt/libvirt_hypervisor.hpp"

#include <algorithm>
#include <utility>

#include "core/units/check.hpp"
#include "hw_backend/libvirt/domain_xml.hpp"
#include "hw_backend/libvirt/live_migration.hpp"
#include "hw_backend/libvirt/refusals.hpp"

namespace ferry {
namespace {

/// The events are what counts; libvirt is asked this often all the same, in case one was missed
/// while a connection was down.
constexpr Duration look_again = Duration::milliseconds(2'000);
/// QEMU's guest agent has no event for a new interface: it is asked this often.
constexpr Duration ask_guest_again = Duration::milliseconds(100);

/// After the removal of an IVShmem device QEMU frees its memory in its RCU thread, which first lets
/// others gather for up to 50 ms (QEMU 7.2, util/rcu.c, call_rcu_thread). A device of the same name
/// that is plugged in before that aborts QEMU ("RAMBlock already registered": seen in the lab), and
/// the guest is lost. Nothing tells of it; this is 20 times as long.
constexpr Duration memory_is_freed = Duration::milliseconds(1'000);

using Port = WaitingTime::Scope;
constexpr WaitingTime::Kind port = WaitingTime::Kind::port;

}  // namespace

LibvirtHypervisor::LibvirtHypervisor(ClusterLink& link, const Instance& instance, std::string run)
    : link_(link),
      run_(std::move(run)),
      whereabouts_(std::make_unique<Whereabouts>(link, instance)),
      mutex_(link.executor().make_mutex()),
      vms_(instance.vms.size()) {
  for (Vm& vm : vms_) vm.marked = link.executor().make_condition();
}

LibvirtHypervisor::~LibvirtHypervisor() = default;

std::string LibvirtHypervisor::label(VmId vm, DeviceKind kind) const {
  return std::string(to_name(kind)) + " of " + link_.name(vm);
}

Result<VmPlace> LibvirtHypervisor::find(VmId vm, TimePoint deadline) const {
  Result<VmPlace> place = whereabouts_->search(vm, deadline);
  if (place) learn(vm, *place);
  return place;
}

void LibvirtHypervisor::learn(VmId vm, const VmPlace& place) const {
  const Lock lock(*mutex_);
  Vm& known = at(vm);
  if (known.mark || !place.state.mark) return;  // else it is of an earlier controller
  known.mark = place.state.mark;
  for (const TakenDevice& taken : known.mark->taken) {
    Device& target = device(vm, taken.kind);
    if (target.unplugged.empty()) target.unplugged = taken.xml;
    if (known.mark->may_still_unplug(taken.kind, link_.name(place.host)) &&
        find_device(place.state.xml, link_.alias(vm, taken.kind))) {
      target.unplugging = true;
      target.inferred = true;
    }
  }
}

Result<> LibvirtHypervisor::mark(VmId vm, HostId host, TimePoint deadline,
                                 const std::function<void(std::optional<DomainMark>&)>& change) {
  std::optional<DomainMark> wanted;
  {
    const Lock lock(*mutex_);
    Vm& marked = at(vm);
    while (marked.marking) {
      const Wake wake = marked.marked->wait_until(*mutex_, deadline);
      if (wake != Wake::ready) {
        return tl::unexpected(ended_early(wake, "metadata of " + link_.name(vm)));
      }
    }
    marked.marking = true;
    change(marked.mark);
    wanted = marked.mark;
  }
  Result<> written =
      link_.ask<void>(vm, host, "metadata of " + link_.name(vm), deadline,
                      [domain = link_.domain(vm), wanted](HostConnections& connections) {
                        return write_mark(connections, domain, wanted);
                      });
  const Lock lock(*mutex_);
  at(vm).marking = false;
  at(vm).marked->notify_all();
  return written;
}

Result<> LibvirtHypervisor::set_status(VmId vm, Phase phase, TimePoint deadline) {
  const Port scope(link_.times(), vm, port);
  check(phase == Phase::set_pre_migration || phase == Phase::set_post_migration,
        "a VM's status is set before and after its migration only");
  const Result<VmPlace> place = find(vm, deadline);
  if (!place) return tl::unexpected(place.error());
  return mark(vm, place->host, deadline, [&](std::optional<DomainMark>& mark) {
    if (!mark) mark.emplace();
    std::erase_if(mark->taken, [&](const TakenDevice& taken) {
      return find_device(place->state.xml, link_.alias(vm, taken.kind)).has_value();
    });
    // A VM that has all its devices again needs no mark; one that lacks some keeps it, so that they
    // can be given back later.
    if (phase == Phase::set_post_migration && mark->taken.empty()) {
      mark.reset();
      return;
    }
    mark->run = run_;
    mark->phase = phase;
    if (phase == Phase::set_pre_migration) {
      mark->source = link_.name(place->host);
      mark->destination.clear();
    }
  });
}

Result<> LibvirtHypervisor::detach(VmId vm, DeviceKind kind, TimePoint deadline) {
  const Port scope(link_.times(), vm, port);
  const std::string alias = link_.alias(vm, kind);
  if (alias.empty()) return {};
  if (Result<> free = await_plug(vm, kind, deadline); !free) return free;
  const Result<VmPlace> place = find(vm, deadline);
  if (!place) return tl::unexpected(place.error());
  const std::optional<std::string> xml = find_device(place->state.xml, alias);
  if (!xml) {
    const Lock lock(*mutex_);
    device(vm, kind).unplugging = false;
    return {};
  }
  {
    const Lock lock(*mutex_);
    if (at(vm).moving || place->state.sends) {
      return failure(FailureKind::refused,
                     link_.name(vm) + " is migrating; its devices stay as they are");
    }
    if (device(vm, kind).plugging) {
      return failure(FailureKind::refused, label(vm, kind) + " is being attached");
    }
    device(vm, kind).unplugged = *xml;
    device(vm, kind).gone.reset();
  }
  Result<> marked = mark(vm, place->host, deadline, [&](std::optional<DomainMark>& mark) {
    if (!mark) mark = DomainMark{run_, Phase::detach_vf, link_.name(place->host), {}, {}};
    mark->phase = kind == DeviceKind::ivshmem ? Phase::remove_ivshmem : Phase::detach_vf;
    mark->take(kind, *xml, link_.name(place->host));
  });
  if (!marked) return marked;

  const std::shared_ptr<DomainInbox> inbox = link_.subscribe(vm);
  {
    const Lock lock(*mutex_);
    device(vm, kind).unplugging = true;
  }
  const Result<Unplug> asked =
      link_.ask<Unplug>(vm, place->host, "detach of " + label(vm, kind), deadline,
                        [domain = link_.domain(vm), alias](HostConnections& host) {
                          return ask_unplug(host, domain, alias);
                        });
  if (!asked && asked.error().kind != FailureKind::timed_out &&
      asked.error().kind != FailureKind::cancelled) {
    const Lock lock(*mutex_);
    device(vm, kind).unplugging = false;
    return tl::unexpected(asked.error());
  }
  if (!asked) return tl::unexpected(asked.error());  // it may still be heard
  if (*asked == Unplug::not_there) {
    const Lock lock(*mutex_);
    device(vm, kind).unplugging = false;
    return {};
  }
  return await_gone(vm, kind, *inbox, deadline);
}

Result<Ratio> LibvirtHypervisor::await_traffic(VmId /*vm*/, TimePoint /*deadline*/) {
  return failure(FailureKind::refused, *refused_strategy(DeviceStrategy::failover));
}

Result<> LibvirtHypervisor::await_detached(VmId vm, DeviceKind kind, TimePoint deadline) {
  const Port scope(link_.times(), vm, port);
  const std::string alias = link_.alias(vm, kind);
  if (alias.empty()) return {};
  const std::shared_ptr<DomainInbox> inbox = link_.subscribe(vm);
  const Result<VmPlace> place = find(vm, deadline);
  if (!place) return tl::unexpected(place.error());
  {
    const Lock lock(*mutex_);
    if (!find_device(place->state.xml, alias)) {
      device(vm, kind).unplugging = false;
      return {};
    }
    if (!device(vm, kind).unplugging) {
      return failure(FailureKind::refused, "no detach of " + label(vm, kind) + " is under way");
    }
  }
  return await_gone(vm, kind, *inbox, deadline);
}

Result<> LibvirtHypervisor::await_gone(VmId vm, DeviceKind kind, DomainInbox& inbox,
                                       TimePoint deadline) {
  const std::string& alias = link_.alias(vm, kind);
  const auto over = [&] {
    const Lock lock(*mutex_);
    device(vm, kind).unplugging = false;
    device(vm, kind).gone = link_.clock().now();
  };
  for (;;) {
    DomainEvent event;
    const TimePoint next = std::min(deadline, link_.clock().now() + look_again);
    const Wake wake = link_.next_event(vm, inbox, next, event);
    if (wake == Wake::cancelled) {
      return tl::unexpected(ended_early(wake, "detach of " + label(vm, kind)));
    }
    if (wake == Wake::ready) {
      const bool this_device = event.alias == alias;
      if (event.kind == DomainEvent::Kind::device_removed && this_device) {
        over();
        return {};
      }
      if (event.kind == DomainEvent::Kind::device_removal_failed && this_device) {
        over();
        return failure(FailureKind::failed, "the guest of " + link_.name(vm) +
                                                " refused to release its " +
                                                std::string(to_name(kind)) + " (" + alias + ")");
      }
      if (event.kind != DomainEvent::Kind::connection_lost &&
          event.kind != DomainEvent::Kind::state_changed) {
        continue;
      }
    }
    // Nothing was heard, or something may have been missed.
    const Result<VmPlace> place =
        find(vm, std::max(deadline, link_.clock().now() + answer_patience));
    if (place && !find_device(place->state.xml, alias)) {
      over();
      return {};
    }
    if (!place && place.error().kind == FailureKind::cancelled) {
      return tl::unexpected(place.error());
    }
    // Before `lost`: the deadline may have cut the search short.
    if (link_.clock().now() >= deadline) {
      return tl::unexpected(ended_early(
          Wake::timed_out,
          "detach of " + label(vm, kind) + (place ? "" : " (" + place.error().reason + ")")));
    }
    if (!place && place.error().kind == FailureKind::lost) return tl::unexpected(place.error());
  }
}

/// Waits for the end of an attach that its caller has left.
Result<> LibvirtHypervisor::await_plug(VmId vm, DeviceKind kind, TimePoint deadline) {
  const std::shared_ptr<DomainInbox> inbox = link_.subscribe(vm);
  for (;;) {
    {
      const Lock lock(*mutex_);
      std::shared_ptr<std::atomic<bool>>& left = device(vm, kind).left_plug;
      if (!left || !*left) {
        left.reset();
        return {};
      }
    }
    DomainEvent event;
    const Wake wake = link_.next_event(
        vm, *inbox, std::min(deadline, link_.clock().now() + ask_guest_again), event);
    if (wake == Wake::cancelled || link_.clock().now() >= deadline) {
      return tl::unexpected(ended_early(wake == Wake::ready ? Wake::timed_out : wake,
                                        "an earlier attach of " + label(vm, kind)));
    }
  }
}

Result<> LibvirtHypervisor::attach(VmId vm, DeviceKind kind, TimePoint deadline) {
  const Port scope(link_.times(), vm, port);
  const std::string alias = link_.alias(vm, kind);
  if (alias.empty()) {
    return failure(FailureKind::refused, "the cluster file names no " + std::string(to_name(kind)) +
                                             " for " + link_.name(vm));
  }
  if (Result<> free = await_plug(vm, kind, deadline); !free) return free;
  const Result<VmPlace> place = find(vm, deadline);
  if (!place) return tl::unexpected(place.error());
  {
    const Lock lock(*mutex_);
    Device& target = device(vm, kind);
    if (at(vm).moving || place->state.sends) {
      return failure(FailureKind::refused,
                     link_.name(vm) + " is migrating; attach when it has arrived");
    }
    if (target.plugging) {
      return failure(FailureKind::refused, label(vm, kind) + " is being attached already");
    }
    if (find_device(place->state.xml, alias)) {
      if (!target.unplugging) return {};
      return failure(FailureKind::refused,
                     "the detach of " + label(vm, kind) + " has not completed yet");
    }
    target.unplugging = false;
    target.plugging = true;
  }
  Result<> done = note_gone(vm, kind, place->host, deadline);
  if (done) done = await_memory_freed(vm, kind, place->host, deadline);
  if (done) done = plug_in(vm, kind, *place, deadline);
  {
    const Lock lock(*mutex_);
    device(vm, kind).plugging = false;
  }
  if (!done) return done;
  // Best effort: that the device is there again shows in the domain as well.
  (void)mark(vm, place->host, deadline, [&](std::optional<DomainMark>& mark) {
    if (mark) mark->give_back(kind);
  });
  return {};
}

/// On the host where a device was taken away: else a controller that finds it there could not tell
/// whether it has come back or has yet to go.
Result<> LibvirtHypervisor::note_gone(VmId vm, DeviceKind kind, HostId host, TimePoint deadline) {
  {
    const Lock lock(*mutex_);
    const std::optional<DomainMark>& known = at(vm).mark;
    if (!known || !known->may_still_unplug(kind, link_.name(host))) return {};
  }
  return mark(vm, host, deadline, [&](std::optional<DomainMark>& mark) {
    for (TakenDevice& taken : mark->taken) taken.gone = taken.gone || taken.kind == kind;
  });
}

Result<> LibvirtHypervisor::await_memory_freed(VmId vm, DeviceKind kind, HostId host,
                                               TimePoint deadline) {
  if (kind != DeviceKind::ivshmem) return {};
  TimePoint until;
  {
    const Lock lock(*mutex_);
    const std::optional<DomainMark>& known = at(vm).mark;
    if (!known || !known->taken_on(kind, link_.name(host))) return {};
    std::optional<TimePoint>& gone = device(vm, kind).gone;
    if (!gone) gone = link_.clock().now();  // an earlier controller took it
    until = *gone + memory_is_freed;
  }
  while (link_.clock().now() < until) {
    const Wake wake = link_.pause(vm, std::min(until, deadline));
    if (wake == Wake::cancelled || link_.clock().now() >= deadline) {
      return tl::unexpected(ended_early(
          wake, "attach of " + label(vm, kind) + " (QEMU frees the memory of the one before)"));
    }
  }
  return {};
}

Result<> LibvirtHypervisor::plug_in(VmId vm, DeviceKind kind, const VmPlace& place,
                                    TimePoint deadline) {
  Result<std::string> xml = xml_to_plug(vm, kind, place.host, deadline);
  if (!xml) return tl::unexpected(xml.error());
  const auto working = std::make_shared<std::atomic<bool>>(true);
  Result<> plugged =
      link_.ask<void>(vm, place.host, "attach of " + label(vm, kind), deadline,
                      [domain = link_.domain(vm), xml = *xml, alias = link_.alias(vm, kind),
                       working](HostConnections& host) {
                        Result<> result = plug(host, domain, xml, alias);
                        *working = false;
                        return result;
                      });
  {
    const Lock lock(*mutex_);
    Device& target = device(vm, kind);
    if (!plugged) {
      target.left_plug = working;
      if (target.plugged_function) target.failed_functions.insert(*target.plugged_function);
    } else {
      target.failed_functions.clear();
    }
    target.plugged_function.reset();
  }
  if (!plugged) return plugged;
  return await_usable(vm, kind, place.host, deadline);
}

Result<std::string> LibvirtHypervisor::known_xml(VmId vm, DeviceKind kind) {
  const Lock lock(*mutex_);
  const std::string& xml = device(vm, kind).unplugged;
  if (!xml.empty()) return xml;
  return failure(
      FailureKind::refused,
      "nothing tells what " + label(vm, kind) + " (" + link_.alias(vm, kind) +
          ") was: the domain does not have it and its metadata do not describe it; attach "
          "it once by hand (virsh attach-device)");
}

Result<std::string> LibvirtHypervisor::xml_to_plug(VmId vm, DeviceKind kind, HostId host,
                                                   TimePoint deadline) {
  const Result<std::string> before = known_xml(vm, kind);
  if (!before) return before;
  if (kind == DeviceKind::ivshmem) return plugged_again_xml(*before);
  const Result<ChosenFunction> chosen = choose_function(vm, host, deadline);
  if (!chosen) return tl::unexpected(chosen.error());
  return virtual_function_xml(*chosen, link_.alias(vm, kind), *before);
}

/// A function of the host's pools that no domain holds and no other attach tries there; one that
/// has failed this VM before comes last.
Result<ChosenFunction> LibvirtHypervisor::choose_function(VmId vm, HostId host,
                                                          TimePoint deadline) {
  const Result<FunctionsInUse> used = link_.ask<FunctionsInUse>(
      vm, host, "functions in use on " + link_.name(host), deadline, functions_in_use);
  if (!used) return tl::unexpected(used.error());
  std::set<std::string> aliases;
  for (const ClusterVm& each : link_.cluster().vms) aliases.insert(each.virtual_function);

  const Lock lock(*mutex_);
  Device& target = device(vm, DeviceKind::virtual_function);
  std::set<std::string> taken = used->pci;
  for (const Vm& each : vms_) {
    const std::optional<HostFunction>& plugged =
        each.devices[static_cast<std::size_t>(DeviceKind::virtual_function)].plugged_function;
    if (plugged && plugged->host == host) taken.insert(plugged->pci);
  }
  std::optional<ChosenFunction> second_choice;
  std::size_t pool_size = 0;
  for (const FunctionPool& pool : link_.description(host).virtual_functions) {
    pool_size += pool.size();
    if (pool.stands_in()) {
      const auto in_use = std::ranges::count_if(used->interfaces, [&](const InterfaceFacts& each) {
        return each.bridge == pool.bridge && aliases.contains(each.alias);
      });
      if (static_cast<std::size_t>(in_use) < pool.count) return ChosenFunction{&pool, {}};
      continue;
    }
    for (const std::string& address : pool.pci.addresses) {
      if (taken.contains(address)) continue;
      if (target.failed_functions.contains({host, address})) {
        second_choice = ChosenFunction{&pool, address};
        continue;
      }
      target.plugged_function = HostFunction{host, address};
      return ChosenFunction{&pool, address};
    }
  }
  if (second_choice) {
    target.plugged_function = HostFunction{host, second_choice->pci};
    return *second_choice;
  }
  return failure(FailureKind::refused, "all " + std::to_string(pool_size) +
                                           " virtual functions of " + link_.name(host) +
                                           " are in use");
}

/// libvirt's attach returns when QEMU has the device and its address. Beyond that QEMU's guest
/// agent, where it answers, tells of a NIC by its MAC.
Result<> LibvirtHypervisor::await_usable(VmId vm, DeviceKind kind, HostId host,
                                         TimePoint deadline) {
  const std::string what = "attach of " + label(vm, kind);
  const std::string domain = link_.domain(vm);
  const Result<DomainState> now = link_.ask<DomainState>(
      vm, host, what, deadline,
      [domain](HostConnections& connections) { return look_at(connections, domain); });
  if (!now) return tl::unexpected(now.error());
  const std::optional<std::string> xml = find_device(now->xml, link_.alias(vm, kind));
  if (!xml) {
    return failure(FailureKind::failed,
                   what + ": libvirt took the device, but the domain does not have it");
  }
  const std::string mac = mac_of(*xml);
  const Result<DomainFacts> facts = read_domain(now->xml);
  if (mac.empty() || !facts || !facts->agent_answers) return {};
  for (;;) {
    const Result<bool> seen =
        link_.ask<bool>(vm, host, what, deadline, [domain, mac](HostConnections& connections) {
          return guest_sees(connections, domain, mac);
        });
    if (seen && *seen) return {};
    if (!seen) {
      const FailureKind kind_of_end = seen.error().kind;
      if (kind_of_end == FailureKind::timed_out || kind_of_end == FailureKind::cancelled) {
        return tl::unexpected(seen.error());
      }
      return {};  // an agent that cannot tell: libvirt's word counts
    }
    const Wake wake = link_.pause(vm, std::min(deadline, link_.clock().now() + ask_guest_again));
    if (wake == Wake::cancelled || link_.clock().now() >= deadline) {
      return tl::unexpected(ended_early(wake, what + " (the guest does not see it yet)"));
    }
  }
}

/// Checks, then marks the domain, then moves it: what is refused leaves no trace.
Result<TransferReport> LibvirtHypervisor::move(VmId vm, const VmPlace& from, HostId destination,
                                               const TransferOptions& options,
                                               TransferObserver& observer, TimePoint deadline) {
  LiveMigration migration(link_, *whereabouts_, vm, from.host, destination, options, observer,
                          deadline);
  if (Result<> ready = migration.prepare(from.state); !ready) return tl::unexpected(ready.error());
  const Result<> marked = mark(vm, from.host, deadline, [&](std::optional<DomainMark>& mark) {
    if (!mark) mark = DomainMark{run_, Phase::migration, {}, {}, {}};
    mark->phase = Phase::migration;
    mark->source = link_.name(from.host);
    mark->destination = link_.name(destination);
  });
  if (!marked) return tl::unexpected(marked.error());
  return migration.run();
}

Result<TransferReport> LibvirtHypervisor::migrate(VmId vm, HostId destination,
                                                  const TransferOptions& options,
                                                  TransferObserver& observer, TimePoint deadline) {
  const Port scope(link_.times(), vm, port);
  check(destination.index < link_.host_count(), "the destination is a host of the world");
  const Result<VmPlace> place = find(vm, deadline);
  if (!place) return tl::unexpected(place.error());
  if (place->host == destination) {
    return failure(FailureKind::refused,
                   link_.name(vm) + " is on " + link_.name(destination) + " already");
  }
  {
    const Lock lock(*mutex_);
    if (at(vm).moving || place->state.sends) {
      return failure(FailureKind::refused, link_.name(vm) + " is migrating already");
    }
    for (const DeviceKind kind : all_device_kinds) {
      if (device(vm, kind).plugging) {
        return failure(FailureKind::refused, label(vm, kind) + " is being attached");
      }
      if (device(vm, kind).unplugging && find_device(place->state.xml, link_.alias(vm, kind))) {
        return failure(FailureKind::refused,
                       "the detach of " + label(vm, kind) + " has not completed yet");
      }
    }
    at(vm).moving = true;
  }
  Result<TransferReport> report = move(vm, *place, destination, options, observer, deadline);
  const Lock lock(*mutex_);
  at(vm).moving = false;
  return report;
}

VmInspection LibvirtHypervisor::inspect(VmId vm) const {
  const Port scope(link_.times(), vm, port);
  const Uncancellable to_the_answer(link_.executor());
  // Not `find`: an inspection waits for no daemon to come back.
  const Result<VmPlace> place = whereabouts_->find(vm, link_.clock().now() + answer_patience);
  if (place) learn(vm, *place);
  const Lock lock(*mutex_);
  VmInspection seen;
  seen.host = whereabouts_->last_known(vm);
  seen.moving = vms_[vm.index].moving;
  if (!place) return seen;
  seen.host = place->host;
  seen.running = place->state.running;
  seen.moving = seen.moving || place->state.sends;
  const auto usable = [&](DeviceKind kind) {
    const std::string& alias = link_.alias(vm, kind);
    return !alias.empty() && !vms_[vm.index].devices[static_cast<std::size_t>(kind)].plugging &&
           find_device(place->state.xml, alias).has_value();
  };
  seen.virtual_function = usable(DeviceKind::virtual_function);
  seen.ivshmem = usable(DeviceKind::ivshmem);
  return seen;
}

bool LibvirtHypervisor::reachable(HostId host) const {
  const Uncancellable to_the_answer(link_.executor());
  return link_.reachable(host, link_.clock().now() + answer_patience).has_value();
}

Result<> LibvirtHypervisor::await_settled(VmId vm, TimePoint deadline) {
  const Port scope(link_.times(), vm, port);
  const std::shared_ptr<DomainInbox> inbox = link_.subscribe(vm);
  // A device that is there although it was taken away, on the host where it was: its unplug is
  // under way, or it came back there and the controller ended before it could note that. Guests let
  // go within this time or not at all.
  const TimePoint inferred_until = link_.clock().now() + answer_patience;
  std::unique_ptr<NoChannel> while_it_leaves;
  for (;;) {
    const auto answers =
        link_.look_everywhere(vm, std::min(deadline, link_.clock().now() + answer_patience));
    std::string busy;
    for (std::uint32_t i = 0; i < answers.size(); ++i) {
      if (!answers[i]) {
        busy = answers[i].error().reason;
        if (answers[i].error().kind == FailureKind::cancelled) {
          return tl::unexpected(answers[i].error());
        }
      } else if (answers[i]->sends || answers[i]->receives) {
        busy = "a migration of " + link_.name(vm) + " is under way";
        if (!while_it_leaves) while_it_leaves = std::make_unique<NoChannel>(link_.channels(), vm);
      }
    }
    if (busy.empty()) {
      const Result<VmPlace> place = find(vm, deadline);
      if (!place) return {};  // it runs nowhere, so nothing is under way
      for (const DeviceKind kind : all_device_kinds) {
        const Lock lock(*mutex_);
        Device& target = device(vm, kind);
        if (!target.unplugging) continue;
        const bool waited = target.inferred && link_.clock().now() >= inferred_until;
        if (find_device(place->state.xml, link_.alias(vm, kind)) && !waited) {
          busy = "the detach of " + label(vm, kind) + " has not completed yet";
        } else {
          target.unplugging = false;
          target.inferred = false;
        }
      }
    }
    if (busy.empty()) return {};
    DomainEvent event;
    const Wake wake =
        link_.next_event(vm, *inbox, std::min(deadline, link_.clock().now() + look_again), event);
    if (wake == Wake::cancelled || (wake == Wake::timed_out && link_.clock().now() >= deadline)) {
      return tl::unexpected(ended_early(wake, "the wait for what is under way (" + busy + ")"));
    }
  }
}

Result<> LibvirtHypervisor::cancel_migration(VmId vm) {
  const Port scope(link_.times(), vm, port);
  const auto answers = link_.look_everywhere(vm, link_.clock().now() + answer_patience);
  for (std::uint32_t i = 0; i < answers.size(); ++i) {
    if (!answers[i] || !answers[i]->sends) continue;
    const Result<> aborted = link_.ask<void>(
        vm, HostId{i}, "cancellation of " + link_.name(vm), link_.clock().now() + answer_patience,
        [domain = link_.domain(vm)](HostConnections& host) { return abort_job(host, domain); });
    if (aborted) return {};
    return failure(FailureKind::refused, aborted.error().reason);
  }
  std::string reason = "no migration of " + link_.name(vm) + " is under way";
  for (const Result<DomainState>& answer : answers) {
    if (!answer) reason += "; " + answer.error().reason;
  }
  return failure(FailureKind::refused, reason);
}

}  // namespace ferry
