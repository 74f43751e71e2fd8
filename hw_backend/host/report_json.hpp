// Reports as JSON: what `ferry-host report --json` writes and `ferry doctor` reads. REPORT.md says
// what the keys mean.
#pragma once

#include <string>
#include <string_view>

#include "core/ports/result.hpp"
#include "hw_backend/host/report.hpp"

namespace ferry::host {

/// Changes when a key changes its meaning or goes; new keys may come without.
inline constexpr int report_version = 1;

[[nodiscard]] std::string to_json(const Report& report);
/// Keys that it does not know are left out, all others must be there. `refused` names the first
/// thing that is wrong.
[[nodiscard]] Result<Report> read_report(std::string_view text);
/// The part `shared_memory` alone, as `ferry-host memory --json` writes it.
[[nodiscard]] std::string to_json(const std::vector<SharedMemory>& files);

}  // namespace ferry::host
