#include "hw_backend/verbs/device_search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>
#include <regex>
#include <set>

#include "core/units/numerals.hpp"

namespace ferry::verbs {
namespace {

namespace fs = std::filesystem;

/// A file of sysfs in one line; none: it is not there or cannot be read, as entries of a GID table
/// that are not in use.
std::optional<std::string> line_of(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back())) != 0) {
    line.pop_back();
  }
  return line;
}

std::string hexadecimal_digits(std::string_view text) {
  std::string digits;
  for (const char each : text) {
    if (std::isxdigit(static_cast<unsigned char>(each)) != 0) {
      digits.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(each))));
    }
  }
  return digits;
}

/// Eight groups of four digits, as sysfs writes GIDs.
std::optional<Gid> gid_of(std::string_view text) {
  const std::string digits = hexadecimal_digits(text);
  if (digits.size() != 32) return std::nullopt;
  Gid gid{};
  for (std::size_t i = 0; i < gid.size(); ++i) {
    std::from_chars(digits.data() + 2 * i, digits.data() + 2 * i + 2, gid[i], 16);
  }
  return gid;
}

constexpr std::uint32_t longest_table = 256;
/// Tables are filled from their beginning; those of rxe have 1024 entries, and each is a file.
constexpr std::uint32_t most_unused_in_a_row = 16;

struct GidEntry {
  std::uint8_t index = 0;
  Gid gid{};
  std::string digits;
};

/// Those in use.
std::vector<GidEntry> gids_of(const fs::path& port) {
  std::vector<GidEntry> entries;
  std::uint32_t unused = 0;
  for (std::uint32_t i = 0; i < longest_table && unused < most_unused_in_a_row; ++i) {
    const auto text = line_of(port / "gids" / std::to_string(i));
    const auto gid = text ? gid_of(*text) : std::nullopt;
    ++unused;
    if (!gid || *gid == Gid{}) continue;
    unused = 0;
    entries.push_back({static_cast<std::uint8_t>(i), *gid, hexadecimal_digits(*text)});
  }
  return entries;
}

/// The last PCI function on the way to a device: virtio devices are below theirs.
std::string pci_address_of(const fs::path& device) {
  static const std::regex pattern("[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\\.[0-7]");
  std::error_code error;
  const fs::path real = fs::canonical(device, error);
  std::string found;
  for (const fs::path& part : real) {
    if (std::regex_match(part.string(), pattern)) found = part.string();
  }
  return found;
}

struct Device {
  std::string name;
  fs::path folder;
  std::string pci_address;
  std::set<std::string> guids;  ///< of the node, and of the port by its GIDs
  std::set<std::string> mac_addresses;
};

Device describe(const fs::path& folder, const fs::path& sysfs, std::uint8_t port) {
  Device device{folder.filename().string(), folder, pci_address_of(folder / "device"), {}, {}};
  std::set<std::string> nics;
  if (const auto parent = line_of(folder / "parent")) nics.insert(*parent);  // rxe, siw
  const fs::path port_folder = folder / "ports" / std::to_string(port);
  for (const GidEntry& entry : gids_of(port_folder)) {
    const auto nic = line_of(port_folder / "gid_attrs/ndevs" / std::to_string(entry.index));
    if (nic) nics.insert(*nic);
    device.guids.insert(entry.digits.substr(16));
  }
  for (const std::string& nic : nics) {
    const fs::path nic_folder = sysfs / "class/net" / nic;
    if (device.pci_address.empty()) device.pci_address = pci_address_of(nic_folder / "device");
    if (const auto mac = line_of(nic_folder / "address")) {
      device.mac_addresses.insert(hexadecimal_digits(*mac));
    }
  }
  if (const auto guid = line_of(folder / "node_guid")) {
    device.guids.insert(hexadecimal_digits(*guid));
  }
  return device;
}

/// Why `device` is not the one; empty: it is.
std::string mismatch(const Device& device, const DeviceChoice& choice) {
  if (!choice.name.empty() && choice.name != device.name) return "has another name";
  if (!choice.pci_address.empty() && choice.pci_address != device.pci_address) {
    return device.pci_address.empty() ? "is no PCI device"
                                      : fmt::format("is at {}", device.pci_address);
  }
  if (!choice.guid.empty() && !device.guids.contains(hexadecimal_digits(choice.guid))) {
    return "has other GUIDs";
  }
  if (!choice.mac_address.empty() &&
      !device.mac_addresses.contains(hexadecimal_digits(choice.mac_address))) {
    return "has other MAC addresses";
  }
  return "";
}

bool maps_ipv4(const Gid& gid) {
  static constexpr std::array<std::uint8_t, 12> prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return std::equal(prefix.begin(), prefix.end(), gid.begin());
}
bool is_link_local(const Gid& gid) { return gid[0] == 0xfe && (gid[1] & 0xc0U) == 0x80; }

/// As the header says; lower is better. None: not to be used.
std::optional<int> rank_of(const GidEntry& entry, const fs::path& port, LinkLayer layer) {
  if (layer == LinkLayer::infiniband) return 0;
  const auto type = line_of(port / "gid_attrs/types" / std::to_string(entry.index));
  if (!type) return std::nullopt;  // being added or removed
  const int kind = maps_ipv4(entry.gid) ? 0 : is_link_local(entry.gid) ? 2 : 1;
  return kind + (type == "RoCE v2" ? 0 : 3);
}

std::optional<GidEntry> best_gid(const fs::path& port, LinkLayer layer) {
  std::optional<GidEntry> best;
  std::optional<int> best_rank;
  for (const GidEntry& entry : gids_of(port)) {
    const std::optional<int> rank = rank_of(entry, port, layer);
    if (!rank || (best_rank && *rank >= *best_rank)) continue;
    best = entry;
    best_rank = rank;
  }
  return best;
}

constexpr std::uint16_t full_member = 0x8000;

struct PartitionKeys {
  std::optional<std::pair<std::uint16_t, std::uint16_t>> best;  ///< index and key
  std::string others;                                           ///< for people
};

/// Entries that are zero are not in use.
PartitionKeys partition_keys(const fs::path& port, std::optional<std::uint16_t> wanted) {
  PartitionKeys keys;
  for (std::uint32_t index = 0; index < longest_table; ++index) {
    const auto text = line_of(port / "pkeys" / std::to_string(index));
    if (!text) break;
    const auto number = number_of<std::uint32_t>(*text);
    if (!number || (*number & 0x7fffU) == 0) continue;
    const auto key = static_cast<std::uint16_t>(*number);
    const bool right = wanted ? key == *wanted : (key & full_member) != 0;
    if (right) {
      keys.best = std::pair(static_cast<std::uint16_t>(index), key);
      break;
    }
    keys.others += fmt::format("{}{:#06x}", keys.others.empty() ? "" : ", ", key);
  }
  return keys;
}

Result<UsablePort> look_at_port(const Device& device, const DeviceChoice& choice) {
  const auto not_yet = [&](const std::string& what) {
    return failure(FailureKind::failed,
                   fmt::format("port {} of RDMA device {} {}", choice.port, device.name, what));
  };
  const fs::path port = device.folder / "ports" / std::to_string(choice.port);
  const auto state = line_of(port / "state");
  if (!state) return not_yet("does not exist");
  if (!state->ends_with("ACTIVE")) {
    return not_yet(fmt::format(
        "is not ACTIVE but '{}': look at its link, and on InfiniBand whether a subnet manager runs",
        *state));
  }
  UsablePort usable;
  usable.device = device.name;
  usable.port = choice.port;
  usable.link_layer =
      line_of(port / "link_layer") == "Ethernet" ? LinkLayer::ethernet : LinkLayer::infiniband;
  const std::optional<GidEntry> gid = best_gid(port, usable.link_layer);
  if (!gid) {
    return not_yet(usable.link_layer == LinkLayer::ethernet
                       ? "has no GID: give its NIC an address"
                       : "has no GID: its virtual function may have no GUID yet");
  }
  usable.gid = gid->gid;
  usable.gid_index = gid->index;
  usable.lid = static_cast<std::uint16_t>(
      number_of<std::uint32_t>(line_of(port / "lid").value_or("0")).value_or(0));
  if (usable.link_layer == LinkLayer::infiniband && usable.lid == 0) {
    return not_yet("has no LID: no subnet manager has been there");
  }
  const PartitionKeys keys = partition_keys(port, choice.partition_key);
  if (!keys.best) {
    return not_yet(fmt::format("has no partition key {}{}",
                               choice.partition_key ? fmt::format("{:#06x}", *choice.partition_key)
                                                    : "with full membership",
                               keys.others.empty() ? "" : fmt::format(" (but {})", keys.others)));
  }
  usable.partition_key_index = keys.best->first;
  usable.partition_key = keys.best->second;
  return usable;
}

}  // namespace

Result<DeviceChoice> parse_device_choice(std::string_view text) {
  DeviceChoice choice;
  if (text == "any") return choice;
  const auto refuse = [&](std::string_view word, std::string_view why) {
    return failure(FailureKind::refused,
                   fmt::format("RDMA device '{}': '{}' {}; right are 'any', or name=, pci=, guid=, "
                               "mac=, port= and pkey= joined by commas",
                               text, word, why));
  };
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view word = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), word.size() + 1));
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos || equals + 1 == word.size()) {
      return refuse(word, "has no value");
    }
    const std::string_view key = word.substr(0, equals);
    const std::string value(word.substr(equals + 1));
    if (key == "name") {
      choice.name = value;
    } else if (key == "pci") {
      choice.pci_address = value;
    } else if (key == "guid") {
      if (hexadecimal_digits(value).size() != 16) return refuse(word, "has not 16 digits");
      choice.guid = value;
    } else if (key == "mac") {
      if (hexadecimal_digits(value).size() != 12) return refuse(word, "has not 12 digits");
      choice.mac_address = value;
    } else if (key == "port") {
      const auto port = number_of<std::uint32_t>(value);
      if (!port || *port == 0 || *port > 255) return refuse(word, "is no port");
      choice.port = static_cast<std::uint8_t>(*port);
    } else if (key == "pkey") {
      const auto partition = number_of<std::uint32_t>(value);
      if (!partition || *partition > 0xffff) return refuse(word, "is no partition key");
      choice.partition_key = static_cast<std::uint16_t>(*partition);
    } else {
      return refuse(word, "is not known");
    }
  }
  if (text.empty()) return refuse("", "says nothing");
  return choice;
}

std::string to_text(const DeviceChoice& choice) {
  std::string text;
  const auto add = [&text](std::string_view key, const std::string& value) {
    if (!value.empty()) text += fmt::format("{}{}={}", text.empty() ? "" : ",", key, value);
  };
  add("name", choice.name);
  add("pci", choice.pci_address);
  add("guid", choice.guid);
  add("mac", choice.mac_address);
  if (choice.port != 1) add("port", std::to_string(choice.port));
  if (choice.partition_key) add("pkey", fmt::format("{:#06x}", *choice.partition_key));
  return text.empty() ? "any" : text;
}

Result<UsablePort> find_usable_port(const DeviceChoice& choice, const fs::path& sysfs) {
  std::set<fs::path> folders;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(sysfs / "class/infiniband", error)) {
    folders.insert(entry.path());
  }
  std::string others;
  std::optional<Failure> not_yet;
  for (const fs::path& folder : folders) {
    const Device device = describe(folder, sysfs, choice.port);
    const std::string why = mismatch(device, choice);
    if (!why.empty()) {
      others += fmt::format("{}{} {}", others.empty() ? "" : ", ", device.name, why);
      continue;
    }
    Result<UsablePort> usable = look_at_port(device, choice);
    if (usable) return usable;
    if (!not_yet) not_yet = usable.error();
  }
  if (not_yet) return tl::unexpected(*not_yet);
  return failure(FailureKind::refused,
                 fmt::format("there is no RDMA device '{}' here: {}", to_text(choice),
                             others.empty() ? "there is none at all" : others));
}

}  // namespace ferry::verbs
