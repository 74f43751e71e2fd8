// What this machine is called, and as which address other ranks reach it beside their messages.
#pragma once

#include <filesystem>
#include <string>

namespace ferry::ranks {

/// The IPv4 address of the first interface that is up and does not belong to an RDMA device, which
/// goes away when the machine moves; if there is none, of one that does; else the loopback's.
[[nodiscard]] std::string machine_address(const std::filesystem::path& sysfs = "/sys");

/// "unknown" if it has none.
[[nodiscard]] std::string machine_name();

}  // namespace ferry::ranks
