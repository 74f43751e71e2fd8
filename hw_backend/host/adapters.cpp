// Files: Documentation/ABI/stable/sysfs-class-infiniband, testing/sysfs-bus-pci and
// testing/sysfs-kernel-iommu_groups of Linux; mlx5's `sriov` folder: MLNX_OFED's documentation.
#include "hw_backend/host/adapters.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <map>

#include "hw_backend/host/guid.hpp"

namespace ferry::host {
namespace {

namespace fs = std::filesystem;
using Level = Finding::Level;

const fs::path pci_devices = "sys/bus/pci/devices";
const fs::path rdma_devices = "sys/class/infiniband";

/// Of a state of sysfs, `4: ACTIVE`, the word.
std::string word_of_state(const std::string& line) {
  const std::size_t colon = line.find(": ");
  return colon == std::string::npos ? line : line.substr(colon + 2);
}

std::optional<std::uint32_t> small_number(std::string_view text) {
  std::uint32_t number = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), number);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size()) return std::nullopt;
  return number;
}

class Look {
 public:
  Look(const Tree& tree, Links& links, const Processes& processes, std::vector<Finding>& findings)
      : tree_(tree), links_(links), processes_(processes), findings_(findings) {}

  std::vector<Adapter> run() {
    for (const std::string& name : tree_.names(rdma_devices)) add_rdma_device(name);
    for (const std::string& pci : tree_.names(pci_devices)) {
      if (!is_pci_address(pci) || !tree_.has(pci_devices / pci / "sriov_totalvfs")) continue;
      const bool is_known = std::ranges::any_of(
          adapters_, [&pci](const Adapter& adapter) { return adapter.pci == pci; });
      if (!is_known) adapters_.emplace_back().pci = pci;
    }
    for (Adapter& adapter : adapters_) {
      if (!adapter.pci.empty()) look_at_pci(adapter);
    }
    return std::move(adapters_);
  }

 private:
  /// A number that must be there and fit; 0 otherwise.
  std::uint32_t number(const std::string& subject, const fs::path& path) {
    const Result<std::int64_t> found = tree_.number(path);
    if (found && *found >= 0 && *found <= 0xffff'ffff) return static_cast<std::uint32_t>(*found);
    complain(subject,
             found ? fmt::format("/{} says {}", path.string(), *found) : found.error().reason);
    return 0;
  }
  void complain(const std::string& subject, const std::string& text) {
    findings_.push_back({Level::warning, subject, text,
                         "see whether the driver is loaded and well: dmesg names it"});
  }

  void add_rdma_device(const std::string& name) {
    const fs::path folder = rdma_devices / name;
    Adapter adapter;
    adapter.name = name;
    const std::string device = tree_.name_behind(folder / "device");
    if (is_pci_address(device)) adapter.pci = device;
    if (tree_.has(pci_devices / adapter.pci / "physfn") && !adapter.pci.empty()) return;
    adapter.firmware = tree_.line_or_empty(folder / "fw_ver");
    if (const auto guid = parse_guid(tree_.line_or_empty(folder / "node_guid"))) {
      adapter.node_guid = guid_text(*guid);
    }
    for (const std::string& port : tree_.names(folder / "ports")) add_port(adapter, port);
    if (adapter.ports.empty()) complain(name, "RDMA device " + name + " has no port");
    adapters_.push_back(std::move(adapter));
  }

  void add_port(Adapter& adapter, const std::string& name) {
    const fs::path folder = rdma_devices / adapter.name / "ports" / name;
    const std::string subject = adapter.name + ": port " + name;
    const auto index = small_number(name);
    if (!index) return complain(subject, fmt::format("'{}' is no number of a port", name));
    Port port;
    port.number = *index;
    const Result<std::string> state = tree_.line(folder / "state");
    if (!state) complain(subject, state.error().reason);
    port.state = word_of_state(state.value_or(""));
    port.physical_state = word_of_state(tree_.line_or_empty(folder / "phys_state"));
    port.link_layer = tree_.line_or_empty(folder / "link_layer");
    port.rate = tree_.line_or_empty(folder / "rate");
    port.lid = number(subject, folder / "lid");
    port.subnet_manager_lid = number(subject, folder / "sm_lid");
    adapter.ports.push_back(std::move(port));
  }

  void look_at_pci(Adapter& adapter) {
    const fs::path folder = pci_devices / adapter.pci;
    adapter.driver = tree_.name_behind(folder / "driver");
    adapter.interfaces = tree_.names(folder / "net");
    if (const auto node = tree_.number(folder / "numa_node"); !node) {
      if (tree_.has(folder / "numa_node")) complain(adapter.title(), node.error().reason);
    } else if (*node >= 0) {
      adapter.numa = static_cast<std::uint32_t>(*node);
    }
    if (!tree_.has(folder / "sriov_totalvfs")) return;
    adapter.functions_possible = number(adapter.title(), folder / "sriov_totalvfs");
    add_functions(adapter);
    look_at_bridges(adapter);
    const std::uint32_t made = number(adapter.title(), folder / "sriov_numvfs");
    if (made != adapter.functions.size()) {
      complain(adapter.title(),
               fmt::format("sriov_numvfs says {}, and {} virtual functions are there", made,
                           adapter.functions.size()));
    }
  }

  void add_functions(Adapter& adapter) {
    constexpr std::string_view link = "virtfn";
    const fs::path folder = pci_devices / adapter.pci;
    for (const std::string& name : tree_.names(folder)) {
      if (!name.starts_with(link)) continue;
      VirtualFunction function;
      const auto index = small_number(std::string_view(name).substr(link.size()));
      function.pci = tree_.name_behind(folder / name);
      if (!index || !is_pci_address(function.pci)) {
        complain(adapter.title(),
                 fmt::format("/{} leads to no PCI function", (folder / name).string()));
        continue;
      }
      function.index = *index;
      look_at_function(function);
      tell_guids(adapter, function);
      adapter.functions.push_back(std::move(function));
    }
    const bool is_untold = std::ranges::any_of(adapter.functions, [](const VirtualFunction& each) {
      return each.told_by == ToldBy::nobody;
    });
    if (is_untold) ask_links(adapter);
  }

  void look_at_function(VirtualFunction& function) {
    const fs::path folder = pci_devices / function.pci;
    function.driver = tree_.name_behind(folder / "driver");
    function.group = small_number(tree_.name_behind(folder / "iommu_group"));
    if (!function.group) return;
    const std::string group = std::to_string(*function.group);
    for (const std::string& peer : tree_.names("sys/kernel/iommu_groups/" + group + "/devices")) {
      const bool is_bridge =
          tree_.line_or_empty(pci_devices / peer / "class").starts_with("0x0604");
      if (peer != function.pci && !is_bridge) function.group_peers.push_back(peer);
    }
    std::vector<std::string> files = {"/dev/vfio/" + group};
    for (const std::string& name : tree_.names(folder / "vfio-dev")) {
      files.push_back("/dev/vfio/devices/" + name);
    }
    for (const Process& process : processes_.all) {
      for (const std::string& opened : process.opened) {
        if (std::ranges::count(files, opened) != 0) function.user = process.user;
      }
    }
  }

  void tell_guids(const Adapter& adapter, VirtualFunction& function) {
    if (const fs::path folder = mlx5_folder(adapter.pci, function.index); tree_.has(folder)) {
      function.told_by = ToldBy::mlx5_sysfs;
      function.node_guid = guid(adapter, folder / "node");
      function.port_guid = guid(adapter, folder / "port");
      function.policy = tree_.line_or_empty(folder / "policy");
      std::ranges::transform(function.policy, function.policy.begin(),
                             [](unsigned char c) { return std::tolower(c); });
      return;
    }
    const std::string alias = alias_guid_file(tree_, adapter.name, function.pci, 1);
    if (alias.empty()) return;
    function.told_by = ToldBy::mlx4_sysfs;
    if (const auto found = alias_guid(tree_, alias)) {
      function.port_guid = guid_text(*found);
    } else {
      complain(adapter.title(), fmt::format("/{} has no GUID", alias));
    }
  }

  std::string guid(const Adapter& adapter, const fs::path& path) {
    const Result<std::string> line = tree_.line(path);
    const auto found = line ? parse_guid(*line) : std::nullopt;
    if (found) return guid_text(*found);
    complain(adapter.title(),
             line ? fmt::format("/{} has no GUID", path.string()) : line.error().reason);
    return {};
  }

  void ask_links(Adapter& adapter) {
    for (const std::string& interface : adapter.interfaces) {
      const auto told = links_.functions_of(interface);
      if (!told) {
        complain(adapter.title(), told.error().reason);
        continue;
      }
      for (const LinkFunction& link : *told) {
        const auto function =
            std::ranges::find_if(adapter.functions, [&link](const VirtualFunction& each) {
              return each.index == link.index && each.told_by == ToldBy::nobody;
            });
        if (function == adapter.functions.end()) continue;
        function->told_by = ToldBy::netlink;
        if (link.node_guid) function->node_guid = guid_text(*link.node_guid);
        if (link.port_guid) function->port_guid = guid_text(*link.port_guid);
        if (link.policy) function->policy = to_word(*link.policy);
      }
    }
  }

  void look_at_bridges(Adapter& adapter) {
    std::error_code error;
    const fs::path real = fs::canonical(tree_.at(pci_devices / adapter.pci), error);
    if (error) return;
    for (const fs::path& part : real.parent_path()) {
      const std::string pci = part.string();
      if (!is_pci_address(pci)) continue;
      adapter.bridges.push_back(
          {pci, access_control_of(tree_.text(pci_devices / pci / "config").value_or(""))});
    }
  }

  const Tree& tree_;
  Links& links_;
  const Processes& processes_;
  std::vector<Finding>& findings_;
  std::vector<Adapter> adapters_;
};

}  // namespace

std::vector<Adapter> look_at_adapters(const Tree& tree, Links& links, const Processes& processes,
                                      std::vector<Finding>& findings) {
  return Look(tree, links, processes, findings).run();
}

std::string access_control_of(std::string_view configuration) {
  // PCI Express Base Specification, 7.7.8 (access control services); linux/pci_regs.h has the same.
  constexpr std::size_t first_capability = 0x100;
  constexpr std::size_t whole = 0x1000;
  constexpr std::uint32_t access_control = 0x000d;
  constexpr std::size_t control_register = 6;
  constexpr unsigned keeps_apart = 0x1 | 0x4 | 0x8 | 0x10;  // SV, RR, CR, UF: what VFIO asks for
  if (configuration.size() < whole) return "unknown";
  const auto word = [&](std::size_t at) {
    std::uint32_t value = 0;
    std::memcpy(&value, configuration.data() + at, sizeof value);
    return value;
  };
  std::size_t at = first_capability;
  for (std::size_t steps = 0; steps < whole / 8; ++steps) {
    if (at < first_capability || at + 8 > whole || at % 4 != 0) return "absent";
    const std::uint32_t header = word(at);
    if (header == 0 || header + 1 == 0) return "absent";
    if ((header & 0xffffU) == access_control) {
      const unsigned control = word(at + 4) >> 16U;
      static_assert(control_register == 4 + 2);
      return (control & keeps_apart) == keeps_apart ? "on" : "off";
    }
    at = header >> 20U;
  }
  return "absent";
}

std::string alias_guid_file(const Tree& tree, const std::string& rdma_device,
                            const std::string& function, std::uint32_t port) {
  if (rdma_device.empty()) return {};
  const fs::path folder = rdma_devices / rdma_device / "iov";
  const auto index =
      tree.number(folder / function / "ports" / std::to_string(port) / "gid_idx" / "0");
  if (!index) return {};
  return (folder / "ports" / std::to_string(port) / "admin_guids" / std::to_string(*index))
      .string();
}

std::optional<std::uint64_t> alias_guid(const Tree& tree, const std::string& file) {
  std::string digits = tree.line_or_empty(file);
  if (digits.empty()) return std::nullopt;
  // mlx4 writes no zeros in front.
  if (digits.size() < 16) digits.insert(0, 16 - digits.size(), '0');
  return parse_guid(digits);
}

std::string mlx5_folder(const std::string& adapter, std::uint32_t index) {
  return (pci_devices / adapter / "sriov" / std::to_string(index)).string();
}

std::string to_word(Policy policy) {
  switch (policy) {
    case Policy::follow: return "follow";
    case Policy::up: return "up";
    case Policy::down: return "down";
  }
  return {};
}

}  // namespace ferry::host
