// Looks at a whole host.
#pragma once

#include "hw_backend/host/links.hpp"
#include "hw_backend/host/report.hpp"
#include "hw_backend/host/tree.hpp"

namespace ferry::host {

/// Touches nothing. Whatever is missing or garbled becomes a finding.
[[nodiscard]] Report look_at_host(const Tree& tree, Links& links);

}  // namespace ferry::host
