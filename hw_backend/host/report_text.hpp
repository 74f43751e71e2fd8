// Reports for people.
#pragma once

#include <string>
#include <vector>

#include "hw_backend/host/report.hpp"

namespace ferry::host {

/// Functions and shared memory as tables, findings, and what would put them right.
[[nodiscard]] std::string report_text(const Report& report);
[[nodiscard]] std::string memory_text(const std::vector<SharedMemory>& files);

}  // namespace ferry::host
