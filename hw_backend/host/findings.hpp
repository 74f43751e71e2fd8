// What a host's report means for moving VMs with virtual functions, and what would help. Pure.
#pragma once

#include <vector>

#include "hw_backend/host/report.hpp"

namespace ferry::host {

/// Of a report without findings (which are not looked at). About GUIDs only where a port is
/// InfiniBand: RoCE makes them of MAC addresses.
[[nodiscard]] std::vector<Finding> judge(const Report& report);

/// As people say sizes: 1.5 GiB.
[[nodiscard]] std::string rounded(Bytes size);
/// "0000:03:00.1, 0000:03:00.2 and 5 more"
[[nodiscard]] std::string enumeration(const std::vector<std::string>& names);

}  // namespace ferry::host
