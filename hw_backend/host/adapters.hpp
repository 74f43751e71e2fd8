// Adapters of a host and their virtual functions, from sysfs and, where it lacks something, links.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hw_backend/host/links.hpp"
#include "hw_backend/host/processes.hpp"
#include "hw_backend/host/report.hpp"
#include "hw_backend/host/tree.hpp"

namespace ferry::host {

/// RDMA devices (but those of virtual functions) and PCI devices that can have virtual functions.
/// What cannot be understood is added to `findings`, and left out.
[[nodiscard]] std::vector<Adapter> look_at_adapters(const Tree& tree, Links& links,
                                                    const Processes& processes,
                                                    std::vector<Finding>& findings);

/// Whether a bridge keeps what is below it apart, by the first 4 KiB of its configuration space:
/// on, off, absent (no such capability), unknown (the space cannot be read as a whole).
[[nodiscard]] std::string access_control_of(std::string_view configuration);

/// The file of sysfs that a function's GUID at a port of a ConnectX-3 is set by, or "".
[[nodiscard]] std::string alias_guid_file(const Tree& tree, const std::string& rdma_device,
                                          const std::string& function, std::uint32_t port);
/// What such a file says.
[[nodiscard]] std::optional<std::uint64_t> alias_guid(const Tree& tree, const std::string& file);

/// Where mlx5's files about a function are.
[[nodiscard]] std::string mlx5_folder(const std::string& adapter, std::uint32_t index);
[[nodiscard]] std::string to_word(Policy policy);

}  // namespace ferry::host
