// Giving a virtual function its GUIDs and the policy of its link.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "hw_backend/host/links.hpp"
#include "hw_backend/host/report.hpp"
#include "hw_backend/host/tree.hpp"

namespace ferry::host {

struct FunctionSettings {
  std::optional<std::uint64_t> node_guid = std::nullopt;
  std::optional<std::uint64_t> port_guid = std::nullopt;
  std::optional<Policy> policy = std::nullopt;
  std::uint32_t port = 1;  ///< of the adapter; of ConnectX-3 alone, where one device has two
};

struct ChangedFunction {
  VirtualFunction before;
  VirtualFunction after;
};

/// Sets what `settings` have, each in turn, and reads it again. Refused, with nothing changed:
/// there is no such function, its adapter cannot do it, or a GUID would change while a process has
/// the function by VFIO. Failed: the driver refused, or says something else afterwards; what came
/// before in the order node GUID, port GUID, policy is set then.
[[nodiscard]] Result<ChangedFunction> change_function(const Tree& tree, Links& links,
                                                      const std::string& pci,
                                                      const FunctionSettings& settings);

}  // namespace ferry::host
