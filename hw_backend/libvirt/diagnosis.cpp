#include "hw_backend/libvirt/diagnosis.hpp"

#include <algorithm>
#include <optional>
#include <set>

#include "core/ports/world_error.hpp"
#include "hw_backend/libvirt/cluster_link.hpp"
#include "hw_backend/libvirt/refusals.hpp"
#include "hw_backend/threads/thread_executor.hpp"

namespace ferry {
namespace {

using Level = Finding::Level;

constexpr Duration diagnosis_patience = Duration::milliseconds(30'000);

/// Collects what is found.
class Judge {
 public:
  Judge(const ClusterFile& cluster, const Instance& instance, bool against_instance, bool at_start,
        const std::vector<Result<HostFacts>>& hosts,
        const std::map<std::pair<std::string, std::string>, std::string>& machines)
      : cluster_(cluster),
        instance_(instance),
        against_instance_(against_instance),
        at_start_(at_start),
        hosts_(hosts),
        machines_(machines) {}

  Diagnosis run() {
    for (std::size_t i = 0; i < hosts_.size(); ++i) judge_host(i);
    judge_identities();
    for (std::size_t i = 0; i < instance_.vms.size(); ++i) judge_vm(i);
    return std::move(diagnosis_);
  }

 private:
  struct Found {
    std::size_t host = 0;
    const DomainState* state = nullptr;
  };

  void add(Level level, std::string subject, std::string text, std::string fix = {}) {
    diagnosis_.findings.push_back({level, std::move(subject), std::move(text), std::move(fix)});
  }

  void judge_host(std::size_t index) {
    const std::string& name = instance_.hosts[index].name;
    const ClusterHost& description = *cluster_.host(name);
    if (!hosts_[index]) {
      add(Level::failed, name + ": libvirt", hosts_[index].error().reason,
          "start libvirtd there, and see that virsh -c '" + description.libvirt +
              "' list works from here (address, certificates, SASL or ssh key)");
      return;
    }
    const HostFacts& facts = *hosts_[index];
    diagnosis_.versions.emplace_back(name + ": libvirt", version_text(facts.libvirt));
    diagnosis_.versions.emplace_back(name + ": QEMU", version_text(facts.hypervisor));
    add(Level::ok, name + ": libvirt",
        version_text(facts.libvirt) + ", QEMU " + version_text(facts.hypervisor) + ", " +
            to_text(facts.free_memory) + " of memory free");
    if (facts.kvm) {
      add(Level::ok, name + ": acceleration", "kvm");
    } else {
      add(Level::warning, name + ": acceleration", "no kvm: its guests are emulated, which is slow",
          "load the module kvm_intel or kvm_amd, and allow QEMU to open /dev/kvm");
    }
    judge_peer(description);
    for (const FunctionPool& pool : description.virtual_functions) {
      judge_pool(description, pool, facts);
    }
  }

  void judge_peer(const ClusterHost& host) {
    if (host.peer.find("+unix://") != std::string::npos ||
        host.peer.find(":///") != std::string::npos) {
      add(Level::warning, host.name + ": peer",
          host.peer + " names a socket of the machine that opens it",
          "give " + host.name + " a peer URI that the other hosts can reach, unless all share it");
    }
  }

  void judge_pool(const ClusterHost& host, const FunctionPool& pool, const HostFacts& facts) {
    const std::string subject = host.name + ": virtual functions";
    if (pool.stands_in()) {
      add(Level::ok, subject,
          std::to_string(pool.count) + " NICs on " + pool.bridge +
              " stand in for virtual functions");
      return;
    }
    if (!facts.iommu.value_or(true)) {
      add(Level::failed, subject, "the host has no IOMMU, so no guest can be given a PCI function",
          "turn VT-d or AMD-Vi on in the firmware, and boot with intel_iommu=on");
    }
    if (!facts.lists_devices) {
      add(Level::warning, subject,
          "this libvirt does not list devices, so " + pool.pci.text + " was not looked for",
          "install libvirt's node device driver");
    } else {
      std::string missing;
      for (const std::string& address : pool.pci.addresses) {
        const auto found = facts.functions.find(address);
        if (found != facts.functions.end() && found->second) continue;
        missing += (missing.empty() ? "" : ", ") + address;
      }
      if (missing.empty()) {
        add(Level::ok, subject, pool.pci.text + " are there");
      } else {
        add(Level::failed, subject, "the host has no PCI function " + missing,
            "make virtual functions (echo N > /sys/class/infiniband/DEVICE/device/sriov_numvfs), "
            "or "
            "correct virtual_functions in the cluster file");
      }
    }
    if (pool.guid == Guid::moves_with_vm) {
      add(Level::warning, subject,
          "guid: moves_with_vm: libvirt cannot give an InfiniBand function a GUID",
          "see that a function gets the VM's GUID before it is attached (ip link set " +
              (pool.parent.empty() ? "PORT" : pool.parent) + " vf N node_guid ...), or use per_vf");
    }
  }

  void judge_identities() {
    std::map<std::string, std::string> seen;
    for (std::size_t i = 0; i < hosts_.size(); ++i) {
      if (!hosts_[i] || hosts_[i]->uuid.empty()) continue;
      const std::string& name = instance_.hosts[i].name;
      const auto [first, is_new] = seen.emplace(hosts_[i]->uuid, name);
      if (is_new) continue;
      add(Level::failed, name + ": identity",
          name + " and " + first->second + " have the same UUID " + hosts_[i]->uuid +
              ": libvirt takes them for one host",
          "give each its own host_uuid in libvirtd.conf, if they are two");
    }
  }

  std::vector<Found> find(const std::string& domain) const {
    std::vector<Found> found;
    for (std::size_t i = 0; i < hosts_.size(); ++i) {
      if (!hosts_[i]) continue;
      const auto state = hosts_[i]->domains.find(domain);
      if (state != hosts_[i]->domains.end()) found.push_back({i, &state->second});
    }
    return found;
  }

  void judge_vm(std::size_t index) {
    const VmSpec& vm = instance_.vms[index];
    const ClusterVm& description = *cluster_.vm(vm.name);
    const std::string subject = vm.name + ": domain";
    const std::vector<Found> found = find(description.domain);
    diagnosis_.places.emplace_back();
    if (found.empty()) {
      add(Level::failed, subject, "no host that answers runs " + description.domain,
          "start it (virsh start " + description.domain + "), or correct its name");
      return;
    }
    const auto running = std::ranges::find_if(
        found, [](const Found& each) { return each.state->running && !each.state->receives; });
    for (const Found& each : found) {
      if (!each.state->sends && !each.state->receives) continue;
      add(Level::failed, subject, "a migration of " + description.domain + " is under way",
          "wait for its end, or stop it (virsh domjobabort " + description.domain + ")");
      break;
    }
    if (running == found.end()) {
      add(Level::failed, subject, description.domain + " is paused on " + name_of(found.front()),
          "let it run: virsh resume " + description.domain);
      return;
    }
    diagnosis_.places.back() = name_of(*running);
    if (against_instance_ && at_start_ && running->host != vm.host.index) {
      add(Level::failed, subject,
          description.domain + " runs on " + name_of(*running) +
              ", and the scenario starts it on " + instance_.hosts[vm.host.index].name,
          "migrate it there, or change `on` in the scenario");
    } else {
      add(Level::ok, subject, description.domain + " runs on " + name_of(*running));
    }
    const auto facts = read_domain(running->state->xml);
    if (!facts) return;
    judge_mark(vm, *running->state);
    if (against_instance_) judge_size(vm, *facts);
    judge_devices(vm, description, *running->state, *facts);
    judge_moves(index, *facts);
    judge_machine(vm, *running);
    if (facts->agent_answers) {
      add(Level::ok, vm.name + ": guest agent", "answers");
    } else {
      add(Level::warning, vm.name + ": guest agent",
          "does not answer: a device counts as attached when libvirt says so",
          "run qemu-guest-agent in the guest on the channel org.qemu.guest_agent.0");
    }
  }

  [[nodiscard]] const std::string& name_of(const Found& found) const {
    return instance_.hosts[found.host].name;
  }

  void judge_mark(const VmSpec& vm, const DomainState& state) {
    if (!state.mark) return;
    std::string missing;
    for (const TakenDevice& taken : state.mark->taken) {
      const ClusterVm& description = *cluster_.vm(vm.name);
      const std::string& alias =
          taken.kind == DeviceKind::ivshmem ? description.ivshmem : description.virtual_function;
      if (find_device(state.xml, alias)) continue;
      missing += (missing.empty() ? "; it took away " : ", ") + std::string(to_name(taken.kind));
    }
    add(Level::warning, vm.name + ": earlier run",
        "the metadata of its domain are of run " + state.mark->run + " in phase " +
            std::string(to_name(state.mark->phase)) + missing,
        "finish that run: ferry resume RUN");
  }

  void judge_size(const VmSpec& vm, const DomainFacts& facts) {
    if (facts.memory == vm.memory) {
      add(Level::ok, vm.name + ": memory", to_text(facts.memory));
    } else {
      add(Level::failed, vm.name + ": memory",
          "the domain has " + to_text(facts.memory) + ", the scenario " + to_text(vm.memory),
          "change vms." + vm.name + ".memory in the scenario, or the domain");
    }
    if (facts.vcpus == vm.vcpus) {
      add(Level::ok, vm.name + ": vCPUs", std::to_string(facts.vcpus));
    } else {
      add(Level::failed, vm.name + ": vCPUs",
          "the domain has " + std::to_string(facts.vcpus) + ", the scenario " +
              std::to_string(vm.vcpus),
          "change vcpus in the scenario, or the domain");
    }
  }

  void judge_devices(const VmSpec& vm, const ClusterVm& description, const DomainState& state,
                     const DomainFacts& facts) {
    judge_device(vm, state, "virtual_function", description.virtual_function, vm.virtual_function,
                 DeviceKind::virtual_function);
    judge_device(vm, state, "ivshmem", description.ivshmem, vm.ivshmem > Bytes(),
                 DeviceKind::ivshmem);
    // With the devices that Ferry takes away gone, nothing may block the migration.
    MoveFacts move;
    move.vm = vm.name;
    move.source = move.destination = "host";
    move.domain = facts;
    move.migrate_uri = "tcp://";
    move.shared_storage = cluster_.storage == Storage::shared;
    std::erase_if(move.domain.host_devices, [&](const HostDeviceFacts& device) {
      return !device.alias.empty() && device.alias == description.virtual_function;
    });
    std::erase_if(move.domain.shared_memories, [&](const SharedMemoryFacts& memory) {
      return !memory.alias.empty() && memory.alias == description.ivshmem;
    });
    if (const auto refusal = why_refused({}, move)) {
      const std::size_t semicolon = std::min(refusal->find("; "), refusal->size());
      add(Level::failed, vm.name + ": migratable", refusal->substr(0, semicolon),
          semicolon < refusal->size() ? refusal->substr(semicolon + 2) : "");
    } else {
      add(Level::ok, vm.name + ": migratable", "nothing but what Ferry takes away blocks it");
    }
  }

  void judge_device(const VmSpec& vm, const DomainState& state, const std::string& key,
                    const std::string& alias, bool wanted, DeviceKind kind) {
    const std::string subject = vm.name + ": " + key;
    if (alias.empty()) {
      if (against_instance_ && wanted) {
        add(Level::failed, subject,
            "the scenario's VM has one, and the cluster file names no device",
            "write vms." + vm.name + "." + key + ": ALIAS in the cluster file");
      }
      return;
    }
    const bool there = find_device(state.xml, alias).has_value();
    const bool known = state.mark && state.mark->find(kind) != nullptr;
    if (against_instance_ && !wanted) {
      add(there ? Level::failed : Level::ok, subject,
          there ? "the domain has " + alias + ", and the scenario's VM has none"
                : "none, as in the scenario",
          there ? "unplug it, or give the scenario's VM one" : "");
      return;
    }
    if (there) {
      add(Level::ok, subject, alias);
    } else if (known) {
      add(Level::warning, subject, alias + " was taken away by an earlier run",
          "finish that run: ferry resume RUN");
    } else {
      add(Level::failed, subject, "the domain has no device with the alias " + alias,
          "give the device <alias name='" + alias +
              "'/> (aliases that users give begin with ua-), or correct the cluster file");
    }
  }

  void judge_moves(std::size_t vm, const DomainFacts& facts) {
    std::set<std::string> told;
    for (const MoveSpec& move : instance_.moves) {
      if (move.vm.index != vm) continue;
      MoveFacts of;
      of.vm = instance_.vms[vm].name;
      of.source = instance_.hosts[instance_.vms[vm].host.index].name;
      of.domain = facts;
      of.domain.host_devices.clear();
      of.domain.shared_memories.clear();
      const std::string no_limit = judge_limit(move, of, told);
      for (const HostId to : move.candidates) {
        of.destination = instance_.hosts[to.index].name;
        of.migrate_uri = cluster_.host(of.destination)->migrate.by(move.transfer.transport);
        of.source_version = version_of(instance_.vms[vm].host.index);
        of.destination_version = version_of(to.index);
        if (of.destination == of.source) continue;
        const auto refusal = why_refused(move.transfer, of);
        if (!refusal || !told.insert(*refusal).second) continue;
        const std::size_t semicolon = std::min(refusal->find("; "), refusal->size());
        add(Level::failed, of.vm + ": migration " + move.migration, refusal->substr(0, semicolon),
            (semicolon < refusal->size() ? refusal->substr(semicolon + 2) : "") + no_limit);
      }
    }
  }

  /// Over RDMA a domain without `hard_limit` gets one from Ferry when it moves, if libvirt can; if
  /// not, returns what to add to the refusal.
  std::string judge_limit(const MoveSpec& move, MoveFacts& of, std::set<std::string>& told) {
    if (move.transfer.transport != Transport::rdma || of.domain.hard_limit) return {};
    const auto& host = hosts_[instance_.vms[move.vm.index].host.index];
    const std::string& domain = cluster_.vm(of.vm)->domain;
    if (host && host->unlimited.contains(domain)) {
      return "; libvirt cannot set it for a running domain there: " + host->unlimited.at(domain);
    }
    of.domain.hard_limit = limit_for_rdma(of.domain.memory);
    const std::string text =
        "none: libvirt wants one for RDMA, and Ferry sets it to " + to_text(*of.domain.hard_limit);
    if (told.insert(text).second) add(Level::ok, of.vm + ": hard_limit", text);
    return {};
  }

  [[nodiscard]] unsigned long version_of(std::size_t host) const {
    return hosts_[host] ? hosts_[host]->libvirt : 0;
  }

  void judge_machine(const VmSpec& vm, const Found& running) {
    for (std::size_t i = 0; i < hosts_.size(); ++i) {
      if (i == running.host) continue;
      const auto reason = machines_.find({instance_.hosts[i].name, vm.name});
      if (reason == machines_.end()) continue;
      add(Level::failed, vm.name + ": " + instance_.hosts[i].name,
          "its QEMU cannot run such a guest: " + reason->second,
          "use a machine type and an accelerator that both hosts have");
    }
  }

  const ClusterFile& cluster_;
  const Instance& instance_;
  bool against_instance_;
  bool at_start_;
  const std::vector<Result<HostFacts>>& hosts_;
  const std::map<std::pair<std::string, std::string>, std::string>& machines_;
  Diagnosis diagnosis_;
};

/// Hosts and VMs of the cluster file, for a look without a scenario.
Instance instance_of(const ClusterFile& cluster) {
  Instance instance;
  for (const ClusterHost& host : cluster.hosts) {
    HostSpec spec;
    spec.name = host.name;
    instance.hosts.push_back(spec);
  }
  for (const ClusterVm& vm : cluster.vms) {
    VmSpec spec;
    spec.name = vm.name;
    instance.vms.push_back(spec);
  }
  return instance;
}

/// Why hosts cannot run VMs that run on other hosts.
std::map<std::pair<std::string, std::string>, std::string> ask_machines(
    ClusterLink& link, const Instance& instance, const ClusterFile& cluster,
    const std::vector<Result<HostFacts>>& hosts, TimePoint deadline) {
  using Reasons = std::map<std::string, std::string>;  // by VM
  std::map<std::string, DomainFacts> guests;           // by VM
  for (const VmSpec& vm : instance.vms) {
    for (const Result<HostFacts>& host : hosts) {
      if (!host) continue;
      const auto state = host->domains.find(cluster.vm(vm.name)->domain);
      if (state == host->domains.end() || !state->second.running) continue;
      if (auto facts = read_domain(state->second.xml)) guests[vm.name] = std::move(*facts);
    }
  }
  const auto answers = link.ask_all<Reasons>(
      "what guests can run", deadline, [guests](HostConnections& host, HostId) -> Result<Reasons> {
        Reasons reasons;
        std::map<std::string, std::string> asked;  // equal guests once
        for (const auto& [vm, guest] : guests) {
          const std::string key = guest.type + " " + guest.architecture + " " + guest.machine;
          const auto [answer, is_new] = asked.emplace(key, "");
          if (is_new) {
            if (const auto can = can_run_machine(host, guest); !can) {
              answer->second = can.error().reason;
            }
          }
          if (!answer->second.empty()) reasons[vm] = answer->second;
          if (const auto can = can_run_cpu(host, guest); !can) reasons[vm] = can.error().reason;
        }
        return reasons;
      });
  std::map<std::pair<std::string, std::string>, std::string> machines;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (!answers[i]) continue;
    for (const auto& [vm, reason] : *answers[i]) {
      machines[{instance.hosts[i].name, vm}] = reason;
    }
  }
  return machines;
}

}  // namespace

Diagnosis judge(const ClusterFile& cluster, const Instance& instance, bool against_instance,
                bool at_start, const std::vector<Result<HostFacts>>& hosts,
                const std::map<std::pair<std::string, std::string>, std::string>& machines) {
  return Judge(cluster, instance, against_instance, at_start, hosts, machines).run();
}

Diagnosis diagnose(const ClusterFile& cluster, const Instance* instance, bool at_start) {
  const Instance looked_at = instance != nullptr ? *instance : instance_of(cluster);
  const ThreadClock clock(1.0);
  ThreadExecutor executor(clock);
  ThreadSleeper sleeper(clock);
  Diagnosis diagnosis;
  executor.adopt([&] {
    std::optional<ClusterLink> link;
    try {
      link.emplace(looked_at, cluster, sleeper, clock, executor);
    } catch (const WorldError& error) {
      diagnosis.findings.push_back(
          {Level::failed, "scenario fits", error.what(), "name hosts and VMs in both files alike"});
      diagnosis.places.resize(looked_at.vms.size());
      return;
    }
    std::vector<std::string> domains;
    for (const VmSpec& vm : looked_at.vms) domains.push_back(cluster.vm(vm.name)->domain);
    const TimePoint deadline = sleeper.now() + diagnosis_patience;
    const auto hosts = link->ask_all<HostFacts>(
        "a look at the host", deadline,
        [&cluster, &looked_at, domains](HostConnections& host, HostId id) {
          return look_at_host(host, *cluster.host(looked_at.hosts[id.index].name), domains);
        });
    diagnosis = judge(cluster, looked_at, instance != nullptr, at_start, hosts,
                      ask_machines(*link, looked_at, cluster, hosts, deadline));
  });
  return diagnosis;
}

}  // namespace ferry
