// A scenario with every group expanded and every random quantity drawn: what planners and worlds
// use. Ids index the vectors; order is the order of the file, but nothing that is measured depends
// on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/ports/hypervisor.hpp"
#include "core/scenario/scenario.hpp"

namespace ferry {

struct HostSpec {
  std::string name;
  std::uint32_t cores = 0;
  Bytes memory;
  std::uint32_t virtual_functions = 0;
  Bytes ivshmem;
  std::uint32_t sockets = 1;  ///< with equal parts of the cores
};

struct VmSpec {
  std::string name;
  HostId host;  ///< at the start
  std::uint32_t vcpus = 1;
  Bytes memory;
  bool virtual_function = true;
  Bytes ivshmem;                             ///< 0: none
  std::optional<std::uint32_t> socket = {};  ///< that it is kept on; none: where there is room
  std::uint32_t containers = 0;              ///< 0: its ranks are in none
  Ratio zero;
  Bytes working_set;
  Bandwidth dirty_rate;
  Bandwidth idle_dirty_rate;
  std::vector<JobId> jobs;  ///< that have ranks in this VM
};

struct JobSpec {
  std::string name;
  std::vector<VmId> vms;  ///< rank r runs in vms[r / ranks_per_vm]
  std::uint32_t ranks_per_vm = 1;
  Strategy strategy = Strategy::migration_thread;
  Suspend suspend = Suspend::peers;
  Reconnect reconnect = Reconnect::lazy;
  Workload workload = {};
  std::vector<Duration> next_call = {};  ///< of the timed workload, by rank; zero with others
  /// In each VM, which its ranks are dealt to in equal parts, in their order; 0: none.
  std::uint32_t containers = 0;
  ChannelChoices channels = {};
  Bytes ivshmem = {};  ///< of its region on each host; 0: none

  /// Whether its ranks run and send messages; else they are the timed stand-in.
  [[nodiscard]] bool communicates() const { return workload.type != WorkloadType::timed; }
  [[nodiscard]] std::uint32_t ranks() const {
    return static_cast<std::uint32_t>(vms.size()) * ranks_per_vm;
  }
};

/// A list of hosts that is never changed once made, so that the many moves of one migration share
/// it (100,000 VMs that may each go to 10,000 hosts must not cost a thousand million entries).
class HostList {
 public:
  HostList() : HostList(std::vector<HostId>()) {}
  HostList(std::vector<HostId> hosts)  // NOLINT(google-explicit-constructor): reads as a list
      : hosts_(std::make_shared<const std::vector<HostId>>(std::move(hosts))) {}
  HostList(std::initializer_list<HostId> hosts) : HostList(std::vector<HostId>(hosts)) {}
  operator const std::vector<HostId>&() const {
    return *hosts_;
  }  // NOLINT(google-explicit-constructor)

  [[nodiscard]] auto begin() const { return hosts_->begin(); }
  [[nodiscard]] auto end() const { return hosts_->end(); }
  [[nodiscard]] std::size_t size() const { return hosts_->size(); }
  [[nodiscard]] bool empty() const { return hosts_->empty(); }
  const HostId& operator[](std::size_t index) const { return (*hosts_)[index]; }

 private:
  std::shared_ptr<const std::vector<HostId>> hosts_;
};

/// One VM's move.
struct MoveSpec {
  std::string migration;  ///< the entry's name
  VmId vm;
  HostList candidates;  ///< hosts it may go to, in order; its present host may be among them
  Place place = Place::spread;
  StartTime at;
  RankMoment when = RankMoment::any;
  TransferOptions transfer;
  Timeouts timeouts;
  Retry retry;
};

struct FaultSpec {
  Phase phase = Phase::migration;
  VmId vm;
  Fault::Fail fail = Fault::Fail::no;
  Duration stall;
};

/// The controller goes down in the writing of a record; `away` later another one resumes.
struct ControllerDownSpec {
  std::uint64_t record = 1;
  Duration away;
  Fault::LastRecord last_record = Fault::LastRecord::torn;
};

/// Something that goes wrong with one host or its links from a time on.
struct ClusterFaultSpec {
  enum class Kind { host_down, link_down, slow_link, late_libvirt } kind = Kind::host_down;
  HostId host;
  /// Index in `networks`, of a link; none: all of them.
  std::optional<std::uint32_t> network = std::nullopt;
  TimePoint from;
  TimePoint until = TimePoint::never();
  Ratio factor = Ratio(0);            ///< of a slow link, above 0
  Duration delay = Duration::zero();  ///< of late answers; zero: no answer before `until`
};

/// A constraint with its VMs, each once.
struct ConstraintSpec {
  enum class Kind { before, together, apart, deadline } kind = Kind::before;
  std::vector<VmId> vms;   ///< with `before`: those that move first
  std::vector<VmId> then;  ///< with `before`: those that move after them
  Duration deadline;
};

struct Instance {
  std::vector<HostSpec> hosts;
  std::vector<VmSpec> vms;
  std::vector<JobSpec> jobs;
  std::vector<MoveSpec> moves;  ///< of all migrations that are not `at: never`
  std::vector<ConstraintSpec> constraints;
  std::vector<FaultSpec> faults;
  std::vector<ClusterFaultSpec> cluster_faults;
  std::vector<ControllerDownSpec> controller_downs;  ///< by rising record
  std::vector<Network> networks;                     ///< the cluster's, or the platform's
};

/// Expands and draws. Never fails on a scenario that the reader accepted.
Instance expand(const Scenario& scenario);

}  // namespace ferry
