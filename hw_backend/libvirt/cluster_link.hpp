// The hosts and VMs of a scenario as libvirt knows them, and how they are asked: every call has a
// deadline, and its time is counted as waited for.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/ports/clock.hpp"
#include "core/ports/result.hpp"
#include "core/scenario/cluster_file.hpp"
#include "core/scenario/instance.hpp"
#include "hw_backend/libvirt/calls.hpp"
#include "hw_backend/libvirt/connection.hpp"
#include "hw_backend/libvirt/domain_calls.hpp"
#include "hw_backend/libvirt/open_channels.hpp"
#include "hw_backend/libvirt/waiting_time.hpp"

namespace ferry {

/// For one question, which a healthy libvirtd answers at once.
inline constexpr Duration answer_patience = Duration::milliseconds(10'000);

/// Connections of a host that are opened before they are needed; more wait for their moves.
inline constexpr std::size_t most_ahead = 32;
/// For all of them.
inline constexpr Duration ahead_patience = Duration::milliseconds(3'000);

class ClusterLink {
 public:
  /// Throws WorldError if a host or VM of the scenario is not in the cluster file. Connects
  /// nothing.
  ClusterLink(const Instance& instance, const ClusterFile& cluster, Clock& clock,
              const ThreadClock& thread_clock, Executor& executor);

  [[nodiscard]] const std::string& name(VmId vm) const { return instance_.vms[vm.index].name; }
  [[nodiscard]] const std::string& name(HostId host) const {
    return instance_.hosts[host.index].name;
  }
  [[nodiscard]] const ClusterVm& description(VmId vm) const { return *vms_[vm.index]; }
  [[nodiscard]] const ClusterHost& description(HostId host) const { return *hosts_[host.index]; }
  [[nodiscard]] const std::string& domain(VmId vm) const { return description(vm).domain; }
  /// Its alias; empty: the VM has no such device.
  [[nodiscard]] const std::string& alias(VmId vm, DeviceKind kind) const;
  [[nodiscard]] const ClusterFile& cluster() const { return cluster_; }
  [[nodiscard]] std::size_t host_count() const { return hosts_.size(); }
  [[nodiscard]] std::size_t vm_count() const { return vms_.size(); }

  /// Asks `host` about `vm`. The body runs in another thread, and on after the deadline: what it
  /// uses beside the connections it must own.
  template <class T>
  Result<T> ask(VmId vm, HostId host, const std::string& what, TimePoint deadline,
                std::function<Result<T>(HostConnections&)> body) {
    const WaitingTime::Scope awaited(times_, vm, WaitingTime::Kind::awaited);
    times_.count_call(vm);
    return calls_.run<T>(what, deadline,
                         [connections = connections_[host.index], body = std::move(body)] {
                           return body(*connections);
                         });
  }
  /// The same, counted for nobody.
  template <class T>
  Result<T> ask_uncounted(HostId host, const std::string& what, TimePoint deadline,
                          std::function<Result<T>(HostConnections&)> body) {
    return calls_.run<T>(what, deadline,
                         [connections = connections_[host.index], body = std::move(body)] {
                           return body(*connections);
                         });
  }
  /// Asks every host the same, at the same time; the answers by HostId. Counted for nobody.
  template <class T>
  std::vector<Result<T>> ask_all(const std::string& what, TimePoint deadline,
                                 const std::function<Result<T>(HostConnections&, HostId)>& body) {
    std::vector<std::function<Result<T>()>> bodies;
    for (std::uint32_t i = 0; i < connections_.size(); ++i) {
      bodies.push_back(
          [connections = connections_[i], i, body] { return body(*connections, HostId{i}); });
    }
    return calls_.run_all<T>(what, deadline, std::move(bodies));
  }

  /// Whether `host` has a connection, or takes a new one. Counted for nobody.
  [[nodiscard]] Result<> reachable(HostId host, TimePoint deadline);

  /// Starts a call that nobody waits for; `body` tells of its end itself.
  void start(VmId vm, HostId host, const std::string& what,
             std::function<void(HostConnections&)> body);

  /// What every host says about the VM, by HostId; asked at the same time.
  std::vector<Result<DomainState>> look_everywhere(VmId vm, TimePoint deadline);

  /// Events of the VM's domain from now on, on any host.
  [[nodiscard]] std::shared_ptr<DomainInbox> subscribe(VmId vm) {
    return board_->subscribe(domain(vm));
  }
  /// For threads that outlive their caller.
  [[nodiscard]] const std::shared_ptr<EventBoard>& board() const { return board_; }
  /// Waits for the inbox; the time counts as awaited.
  Wake next_event(VmId vm, DomainInbox& inbox, TimePoint deadline, DomainEvent& event);
  /// Lets time pass that counts as awaited.
  Wake pause(VmId vm, TimePoint until);

  /// Connects every host, and opens what the moves that `schedule` lets run at a time will
  /// need; throws WorldError with all that cannot be reached.
  void connect_all(TimePoint deadline, const Schedule& schedule);

  OpenChannels& channels() { return channels_; }
  WaitingTime& times() { return times_; }
  Clock& clock() { return clock_; }
  Executor& executor() { return executor_; }

 private:
  /// Calls to each host that may be under way at the same time, at least 1, by HostId.
  [[nodiscard]] std::vector<std::size_t> calls_at_once(const Schedule& schedule) const;

  const Instance& instance_;
  const ClusterFile& cluster_;
  Clock& clock_;
  Executor& executor_;
  std::vector<const ClusterHost*> hosts_;  ///< by HostId
  std::vector<const ClusterVm*> vms_;      ///< by VmId
  EventLoopUser loop_;
  std::shared_ptr<EventBoard> board_;
  std::vector<std::shared_ptr<HostConnections>> connections_;  ///< by HostId
  OpenChannels channels_;
  WaitingTime times_;
  Calls calls_;  ///< last: it waits for the calls that use all the rest
};

}  // namespace ferry
