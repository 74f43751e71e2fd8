#include "hw_backend/agent/holders.hpp"

#include <pwd.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <optional>
#include <set>
#include <system_error>

namespace ferry::agent {
namespace {

namespace fs = std::filesystem;

std::string line_of(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> all;
  std::error_code error;
  for (fs::directory_iterator each(folder, error); !error && each != fs::directory_iterator();
       each.increment(error)) {
    all.push_back(each->path());
  }
  return all;
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

/// Names of the network interfaces with this address.
std::set<std::string> interfaces_of(const fs::path& root, const std::string& mac) {
  std::set<std::string> names;
  for (const fs::path& interface : entries_of(root / "sys/class/net")) {
    if (lower(line_of(interface / "address")) == lower(mac)) names.insert(interface.filename());
  }
  return names;
}

/// Whether an RDMA device belongs to one of these interfaces: it is made of one (rxe's `parent`),
/// its GIDs are of one, or both are functions of one PCI device.
bool is_of(const fs::path& root, const fs::path& device, const std::set<std::string>& interfaces) {
  if (interfaces.count(line_of(device / "parent")) != 0) return true;
  for (const fs::path& port : entries_of(device / "ports")) {
    for (const fs::path& gid : entries_of(port / "gid_attrs/ndevs")) {
      if (interfaces.count(line_of(gid)) != 0) return true;
    }
  }
  for (const std::string& name : interfaces) {
    std::error_code error;
    const fs::path of_device = fs::canonical(device / "device", error);
    if (error) return false;
    const fs::path of_interface = fs::canonical(root / "sys/class/net" / name / "device", error);
    if (!error && of_device == of_interface) return true;
  }
  return false;
}

/// Paths of the character devices to look for, as processes see them.
std::set<std::string> device_files(const fs::path& root, const std::string& mac) {
  const std::set<std::string> interfaces = interfaces_of(root, mac);
  std::set<std::string> files;
  for (const fs::path& verbs : entries_of(root / "sys/class/infiniband_verbs")) {
    const std::string name = verbs.filename();
    if (name.rfind("uverbs", 0) != 0) continue;
    const fs::path device = root / "sys/class/infiniband" / line_of(verbs / "ibdev");
    if (mac.empty() || is_of(root, device, interfaces)) files.insert("/dev/infiniband/" + name);
  }
  return files;
}

/// The folders of IVShmem devices in sysfs (vendor 0x1af4, device 0x1110: QEMU's
/// docs/specs/ivshmem-spec).
std::set<std::string> ivshmem_folders(const fs::path& root) {
  std::set<std::string> folders;
  for (const fs::path& device : entries_of(root / "sys/bus/pci/devices")) {
    if (line_of(device / "vendor") != "0x1af4" || line_of(device / "device") != "0x1110") continue;
    std::error_code error;
    const fs::path real = fs::canonical(device, error);
    const fs::path top = fs::canonical(root, error);
    if (!error) folders.insert(("/" / real.lexically_relative(top) / "").string());
  }
  return folders;
}

std::optional<std::string> open_device(const fs::path& process,
                                       const std::set<std::string>& files) {
  for (const fs::path& descriptor : entries_of(process / "fd")) {
    std::error_code error;
    const std::string path = fs::read_symlink(descriptor, error).string();
    if (!error && files.count(path) != 0) return path;
  }
  return std::nullopt;
}

std::optional<std::string> mapped_memory(const fs::path& process,
                                         const std::set<std::string>& folders) {
  std::ifstream maps(process / "maps");
  for (std::string line; std::getline(maps, line);) {
    const std::size_t at = line.find('/');
    if (at == std::string::npos) continue;
    const std::string path = line.substr(at);
    for (const std::string& folder : folders) {
      if (path.rfind(folder, 0) == 0) return path;
    }
  }
  return std::nullopt;
}

std::string owner_of(const fs::path& process) {
  struct stat status {};
  if (stat(process.c_str(), &status) != 0) return {};
  const passwd* const user = getpwuid(status.st_uid);
  return user == nullptr ? std::to_string(status.st_uid) : user->pw_name;
}

}  // namespace

std::vector<Holder> find_holders(const fs::path& root, const std::string& mac) {
  const std::set<std::string> files = device_files(root, mac);
  const std::set<std::string> folders =
      mac.empty() ? ivshmem_folders(root) : std::set<std::string>();
  std::vector<Holder> holders;
  if (files.empty() && folders.empty()) return holders;
  for (const fs::path& process : entries_of(root / "proc")) {
    const std::string name = process.filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::optional<std::string> path = open_device(process, files);
    if (!path && !folders.empty()) path = mapped_memory(process, folders);
    if (!path) continue;
    holders.push_back({static_cast<std::uint32_t>(std::stoul(name)), line_of(process / "comm"),
                       owner_of(process), *path});
  }
  std::sort(holders.begin(), holders.end(),
            [](const Holder& a, const Holder& b) { return a.process < b.process; });
  return holders;
}

}  // namespace ferry::agent
