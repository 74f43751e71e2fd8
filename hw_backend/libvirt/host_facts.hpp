// What a host's libvirt tells of the host and of the cluster's domains on it, gathered at once.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/ports/result.hpp"
#include "core/scenario/cluster_file.hpp"
#include "hw_backend/libvirt/domain_calls.hpp"

namespace ferry {

struct HostFacts {
  unsigned long libvirt = 0;     ///< 9.0.0 is 9'000'000
  unsigned long hypervisor = 0;  ///< QEMU's, in the same form
  std::string uuid;              ///< by which libvirt tells hosts apart
  bool kvm = false;              ///< else guests are emulated
  std::optional<bool> iommu;
  Bytes free_memory;
  bool lists_devices = false;                    ///< its libvirt has a node device driver
  std::map<std::string, bool> functions;         ///< by PCI address: whether the host has it
  std::map<std::string, DomainState> domains;    ///< by name: those that are active
  std::map<std::string, std::string> unlimited;  ///< by domain: why it can be given no `hard_limit`
};

/// Blocks, as what stands in `domain_calls.hpp`.
Result<HostFacts> look_at_host(HostConnections& host, const ClusterHost& description,
                               const std::vector<std::string>& domains);

/// Whether the host's QEMU can be such a guest: `failed` with libvirt's reason.
Result<> can_run_machine(HostConnections& host, const DomainFacts& domain);

/// Of a capabilities XML: UUID, kvm and IOMMU.
void read_capabilities(std::string_view capabilities_xml, HostFacts& facts);

/// "9.0.0"
std::string version_text(unsigned long version);
/// Of the library that this program runs with.
std::string libvirt_library_version();

}  // namespace ferry
