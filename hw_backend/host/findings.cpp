#include "hw_backend/host/findings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "hw_backend/host/guid.hpp"

namespace ferry::host {
namespace {

using Level = Finding::Level;

class Judge {
 public:
  explicit Judge(const Report& report) : report_(report) {}

  std::vector<Finding> run() {
    judge_versions();
    judge_iommu();
    judge_layout();
    for (const Adapter& adapter : report_.adapters) {
      judge_ports(adapter);
      judge_functions(adapter);
    }
    judge_guids();
    judge_locked_memory();
    judge_shared_memory();
    return std::move(findings_);
  }

 private:
  void add(Level level, std::string subject, std::string text, std::string fix = {}) {
    findings_.push_back({level, std::move(subject), std::move(text), std::move(fix)});
  }

  [[nodiscard]] bool has_functions() const {
    return std::ranges::any_of(report_.adapters, [](const Adapter& adapter) {
      return adapter.functions_possible > 0 || !adapter.functions.empty();
    });
  }
  [[nodiscard]] bool has_rdma() const {
    return std::ranges::any_of(report_.adapters,
                               [](const Adapter& adapter) { return !adapter.name.empty(); });
  }

  void judge_versions() {
    const Versions& versions = report_.versions;
    std::string text = "Linux " + (versions.kernel.empty() ? "?" : versions.kernel);
    if (!versions.qemu.empty()) text += ", QEMU " + versions.qemu;
    if (!versions.libvirt.empty()) text += ", libvirt " + versions.libvirt;
    add(Level::ok, "versions", text);
    if (!report_.root) {
      add(Level::warning, "rights", "this was not looked at as root, so some of it is not known",
          "run ferry-host as root on that host");
    }
  }

  void judge_iommu() {
    const Iommu& iommu = report_.iommu;
    std::string options;
    for (const std::string& option : iommu.options)
      options += (options.empty() ? "" : " ") + option;
    if (iommu.on) {
      add(Level::ok, "IOMMU",
          fmt::format("{} groups{}", iommu.groups,
                      options.empty() ? "" : "; the kernel's command line has " + options));
    } else {
      const bool is_asked = options.find("iommu=on") != std::string::npos;
      const std::string fix =
          is_asked
              ? "turn VT-d or AMD-Vi on in the firmware: the kernel was asked for it already"
              : "turn VT-d or AMD-Vi on in the firmware, and boot with intel_iommu=on iommu=pt "
                "(AMD: iommu=pt)";
      add(has_functions() ? Level::failed : Level::warning, "IOMMU",
          "off: /sys/kernel/iommu_groups has no group, so no VM can be given a function" +
              (options.empty() ? std::string() : "; the kernel's command line has " + options),
          fix);
    }
    if (options.find("pcie_acs_override=") != std::string::npos) {
      add(Level::warning, "IOMMU",
          "pcie_acs_override makes groups of what the hardware does not keep apart",
          "leave it out, and put the adapter where its bridges have ACS");
    }
    if (has_functions() && report_.vfio == false) {
      add(Level::warning, "vfio-pci", "the driver is not loaded", "modprobe vfio-pci");
    }
  }

  void judge_layout() {
    std::uint32_t cores = 0;
    std::uint32_t processors = 0;
    Bytes memory;
    std::string huge;
    for (const NumaNode& node : report_.numa) {
      cores += node.cores;
      processors += node.processors;
      memory += node.memory;
      for (const HugePages& pages : node.huge_pages) {
        if (pages.total == 0) continue;
        huge += fmt::format("; node {}: {} of {} huge pages of {} free", node.node, pages.free,
                            pages.total, rounded(pages.size));
      }
    }
    if (report_.numa.empty()) return;  // why, is a finding of its own
    add(Level::ok, "processors",
        fmt::format("{} NUMA node{}, {} cores, {} hardware threads, {}{}", report_.numa.size(),
                    report_.numa.size() == 1 ? "" : "s", cores, processors, rounded(memory), huge));
    if (has_rdma()) {
      add(Level::ok, "RDMA namespaces",
          report_.rdma_netns.empty() ? "not known" : report_.rdma_netns);
    }
  }

  void judge_ports(const Adapter& adapter) {
    for (const Port& port : adapter.ports) {
      const std::string subject = fmt::format("{}: port {}", adapter.name, port.number);
      const bool is_infiniband = port.link_layer == "InfiniBand";
      if (port.state != "ACTIVE") {
        const bool is_linked = port.physical_state == "LinkUp";
        const bool another_is_active = std::ranges::any_of(
            adapter.ports, [](const Port& each) { return each.state == "ACTIVE"; });
        add(another_is_active ? Level::warning : Level::failed, subject,
            fmt::format("{}{}", port.state.empty() ? "its state is not known" : port.state,
                        port.physical_state.empty() ? "" : ", " + port.physical_state),
            is_linked && is_infiniband
                ? "its cable is well: start a subnet manager (opensm, with virt_enabled 2 for "
                  "functions of ConnectX-4 and later)"
                : "look at its cable and its switch");
      } else if (is_infiniband && port.subnet_manager_lid == 0) {
        add(Level::failed, subject, "ACTIVE, and no subnet manager is known",
            "start a subnet manager (opensm)");
      } else {
        add(Level::ok, subject,
            fmt::format("ACTIVE, {}{}{}{}", port.link_layer, port.rate.empty() ? "" : ", ",
                        port.rate, place_of(adapter)));
      }
    }
    if (report_.numa.size() > 1 && !adapter.pci.empty() && !adapter.numa) {
      add(Level::warning, adapter.title(), "on which NUMA node it sits is not known",
          "look for the firmware's setting of NUMA (SRAT)");
    }
  }

  static std::string place_of(const Adapter& adapter) {
    if (!adapter.numa) return {};
    return fmt::format(", on NUMA node {}", *adapter.numa) +
           (adapter.package ? fmt::format(" of socket {}", *adapter.package) : "");
  }

  void judge_functions(const Adapter& adapter) {
    if (adapter.functions_possible == 0 && adapter.functions.empty()) return;
    const std::string subject = adapter.title() + ": functions";
    if (adapter.functions.empty()) {
      add(Level::warning, subject,
          fmt::format("none is made of {} possible", adapter.functions_possible),
          fmt::format("echo {0} > /sys/bus/pci/devices/{1}/sriov_numvfs",
                      adapter.functions_possible, adapter.pci));
      return;
    }
    std::map<std::string, std::vector<std::string>> by_driver;
    std::vector<std::string> given;
    for (const VirtualFunction& function : adapter.functions) {
      by_driver[function.driver].push_back(function.pci);
      if (function.user)
        given.push_back(fmt::format("{}: {}", function.pci, to_word_of(*function.user)));
    }
    std::string text =
        fmt::format("{} of {} possible", adapter.functions.size(), adapter.functions_possible);
    if (!given.empty()) text += "; in use: " + enumeration(given);
    add(Level::ok, subject, text);
    for (const auto& [driver, functions] : by_driver) {
      if (driver.empty() || driver.find("vfio") != std::string::npos) continue;
      add(Level::warning, subject,
          fmt::format("the host itself has {} ({})", enumeration(functions), driver),
          fmt::format("keep its driver from them: echo 0 > "
                      "/sys/bus/pci/devices/{}/sriov_drivers_autoprobe before they are made "
                      "(ConnectX-3: probe_vf=0 of mlx4_core)",
                      adapter.pci));
    }
    judge_groups(adapter, subject);
  }

  static std::string to_word_of(const User& user) {
    return user.guest.empty() ? fmt::format("{} ({})", user.program, user.process)
                              : "guest " + user.guest;
  }

  void judge_groups(const Adapter& adapter, const std::string& subject) {
    std::vector<std::string> without;
    std::vector<std::string> shared;
    for (const VirtualFunction& function : adapter.functions) {
      if (!function.group) without.push_back(function.pci);
      if (function.group_peers.empty()) continue;
      shared.push_back(fmt::format("{} (group {}, with {})", function.pci, *function.group,
                                   enumeration(function.group_peers)));
    }
    if (!without.empty() && report_.iommu.on) {
      add(Level::failed, subject, enumeration(without) + ": in no IOMMU group",
          "look in the firmware for the slot's IOMMU, and in dmesg for DMAR or AMD-Vi");
    }
    if (shared.empty()) {
      if (without.empty()) add(Level::ok, subject, "each is alone in its IOMMU group");
      return;
    }
    std::string bridges;
    for (const Bridge& bridge : adapter.bridges) {
      if (bridge.acs == "on") continue;
      bridges += fmt::format("; ACS of bridge {} is {}", bridge.pci, bridge.acs);
    }
    add(Level::failed, subject,
        "not alone in their IOMMU groups, so they go to one VM together or to none: " +
            enumeration(shared) + bridges,
        "turn ACS on in the firmware, or put the adapter into a slot whose bridges have it");
  }

  void judge_guids() {
    std::map<std::string, std::vector<std::string>> owners;
    for (const Adapter& adapter : report_.adapters) {
      const bool is_infiniband = std::ranges::any_of(
          adapter.ports, [](const Port& port) { return port.link_layer == "InfiniBand"; });
      if (!is_infiniband || adapter.functions.empty()) continue;
      judge_guids_of(adapter);
      for (const VirtualFunction& function : adapter.functions) {
        const auto guid = parse_guid(function.port_guid);
        if (guid && is_guid(*guid)) owners[function.port_guid].push_back(function.pci);
      }
    }
    for (const auto& [guid, functions] : owners) {
      if (functions.size() == 1) continue;
      add(Level::failed, "GUIDs",
          fmt::format("{} have the same port GUID {}", enumeration(functions), guid),
          "ferry-host set FUNCTION --port-guid GUID gives one another");
    }
  }

  void judge_guids_of(const Adapter& adapter) {
    const std::string subject = adapter.title() + ": GUIDs";
    std::vector<std::string> unknown;
    std::vector<std::string> none;
    std::vector<std::string> down;
    for (const VirtualFunction& function : adapter.functions) {
      const auto port = parse_guid(function.port_guid);
      const auto node = parse_guid(function.node_guid);
      // Zero at a ConnectX-3 leaves the choice to the subnet manager.
      const bool is_chosen = function.told_by == ToldBy::mlx4_sysfs && port == 0U;
      if (!port) unknown.push_back(function.pci);
      if ((port && !is_guid(*port) && !is_chosen) || (node && !is_guid(*node))) {
        none.push_back(function.pci);
      }
      if (function.policy == "down") down.push_back(function.pci);
    }
    if (!unknown.empty()) {
      add(Level::warning, subject, enumeration(unknown) + ": not known",
          "with the kernel's own mlx5 driver IPoIB tells them: modprobe ib_ipoib");
    }
    if (!none.empty()) {
      add(Level::failed, subject, enumeration(none) + " have none, so their ports never come up",
          "ferry-host set FUNCTION --node-guid GUID --port-guid GUID --policy follow");
    }
    if (!down.empty()) {
      add(Level::failed, subject, "the links of " + enumeration(down) + " are kept down",
          "ferry-host set FUNCTION --policy follow");
    }
    if (unknown.empty() && none.empty() && down.empty()) {
      add(Level::ok, subject, "all functions have one");
    }
  }

  void judge_locked_memory() {
    for (const LockedMemory& locked : report_.locked_memory) {
      if (locked.process.program != "libvirtd" && locked.process.program != "virtqemud") continue;
      add(Level::ok, "locked memory",
          fmt::format("{} may lock {}; it raises this for VMs with functions",
                      locked.process.program,
                      locked.limit ? rounded(*locked.limit) : "all memory"));
    }
  }

  void judge_shared_memory() {
    std::vector<std::string> free;
    Bytes used;
    for (const SharedMemory& file : report_.shared_memory) {
      if (!file.kept.empty()) continue;
      free.push_back(file.name);
      used += file.used;
    }
    if (free.empty()) return;
    add(Level::warning, "shared memory",
        fmt::format("nobody needs {} in /dev/shm, {} of memory", enumeration(free), rounded(used)),
        "ferry-host memory lists them, ferry-host memory --remove removes them");
  }

  const Report& report_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> judge(const Report& report) { return Judge(report).run(); }

std::string rounded(Bytes size) {
  constexpr std::array<std::string_view, 5> units = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(size.count());
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < units.size(); ++unit) value /= 1024;
  return fmt::format("{:.4g} {}", value, units.at(unit));
}

std::string enumeration(const std::vector<std::string>& names) {
  constexpr std::size_t most = 4;
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), most); ++i) {
    text += (i == 0 ? "" : ", ") + names[i];
  }
  return names.size() <= most ? text : fmt::format("{} and {} more", text, names.size() - most);
}

}  // namespace ferry::host
