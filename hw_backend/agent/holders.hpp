// Which processes of a guest have a device open.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "hw_backend/agent/messages.hpp"

namespace ferry::agent {

/// Those that have a uverbs device of the NIC with this address open, or of any for an empty one,
/// or have memory of an IVShmem device mapped (for an empty address). `root` stands for `/`: where
/// `sys` and `proc` are. Ascending by process. What cannot be looked at (processes that end) is
/// left out.
[[nodiscard]] std::vector<Holder> find_holders(const std::filesystem::path& root,
                                               const std::string& mac);

}  // namespace ferry::agent
