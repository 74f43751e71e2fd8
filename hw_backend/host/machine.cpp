#include "hw_backend/host/machine.hpp"

#include <sstream>

#include "hw_backend/host/programs.hpp"

namespace ferry::host {
namespace {

/// Those of Documentation/admin-guide/kernel-parameters.txt; the last is a patch of distributions.
bool concerns_iommu(std::string_view option) {
  for (const std::string_view beginning :
       {"intel_iommu=", "amd_iommu=", "iommu=", "iommu.", "vfio", "pcie_acs_override="}) {
    if (option.starts_with(beginning)) return true;
  }
  return false;
}

std::string version_of(std::initializer_list<const char*> programs) {
  for (const char* const program : programs) {
    const ProgramResult result = run_program({{program, "--version"}, program_patience});
    if (result.status == 0) return version_in(result.output);
  }
  return {};
}

}  // namespace

Iommu look_at_iommu(const Tree& tree) {
  Iommu iommu;
  iommu.groups = static_cast<std::uint32_t>(tree.names("sys/kernel/iommu_groups").size());
  iommu.on = iommu.groups > 0;
  iommu.units = tree.names("sys/class/iommu");
  std::istringstream words(tree.line_or_empty("proc/cmdline"));
  for (std::string word; words >> word;) {
    if (concerns_iommu(word)) iommu.options.push_back(word);
  }
  return iommu;
}

std::string rdma_netns_of(const Tree& tree) {
  const std::string value = tree.line_or_empty("sys/module/ib_core/parameters/netns_mode");
  if (value == "Y" || value == "1") return "shared";
  if (value == "N" || value == "0") return "exclusive";
  return {};
}

std::optional<bool> has_vfio(const Tree& tree) {
  if (!tree.has("sys/bus/pci/drivers")) return std::nullopt;
  return tree.has("sys/bus/pci/drivers/vfio-pci");
}

Versions look_at_versions(const Tree& tree) {
  Versions versions;
  versions.ferry = FERRY_VERSION;
  versions.kernel = tree.line_or_empty("proc/sys/kernel/osrelease");
  if (!tree.is_system()) return versions;
  versions.qemu = version_of({"/usr/bin/qemu-system-x86_64", "/usr/libexec/qemu-kvm",
                              "/usr/bin/qemu-kvm", "/usr/bin/qemu-system-aarch64"});
  versions.libvirt = version_of({"/usr/sbin/virtqemud", "/usr/sbin/libvirtd"});
  return versions;
}

std::string version_in(std::string_view text) {
  std::istringstream words{std::string(text)};
  for (std::string word; words >> word;) {
    if (word.front() < '0' || word.front() > '9' || word.find('.') == std::string::npos) continue;
    return word.substr(0, word.find_first_not_of("0123456789."));
  }
  return {};
}

}  // namespace ferry::host
