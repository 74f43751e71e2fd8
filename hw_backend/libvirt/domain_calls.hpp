// What is asked of one domain on one host: each function is a short sequence of libvirt calls. They
// block, so they run in the threads of `Calls`; errors come back explained.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/ports/result.hpp"
#include "hw_backend/libvirt/connection.hpp"
#include "hw_backend/libvirt/domain_metadata.hpp"
#include "hw_backend/libvirt/domain_xml.hpp"
#include "hw_backend/libvirt/migration_parameters.hpp"
#include "hw_backend/libvirt/migration_progress.hpp"

namespace ferry {

/// A domain as its host's libvirt sees it.
struct DomainState {
  bool active = false;   ///< else there is no such domain, or it is shut off
  bool running = false;  ///< its vCPUs run; else it is paused
  bool persistent = false;
  bool sends = false;     ///< a migration away from this host is under way
  bool receives = false;  ///< a migration to this host is under way: the domain is its empty shell
  std::string xml;        ///< empty: not active
  std::optional<DomainMark> mark;
};

Result<DomainState> look_at(HostConnections& host, const std::string& domain);

enum class Unplug { asked, not_there };
/// Asks for the removal of a device; libvirt tells later what became of it.
Result<Unplug> ask_unplug(HostConnections& host, const std::string& domain,
                          const std::string& alias);
/// Plugs a device into the running domain; a persistent one gets it into its configuration too, in
/// place of what had the alias there.
Result<> plug(HostConnections& host, const std::string& domain, const std::string& device_xml,
              const std::string& alias);
/// Writes the mark, or removes it.
Result<> write_mark(HostConnections& host, const std::string& domain,
                    const std::optional<DomainMark>& mark);
/// Whether QEMU's guest agent sees an interface with that MAC.
Result<bool> guest_sees(HostConnections& host, const std::string& domain, const std::string& mac);

/// What the running domains of a host hold of its pools.
struct FunctionsInUse {
  std::set<std::string> pci;  ///< `0000:03:00.1`
  std::vector<InterfaceFacts> interfaces;
};
Result<FunctionsInUse> functions_in_use(HostConnections& host);

// Migration, asked of the source.
Result<> set_downtime(HostConnections& host, const std::string& domain, std::uint64_t milliseconds);
/// Whether `set_hard_limit` could work: the host's libvirt needs the cgroups' memory controller.
Result<> can_limit_memory(HostConnections& host, const std::string& domain);
/// The most memory that QEMU may lock, as RDMA wants it.
Result<> set_hard_limit(HostConnections& host, const std::string& domain, Bytes limit);
/// Blocks until the migration has ended.
Result<> migrate_to(HostConnections& host, const std::string& domain,
                    const std::string& destination_uri, const MigrationCall& call);
Result<> switch_to_postcopy(HostConnections& host, const std::string& domain);
Result<> abort_job(HostConnections& host, const std::string& domain);
/// Of the job under way, or of the latest one that has `completed`.
Result<JobStatistics> job_statistics(HostConnections& host, const std::string& domain,
                                     bool completed);
/// Of a migration under way.
struct MigrationState {
  bool running =
      false;  ///< the guest's vCPUs run on the source; false too if it has gone from there
  JobStatistics statistics;
};
Result<MigrationState> look_at_migration(HostConnections& host, const std::string& domain);
/// Lets the vCPUs of a paused domain run.
Result<> resume(HostConnections& host, const std::string& domain);
Result<unsigned long> libvirt_version(HostConnections& host);
/// QEMU's, in the same form.
Result<unsigned long> qemu_version(HostConnections& host);
/// `refused`, with the reason, if the CPU of `cpu_xml` cannot run on that host.
Result<> can_run_cpu(HostConnections& host, const DomainFacts& domain);

}  // namespace ferry
