// The device by which QEMU gives a guest memory of its host.
#pragma once

#include <filesystem>
#include <string>

#include "core/ports/result.hpp"

namespace ferry::shm {

/// Red Hat's number and the device's (QEMU, docs/specs/ivshmem-spec.txt).
inline constexpr unsigned ivshmem_vendor = 0x1af4;
inline constexpr unsigned ivshmem_device = 0x1110;

/// The file of its memory (BAR 2), write-combining where the system offers that; empty: this
/// machine has no such device. `refused`: there are several, which are named, since nothing says
/// which one is meant. `devices` is sysfs's folder of PCI devices.
[[nodiscard]] Result<std::string> find_ivshmem_memory(
    const std::filesystem::path& devices = "/sys/bus/pci/devices");

}  // namespace ferry::shm
