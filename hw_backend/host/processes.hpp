// What processes hold of what Ferry gives to VMs, from /proc.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "hw_backend/host/report.hpp"
#include "hw_backend/host/tree.hpp"

namespace ferry::host {

struct MappedFile {
  std::string path;    ///< as the process has it; " (deleted)" behind it if the name is gone
  std::string device;  ///< of its file system as in /proc/PID/maps: 00:1b
  std::uint64_t inode = 0;
};

struct Process {
  User user;
  std::vector<std::string> opened;  ///< of /dev/vfio and /dev/shm
  std::vector<MappedFile> mapped;   ///< shared, or below /dev/shm
};

struct Processes {
  std::vector<Process> all;     ///< that hold something, or are libvirt's or QEMUs
  std::uint32_t concealed = 0;  ///< that cannot be looked into: other users'
};

/// Processes that end meanwhile are left out.
[[nodiscard]] Processes look_at_processes(const Tree& tree);

/// Limits of libvirt's daemons and QEMUs; of libvirt's they are what QEMUs begin with.
[[nodiscard]] std::vector<LockedMemory> locked_memory_of(const Tree& tree,
                                                         const Processes& processes);

/// "qemu-system-x86 (1234), guest hpc-07"
[[nodiscard]] std::string to_text(const User& user);

}  // namespace ferry::host
