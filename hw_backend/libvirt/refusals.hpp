// What libvirt and QEMU refuse, recognised before it is tried and explained, and their errors in
// the port's words. Pure. Sources: libvirt 9.0 src/qemu/qemu_migration.c (qemuMigrationSrcIsAllowed
// and the checks of parameters), QEMU 7.2 migration/migration.c (migrate_caps_check) and
// hw/misc/ivshmem.c.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/ports/hypervisor.hpp"
#include "core/ports/result.hpp"
#include "hw_backend/libvirt/domain_xml.hpp"

namespace ferry {

/// libvirt's version numbers: 9.0.0 is 9'000'000.
using LibvirtVersion = unsigned long;

struct MoveFacts {
  std::string vm;      ///< as the scenario calls it
  std::string source;  ///< hosts, as the scenario calls them
  std::string destination;
  DomainFacts domain;       ///< of the running domain
  std::string migrate_uri;  ///< of the destination for the transport; empty: it has none
  LibvirtVersion source_version = 0;
  LibvirtVersion destination_version = 0;
  bool shared_storage = true;
  /// Aliases of the devices that Ferry takes away itself; empty: none.
  std::string virtual_function;
  std::string ivshmem;
};

/// Why a virtual function is not treated so on libvirt, and what would help; nothing for `detach`.
/// Sources: libvirt's formatdomain (<teaming> of network interfaces), QEMU
/// docs/system/virtio-net-failover.rst and docs/devel/migration/vfio.rst, NVIDIA DOCA 3.2.1 "SR-IOV
/// Live Migration" (Ethernet mode only).
std::optional<std::string> refused_strategy(DeviceStrategy strategy);

/// Why this move would be refused, and what would help; nothing if no reason is known.
std::optional<std::string> why_refused(const TransferOptions& options, const MoveFacts& facts);

/// The `hard_limit` that Ferry gives to a domain that has none before it moves over RDMA: its
/// memory, and room for what QEMU itself locks.
Bytes limit_for_rdma(Bytes memory);

/// An error of libvirt. `code` is a virErrorNumber.
Failure explained_error(int code, const std::string& what, std::string_view message);

}  // namespace ferry
