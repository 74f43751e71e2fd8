#include "hw_backend/libvirt/cluster_link.hpp"

#include <algorithm>

#include "core/ports/world_error.hpp"

namespace ferry {
namespace {

template <class Described, class Wanted>
std::vector<const Described*> matched(const std::vector<Wanted>& wanted,
                                      const std::vector<Described>& described, const char* what,
                                      std::string& missing) {
  std::vector<const Described*> result;
  for (const Wanted& each : wanted) {
    const auto found = std::ranges::find(described, each.name, &Described::name);
    result.push_back(found == described.end() ? nullptr : &*found);
    if (result.back() != nullptr) continue;
    missing += std::string(missing.empty() ? "" : ", ") + what + " " + each.name;
  }
  return result;
}

}  // namespace

ClusterLink::ClusterLink(const Instance& instance, const ClusterFile& cluster, Clock& clock,
                         const ThreadClock& thread_clock, Executor& executor)
    : instance_(instance),
      cluster_(cluster),
      clock_(clock),
      executor_(executor),
      board_(std::make_shared<EventBoard>(executor, clock)),
      times_(clock, instance.vms.size()),
      calls_(thread_clock, executor) {
  std::string missing;
  hosts_ = matched(instance.hosts, cluster.hosts, "host", missing);
  vms_ = matched(instance.vms, cluster.vms, "VM", missing);
  if (!missing.empty()) {
    throw WorldError("the cluster file does not describe " + missing +
                     ": its names are those of the scenario");
  }
  for (std::uint32_t i = 0; i < hosts_.size(); ++i) {
    connections_.push_back(
        std::make_shared<HostConnections>(hosts_[i]->name, hosts_[i]->libvirt, HostId{i}, board_));
  }
}

const std::string& ClusterLink::alias(VmId vm, DeviceKind kind) const {
  const ClusterVm& found = description(vm);
  return kind == DeviceKind::ivshmem ? found.ivshmem : found.virtual_function;
}

void ClusterLink::start(VmId vm, HostId host, const std::string& what,
                        std::function<void(HostConnections&)> body) {
  times_.count_call(vm);
  calls_.start(what, [connections = connections_[host.index], body = std::move(body)] {
    body(*connections);
  });
}

std::vector<Result<DomainState>> ClusterLink::look_everywhere(VmId vm, TimePoint deadline) {
  const WaitingTime::Scope awaited(times_, vm, WaitingTime::Kind::awaited);
  times_.count_call(vm);
  return ask_all<DomainState>(
      "looking for " + name(vm), deadline,
      [domain = domain(vm)](HostConnections& host, HostId) { return look_at(host, domain); });
}

Wake ClusterLink::next_event(VmId vm, DomainInbox& inbox, TimePoint deadline, DomainEvent& event) {
  const WaitingTime::Scope awaited(times_, vm, WaitingTime::Kind::awaited);
  return inbox.next(deadline, event);
}

Wake ClusterLink::pause(VmId vm, TimePoint until) {
  const WaitingTime::Scope awaited(times_, vm, WaitingTime::Kind::awaited);
  return clock_.sleep_until(until);
}

std::vector<std::size_t> ClusterLink::calls_at_once(const Schedule& schedule) const {
  constexpr std::size_t devices = 2;  // of a guest, at once; its migration is one call
  std::vector<std::size_t> out(hosts_.size()), in(hosts_.size());
  for (const MoveSpec& move : instance_.moves) {
    ++out[instance_.vms[move.vm.index].host.index];
    if (move.candidates.size() == 1) ++in[move.candidates[0].index];
  }
  const bool in_turn = schedule.order == Order::sequential && schedule.batch == Batch::vm;
  const auto limited = [](std::size_t moves, const Limit& limit) {
    return limit ? std::min<std::size_t>(moves, *limit) : moves;
  };
  std::vector<std::size_t> calls;
  for (std::size_t i = 0; i < hosts_.size(); ++i) {
    std::size_t moves =
        limited(out[i], schedule.limits.host_out) + limited(in[i], schedule.limits.host_in);
    moves = in_turn ? std::min<std::size_t>(moves, 1) : limited(moves, schedule.limits.cluster);
    calls.push_back(std::clamp<std::size_t>(devices * moves, 1, most_ahead));
  }
  return calls;
}

void ClusterLink::connect_all(TimePoint deadline, const Schedule& schedule) {
  const auto connected =
      ask_all<bool>("connecting", deadline, [](HostConnections& host, HostId) -> Result<bool> {
        const auto connection = host.calling();
        if (!connection) return tl::unexpected(connection.error());
        return true;
      });
  std::string missing;
  for (std::size_t i = 0; i < connected.size(); ++i) {
    if (connected[i]) continue;
    const std::string& reason = connected[i].error().reason;
    missing += (missing.empty() ? "" : "\n") +
               (connected[i].error().kind == FailureKind::timed_out
                    ? hosts_[i]->name + " (" + hosts_[i]->libvirt + ") does not answer"
                    : reason);
  }
  if (!missing.empty()) throw WorldError(missing);

  // One that is not open in time, or cannot be opened now, is opened when it is needed, or missed
  // then.
  (void)ask_all<bool>("connecting ahead", clock_.now() + ahead_patience,
                      [calls = calls_at_once(schedule)](HostConnections& host, HostId id) {
                        const std::chrono::nanoseconds patience(ahead_patience.count_nanoseconds());
                        return Result<bool>(host.open_ahead(calls[id.index], patience).has_value());
                      });
}

Result<> ClusterLink::reachable(HostId host, TimePoint deadline) {
  return calls_.run<void>("a connection to " + name(host), deadline,
                          [connections = connections_[host.index]]() -> Result<> {
                            if (const auto open = connections->calling(); !open) {
                              return tl::unexpected(open.error());
                            }
                            return {};
                          });
}

}  // namespace ferry
