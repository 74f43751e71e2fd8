// Sysfs and procfs of a host, made in a folder after Linux's Documentation/ABI
// (stable/sysfs-class-infiniband, testing/sysfs-bus-pci, testing/sysfs-kernel-iommu_groups,
// testing/sysfs-kernel-mm-hugepages), proc(5), and MLNX_OFED's description of mlx5's `sriov`
// folder.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "hw_backend/host/tree.hpp"
#include "tests/scratch_folder.hpp"

namespace ferry::host {

class SystemPicture {
 public:
  [[nodiscard]] Tree tree() const { return Tree(root_); }
  [[nodiscard]] const std::filesystem::path& root() const { return root_; }

  void write(const std::filesystem::path& path, const std::string& text) const {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path, std::ios::binary) << text;
  }
  [[nodiscard]] std::string read(const std::filesystem::path& path) const {
    std::ifstream in(root_ / path);
    std::string line;
    std::getline(in, line);
    return line;
  }
  /// Relative, as those of sysfs; `to` need not be there yet.
  void link(const std::filesystem::path& path, const std::filesystem::path& to) const {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::filesystem::remove(root_ / path);
    std::filesystem::create_symlink(to.lexically_relative(path.parent_path()), root_ / path);
  }

  /// A PCI device, under a root port. Its folder is below /sys/devices.
  std::filesystem::path add_pci(const std::string& pci, const std::string& driver = "",
                                int group = -1) const {
    const std::filesystem::path folder =
        std::filesystem::path("sys/devices/pci0000:00/0000:00:02.0") / pci;
    write(folder / "class", "0x020700\n");
    write(folder / "numa_node", "1\n");
    link(std::filesystem::path("sys/bus/pci/devices") / pci, folder);
    if (!driver.empty()) {
      std::filesystem::create_directories(root_ / "sys/bus/pci/drivers" / driver);
      link(folder / "driver", std::filesystem::path("sys/bus/pci/drivers") / driver);
    }
    if (group >= 0) {
      const std::filesystem::path of_group =
          std::filesystem::path("sys/kernel/iommu_groups") / std::to_string(group);
      link(folder / "iommu_group", of_group);
      link(of_group / "devices" / pci, folder);
    }
    return folder;
  }

  /// The root port that they are all under, with ACS control 0x1d or off.
  void add_root_port(bool keeps_apart) const {
    const std::filesystem::path folder = "sys/devices/pci0000:00/0000:00:02.0";
    std::string configuration(4096, '\0');
    configuration.replace(0x100, 8, std::string("\x0d\x00\x01\x00\x1f\x00\x00\x00", 8));
    if (keeps_apart) configuration[0x106] = 0x1d;
    write(folder / "config", configuration);
    write(folder / "class", "0x060400\n");
    link("sys/bus/pci/devices/0000:00:02.0", folder);
  }

  void add_rdma_device(const std::string& name, const std::string& pci,
                       const std::string& link_layer = "InfiniBand") const {
    const std::filesystem::path folder = std::filesystem::path("sys/class/infiniband") / name;
    write(folder / "node_guid", "0002:c903:0010:0000\n");
    write(folder / "fw_ver", "20.31.1014\n");
    write(folder / "ports/1/state", "4: ACTIVE\n");
    write(folder / "ports/1/phys_state", "5: LinkUp\n");
    write(folder / "ports/1/link_layer", link_layer + "\n");
    write(folder / "ports/1/rate", "56 Gb/sec (4X FDR)\n");
    write(folder / "ports/1/lid", "0x1c\n");
    write(folder / "ports/1/sm_lid", "0x1\n");
    if (!pci.empty()) link(folder / "device", std::filesystem::path("sys/bus/pci/devices") / pci);
  }

  /// 0000:03:00.0 with functions .1 and so on, each alone in its IOMMU group 40, 41 ...
  void add_adapter(std::size_t functions, const std::string& interface = "ib0") const {
    add_root_port(true);
    const std::filesystem::path folder = add_pci("0000:03:00.0", "mlx5_core", 30);
    write(folder / "sriov_totalvfs", "16\n");
    write(folder / "sriov_numvfs", std::to_string(functions) + "\n");
    write(folder / "net" / interface / "dev_port", "0\n");
    for (std::size_t i = 0; i < functions; ++i) {
      const std::string pci = function(i);
      const auto of_function = add_pci(pci, "vfio-pci", static_cast<int>(40 + i));
      link(of_function / "physfn", folder);
      link(folder / ("virtfn" + std::to_string(i)), of_function);
    }
  }
  static std::string function(std::size_t index) {
    return "0000:03:00." + std::to_string(index + 1);
  }
  /// As MLNX_OFED's mlx5 has them.
  void add_mlx5_guids(std::size_t index, const std::string& node, const std::string& port,
                      const std::string& policy) const {
    const std::filesystem::path folder =
        std::filesystem::path("sys/devices/pci0000:00/0000:00:02.0/0000:03:00.0/sriov") /
        std::to_string(index);
    write(folder / "node", node + "\n");
    write(folder / "port", port + "\n");
    write(folder / "policy", policy + "\n");
  }
  /// As mlx4 has them: alias GUIDs by the index that a function has in the adapter's table.
  void add_mlx4_guid(std::size_t index, const std::string& guid) const {
    const std::filesystem::path folder = "sys/class/infiniband/mlx4_0/iov";
    const std::string entry = std::to_string(index + 1);
    write(folder / function(index) / "ports/1/gid_idx/0", entry + "\n");
    write(folder / "ports/1/admin_guids" / entry, guid + "\n");
  }

  /// A process; `maps` and `opened` as in /proc.
  void add_process(int id, const std::string& program, const std::string& command,
                   const std::string& maps = "",
                   const std::vector<std::string>& opened = {}) const {
    const std::filesystem::path folder = std::filesystem::path("proc") / std::to_string(id);
    write(folder / "comm", program + "\n");
    write(folder / "cmdline", command);
    write(folder / "maps", maps);
    write(folder / "limits",
          "Limit                     Soft Limit           Hard Limit           Units     \n"
          "Max locked memory         67108864             unlimited            bytes     \n");
    std::filesystem::create_directories(root_ / folder / "fd");
    for (std::size_t i = 0; i < opened.size(); ++i) {
      const auto name = root_ / folder / "fd" / std::to_string(i + 3);
      std::filesystem::remove(name);
      std::filesystem::create_symlink(opened[i], name);
    }
  }

  /// Two sockets with two cores each, a NUMA node each.
  void add_processors() const {
    const std::filesystem::path cpus = "sys/devices/system/cpu";
    write(cpus / "online", "0-3\n");
    write(cpus / "possible", "0-3\n");
    write(cpus / "present", "0-3\n");
    for (int cpu = 0; cpu < 4; ++cpu) {
      const std::filesystem::path topology = cpus / ("cpu" + std::to_string(cpu)) / "topology";
      const std::string package = std::to_string(cpu / 2);
      write(topology / "physical_package_id", package + "\n");
      write(topology / "core_id", std::to_string(cpu % 2) + "\n");
      write(topology / "package_cpus", cpu < 2 ? "3\n" : "c\n");
      write(topology / "core_siblings", cpu < 2 ? "3\n" : "c\n");
      write(topology / "core_cpus", std::string(1, "1248"[cpu]) + "\n");
      write(topology / "thread_siblings", std::string(1, "1248"[cpu]) + "\n");
    }
    const std::filesystem::path nodes = "sys/devices/system/node";
    write(nodes / "online", "0-1\n");
    for (int node = 0; node < 2; ++node) {
      const std::filesystem::path folder = nodes / ("node" + std::to_string(node));
      const std::string name = "Node " + std::to_string(node);
      write(folder / "cpumap", node == 0 ? "3\n" : "c\n");
      write(folder / "meminfo",
            name + " MemTotal:       16777216 kB\n" + name + " MemFree:        8388608 kB\n");
      write(folder / "distance", node == 0 ? "10 21\n" : "21 10\n");
      write(folder / "hugepages/hugepages-2048kB/nr_hugepages", "512\n");
      write(folder / "hugepages/hugepages-2048kB/free_hugepages", "100\n");
    }
  }

  /// A host that is ready, with everything that is looked at.
  void make_ready() const {
    write("proc/sys/kernel/hostname", "node01\n");
    write("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n");
    write("proc/cmdline", "root=/dev/sda1 intel_iommu=on iommu=pt quiet\n");
    write("sys/class/iommu/dmar0/address", "fed90000\n");
    write("sys/module/ib_core/parameters/netns_mode", "Y\n");
    add_processors();
    add_adapter(2);
    add_rdma_device("mlx5_0", "0000:03:00.0");
    add_mlx5_guids(0, "00:11:22:33:44:55:66:01", "00:11:22:33:44:55:66:81", "Follow");
    add_mlx5_guids(1, "00:11:22:33:44:55:66:02", "00:11:22:33:44:55:66:82", "Follow");
    add_process(100, "libvirtd", std::string("/usr/sbin/libvirtd\0--listen\0", 28));
  }

 private:
  ScratchFolder scratch_;
  const std::filesystem::path root_ = scratch_.path();
};

}  // namespace ferry::host
