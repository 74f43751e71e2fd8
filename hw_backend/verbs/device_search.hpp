// Finding an RDMA device and what its port is called in the network, from sysfs.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/ports/result.hpp"

namespace ferry::verbs {

/// Which device: one that fits all that is said. Nothing said: any. Names change when a device
/// comes back; the others stay as long as whoever gives the device out leaves them.
struct DeviceChoice {
  std::string name;         ///< rxe0
  std::string pci_address;  ///< 0000:03:00.1, of the device or of its NIC
  std::string guid;  ///< of the node or the port, 16 hexadecimal digits with or without colons
  std::string mac_address;  ///< of the NIC: 52:54:00:12:34:56
  std::uint8_t port = 1;
  std::optional<std::uint16_t> partition_key;  ///< none: the first one with full membership
  bool operator==(const DeviceChoice&) const = default;
};
/// `any`, or words joined by commas: `name=rxe0`, `pci=0000:03:00.1`, `guid=...`, `mac=...`,
/// `port=1`, `pkey=0x8001`. `refused` says which words there are.
[[nodiscard]] Result<DeviceChoice> parse_device_choice(std::string_view text);
[[nodiscard]] std::string to_text(const DeviceChoice& choice);

using Gid = std::array<std::uint8_t, 16>;
enum class LinkLayer : std::uint8_t { infiniband, ethernet };

/// A port that can carry connections.
struct UsablePort {
  std::string device;  ///< its name now
  LinkLayer link_layer = LinkLayer::infiniband;
  std::uint8_t port = 1;
  Gid gid{};
  std::uint8_t gid_index = 0;
  std::uint16_t lid = 0;  ///< InfiniBand only
  std::uint16_t partition_key_index = 0;
  std::uint16_t partition_key = 0;
};

/// `refused` if no device fits (the reason lists each one and why it does not), `failed` if one
/// does and its port cannot carry anything yet: it is not ACTIVE, has no GID, no LID or no
/// partition key.
///
/// RoCE: of the GIDs of version 2 the first that maps an IPv4 address, else the first that is not
/// link-local, else any; version 1 only if there is none. InfiniBand: the first.
[[nodiscard]] Result<UsablePort> find_usable_port(const DeviceChoice& choice,
                                                  const std::filesystem::path& sysfs = "/sys");

}  // namespace ferry::verbs
