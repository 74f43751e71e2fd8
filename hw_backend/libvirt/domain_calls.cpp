#include "hw_backend/libvirt/domain_calls.hpp"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <array>
#include <cstdlib>
#include <memory>

#include "core/units/check.hpp"

namespace ferry {
namespace {

struct FreeDomain {
  void operator()(virDomainPtr domain) const { virDomainFree(domain); }
};
using Domain = std::unique_ptr<virDomain, FreeDomain>;

/// A domain and the connection that keeps it usable.
struct OpenDomain {
  std::shared_ptr<Connection> connection;
  Domain domain;
  [[nodiscard]] virDomainPtr get() const { return domain.get(); }
};

int last_code() {
  const virErrorPtr error = virGetLastError();
  return error == nullptr ? 0 : error->code;
}

Result<OpenDomain> open_domain(HostConnections& host, const std::string& name) {
  const auto connection = host.calling();
  if (!connection) return tl::unexpected(connection.error());
  Domain domain(virDomainLookupByName((*connection)->get(), name.c_str()));
  if (!domain) return tl::unexpected(last_error("domain " + name));
  return OpenDomain{*connection, std::move(domain)};
}

Result<> done_or_error(int result, const std::string& what) {
  if (result < 0) return tl::unexpected(last_error(what));
  return {};
}

unsigned everywhere(virDomainPtr domain) {
  return virDomainIsPersistent(domain) == 1 ? VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG
                                            : VIR_DOMAIN_AFFECT_LIVE;
}

std::optional<DomainMark> mark_of(virDomainPtr domain) {
  const std::string xml = taken(virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT,
                                                     metadata_namespace, VIR_DOMAIN_AFFECT_LIVE));
  return xml.empty() ? std::nullopt : read_mark(xml);
}

class TypedParameters {
 public:
  ~TypedParameters() { virTypedParamsFree(parameters_, count_); }
  TypedParameters() = default;
  TypedParameters(const TypedParameters&) = delete;
  TypedParameters& operator=(const TypedParameters&) = delete;

  bool add(const std::string& name, const MigrationValue& value) {
    if (const auto* text = std::get_if<std::string>(&value)) {
      return virTypedParamsAddString(&parameters_, &count_, &room_, name.c_str(), text->c_str()) ==
             0;
    }
    if (const auto* number = std::get_if<std::uint64_t>(&value)) {
      return virTypedParamsAddULLong(&parameters_, &count_, &room_, name.c_str(), *number) == 0;
    }
    return virTypedParamsAddInt(&parameters_, &count_, &room_, name.c_str(),
                                std::get<int>(value)) == 0;
  }
  virTypedParameterPtr* address() { return &parameters_; }
  int* count_address() { return &count_; }
  [[nodiscard]] virTypedParameterPtr get() const { return parameters_; }
  [[nodiscard]] int count() const { return count_; }

 private:
  virTypedParameterPtr parameters_ = nullptr;
  int count_ = 0;
  int room_ = 0;
};

void look_at_jobs(virDomainPtr domain, DomainState& state) {
  virDomainJobInfo job{};
  if (virDomainGetJobInfo(domain, &job) == 0) {
    state.sends = job.type == VIR_DOMAIN_JOB_BOUNDED || job.type == VIR_DOMAIN_JOB_UNBOUNDED;
  } else {
    // "migration statistics are available only on the source host"
    state.receives = last_code() == VIR_ERR_OPERATION_INVALID;
  }
}

}  // namespace

Result<DomainState> look_at(HostConnections& host, const std::string& name) {
  const auto domain = open_domain(host, name);
  if (!domain) {
    if (last_code() == VIR_ERR_NO_DOMAIN) return DomainState{};
    return tl::unexpected(domain.error());
  }
  DomainState state;
  int run_state = 0;
  int reason = 0;
  if (virDomainGetState(domain->get(), &run_state, &reason, 0) < 0) {
    if (last_code() == VIR_ERR_NO_DOMAIN) return DomainState{};
    return tl::unexpected(last_error("state of " + name));
  }
  if (run_state == VIR_DOMAIN_SHUTOFF || run_state == VIR_DOMAIN_CRASHED) return state;
  state.active = true;
  state.running = run_state == VIR_DOMAIN_RUNNING || run_state == VIR_DOMAIN_BLOCKED;
  state.persistent = virDomainIsPersistent(domain->get()) == 1;
  look_at_jobs(domain->get(), state);
  state.xml = taken(virDomainGetXMLDesc(domain->get(), 0));
  if (state.xml.empty()) {
    if (last_code() == VIR_ERR_NO_DOMAIN) return DomainState{};
    return tl::unexpected(last_error("XML of " + name));
  }
  state.mark = mark_of(domain->get());
  return state;
}

Result<Unplug> ask_unplug(HostConnections& host, const std::string& name,
                          const std::string& alias) {
  const auto domain = open_domain(host, name);
  if (!domain) return tl::unexpected(domain.error());
  if (virDomainDetachDeviceAlias(domain->get(), alias.c_str(), VIR_DOMAIN_AFFECT_LIVE) == 0) {
    return Unplug::asked;
  }
  Failure why = last_error("detach of " + alias);
  // Which error says that there is no such device depends on how far libvirt came: one that goes
  // while it is looked up is an internal error.
  const std::string xml = taken(virDomainGetXMLDesc(domain->get(), 0));
  const bool runs = virDomainIsActive(domain->get()) == 1;
  if (runs && !xml.empty() && !find_device(xml, alias)) return Unplug::not_there;
  // QEMU's words for a request that repeats one that the guest has not answered yet.
  if (why.reason.find("already in the process of unplug") != std::string::npos) {
    return Unplug::asked;
  }
  return tl::unexpected(std::move(why));
}

Result<> plug(HostConnections& host, const std::string& name, const std::string& device_xml,
              const std::string& alias) {
  const auto domain = open_domain(host, name);
  if (!domain) return tl::unexpected(domain.error());
  if (virDomainAttachDeviceFlags(domain->get(), device_xml.c_str(), VIR_DOMAIN_AFFECT_LIVE) < 0) {
    return tl::unexpected(last_error("attach of " + alias));
  }
  if (virDomainIsPersistent(domain->get()) == 1) {
    // The configuration decides what the guest has after its next start; the guest that runs now
    // has the device in any case.
    virDomainDetachDeviceAlias(domain->get(), alias.c_str(), VIR_DOMAIN_AFFECT_CONFIG);
    virDomainAttachDeviceFlags(domain->get(), device_xml.c_str(), VIR_DOMAIN_AFFECT_CONFIG);
  }
  return {};
}

Result<> write_mark(HostConnections& host, const std::string& name,
                    const std::optional<DomainMark>& mark) {
  const auto domain = open_domain(host, name);
  if (!domain) return tl::unexpected(domain.error());
  const std::string xml = mark ? to_xml(*mark) : std::string();
  const unsigned flags = everywhere(domain->get());
  const int result =
      virDomainSetMetadata(domain->get(), VIR_DOMAIN_METADATA_ELEMENT, mark ? xml.c_str() : nullptr,
                           metadata_prefix, metadata_namespace, flags);
  if (result < 0 && !mark && last_code() == VIR_ERR_NO_DOMAIN_METADATA) return {};
  return done_or_error(result, "metadata of " + name);
}

Result<bool> guest_sees(HostConnections& host, const std::string& name, const std::string& mac) {
  const auto domain = open_domain(host, name);
  if (!domain) return tl::unexpected(domain.error());
  virDomainInterfacePtr* interfaces = nullptr;
  const int count = virDomainInterfaceAddresses(domain->get(), &interfaces,
                                                VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT, 0);
  if (count < 0) return tl::unexpected(last_error("guest agent of " + name));
  bool seen = false;
  for (int i = 0; i < count; ++i) {
    seen = seen || (interfaces[i]->hwaddr != nullptr && mac == interfaces[i]->hwaddr);
    virDomainInterfaceFree(interfaces[i]);
  }
  std::free(interfaces);
  return seen;
}

Result<FunctionsInUse> functions_in_use(HostConnections& host) {
  const auto connection = host.calling();
  if (!connection) return tl::unexpected(connection.error());
  virDomainPtr* domains = nullptr;
  const int count =
      virConnectListAllDomains((*connection)->get(), &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
  if (count < 0) return tl::unexpected(last_error("list of domains"));
  FunctionsInUse used;
  for (int i = 0; i < count; ++i) {
    const Domain domain(domains[i]);
    // One that ends meanwhile uses nothing.
    const auto facts = read_domain(taken(virDomainGetXMLDesc(domain.get(), 0)));
    if (!facts) continue;
    for (const HostDeviceFacts& device : facts->host_devices) used.pci.insert(device.pci);
    used.interfaces.insert(used.interfaces.end(), facts->interfaces.begin(),
                           facts->interfaces.end());
  }
  std::free(domains);
  return used;
}

Result<> set_downtime(HostConnections& host, const std::string& name, std::uint64_t milliseconds) {
  const auto domain = open_domain(host, name);
  if (!domain) return tl::unexpected(domain.error());
  return done_or_error(virDomainMigrateSetMaxDowntime(domain->get(), milliseconds, 0),
                       "downtime limit of " + name);
}

Result<> can_limit_memory(HostConnections& host, const std::string& name) {
  const auto domain = open_domain(host, name);
  if (!domain) return tl::unexpected(domain.error());
  // To ask for the limits needs what setting them does.
  std::array<virTypedParameter, 8> limits{};
  int count = static_cast<int>(limits.size());
  return done_or_error(
      virDomainGetMemoryParameters(domain->get(), limits.data(), &count, VIR_DOMAIN_AFFECT_LIVE),
      "limits of " + name);
}

Result<> set_hard_limit(HostConnections& host, const std::string& name, Bytes limit) {
  const auto domain = open_domain(host, name);
  if (!domain) return tl::unexpected(domain.error());
  TypedParameters parameters;
  check(parameters.add(VIR_DOMAIN_MEMORY_HARD_LIMIT, std::uint64_t{limit.count() / 1024}),
        "a parameter that libvirt knows");
  return done_or_error(virDomainSetMemoryParameters(domain->get(), parameters.get(),
                                                    parameters.count(), VIR_DOMAIN_AFFECT_LIVE),
                       "hard_limit of " + name);
}

Result<> migrate_to(HostConnections& host, const std::string& name,
                    const std::string& destination_uri, const MigrationCall& call) {
  const auto domain = open_domain(host, name);
  if (!domain) return tl::unexpected(domain.error());
  TypedParameters parameters;
  for (const auto& [field, value] : call.parameters) {
    if (!parameters.add(field, value)) {
      return tl::unexpected(last_error("migration parameter " + field));
    }
  }
  return done_or_error(
      virDomainMigrateToURI3(domain->get(), destination_uri.c_str(), parameters.get(),
                             static_cast<unsigned>(parameters.count()), call.flags),
      "migration of " + name);
}

Result<> switch_to_postcopy(HostConnections& host, const std::string& name) {
  const auto domain = open_domain(host, name);
  if (!domain) return tl::unexpected(domain.error());
  return done_or_error(virDomainMigrateStartPostCopy(domain->get(), 0),
                       "switch of " + name + " to post-copy");
}

Result<> abort_job(HostConnections& host, const std::string& name) {
  const auto domain = open_domain(host, name);
  if (!domain) return tl::unexpected(domain.error());
  return done_or_error(virDomainAbortJob(domain->get()), "abort of the migration of " + name);
}

Result<JobStatistics> job_statistics(HostConnections& host, const std::string& name,
                                     bool completed) {
  const auto domain = open_domain(host, name);
  if (!domain) return tl::unexpected(domain.error());
  TypedParameters parameters;
  int type = 0;
  if (virDomainGetJobStats(domain->get(), &type, parameters.address(), parameters.count_address(),
                           completed ? VIR_DOMAIN_JOB_STATS_COMPLETED : 0) < 0) {
    return tl::unexpected(last_error("job statistics of " + name));
  }
  return read_statistics(parameters.get(), parameters.count());
}

Result<MigrationState> look_at_migration(HostConnections& host, const std::string& name) {
  const auto domain = open_domain(host, name);
  if (!domain) {
    if (last_code() == VIR_ERR_NO_DOMAIN) return MigrationState{};
    return tl::unexpected(domain.error());
  }
  MigrationState seen;
  int state = 0;
  int reason = 0;
  if (virDomainGetState(domain->get(), &state, &reason, 0) == 0) {
    seen.running = state == VIR_DOMAIN_RUNNING || state == VIR_DOMAIN_BLOCKED;
  }
  TypedParameters parameters;
  int type = 0;
  if (virDomainGetJobStats(domain->get(), &type, parameters.address(), parameters.count_address(),
                           0) == 0) {
    seen.statistics = read_statistics(parameters.get(), parameters.count());
  }
  return seen;
}

Result<> resume(HostConnections& host, const std::string& name) {
  const auto domain = open_domain(host, name);
  if (!domain) return tl::unexpected(domain.error());
  return done_or_error(virDomainResume(domain->get()), "resume of " + name);
}

Result<unsigned long> libvirt_version(HostConnections& host) {
  const auto connection = host.calling();
  if (!connection) return tl::unexpected(connection.error());
  unsigned long version = 0;
  if (virConnectGetLibVersion((*connection)->get(), &version) < 0) {
    return tl::unexpected(last_error("version of libvirt"));
  }
  return version;
}

Result<unsigned long> qemu_version(HostConnections& host) {
  const auto connection = host.calling();
  if (!connection) return tl::unexpected(connection.error());
  unsigned long version = 0;
  if (virConnectGetVersion((*connection)->get(), &version) < 0) {
    return tl::unexpected(last_error("version of QEMU"));
  }
  return version;
}

Result<> can_run_cpu(HostConnections& host, const DomainFacts& domain) {
  if (domain.cpu.empty() || domain.type != "kvm") return {};  // an emulated CPU runs anywhere
  const auto connection = host.calling();
  if (!connection) return tl::unexpected(connection.error());
  const int result = virConnectCompareHypervisorCPU(
      (*connection)->get(), nullptr, domain.architecture.c_str(), domain.machine.c_str(),
      domain.type.c_str(), domain.cpu.c_str(), 0);
  if (result != VIR_CPU_COMPARE_INCOMPATIBLE) return {};  // what cannot be told is left to QEMU
  return failure(FailureKind::refused,
                 "its CPU (" + domain.cpu_mode +
                     ") has features that the destination lacks; use a CPU model that both hosts "
                     "have (virsh hypervisor-cpu-baseline)");
}

}  // namespace ferry
