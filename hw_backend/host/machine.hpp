// A host's processors and memory, its IOMMU, its versions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hw_backend/host/report.hpp"
#include "hw_backend/host/tree.hpp"

namespace ferry::host {

[[nodiscard]] Iommu look_at_iommu(const Tree& tree);
/// shared or exclusive, as `rdma system show netns`; empty: there is no RDMA core.
[[nodiscard]] std::string rdma_netns_of(const Tree& tree);
/// Whether a function can be bound to vfio-pci now; nothing: there is no PCI in sysfs.
[[nodiscard]] std::optional<bool> has_vfio(const Tree& tree);

struct Layout {
  std::vector<NumaNode> nodes;
  std::string wrong;  ///< why it is not known; empty: it is
};
/// By hwloc, which reads /sys/devices/system and /proc; huge pages by sysfs.
[[nodiscard]] Layout look_at_layout(const Tree& tree);

/// Of QEMU and libvirt by asking the programs themselves, which are only run in the running system.
[[nodiscard]] Versions look_at_versions(const Tree& tree);
/// The first word that begins with a digit and has a dot: "7.2.22" of QEMU's line. Empty: none.
[[nodiscard]] std::string version_in(std::string_view text);

}  // namespace ferry::host
