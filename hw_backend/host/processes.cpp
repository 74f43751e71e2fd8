#include "hw_backend/host/processes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>

namespace ferry::host {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view shared_memory = "/dev/shm/";

bool is_libvirts(std::string_view program) {
  return program == "libvirtd" || program == "virtqemud";
}
bool is_qemu(std::string_view program) { return program.starts_with("qemu"); }

/// The value of guest= in the arguments: libvirt starts its QEMUs with -name guest=NAME,...
std::string guest_of(std::string_view command) {
  constexpr std::string_view key = "guest=";
  const std::size_t at = command.find(key);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = command.substr(at + key.size());
  return std::string(rest.substr(0, rest.find_first_of(std::string_view(",\0", 2))));
}

/// A line of maps: address perms offset dev inode, and a path (proc_pid_maps(5)).
std::optional<MappedFile> mapped_file(const std::string& line) {
  std::istringstream in(line);
  std::string address;
  std::string permissions;
  std::string offset;
  MappedFile file;
  if (!(in >> address >> permissions >> offset >> file.device >> file.inode)) return std::nullopt;
  std::getline(in >> std::ws, file.path);
  const bool is_shared = permissions.size() == 4 && permissions[3] == 's' && file.inode != 0;
  if (!is_shared && !file.path.starts_with(shared_memory)) return std::nullopt;
  return file;
}

std::vector<MappedFile> mapped_files(const std::string& maps) {
  std::vector<MappedFile> files;
  std::istringstream lines(maps);
  for (std::string line; std::getline(lines, line);) {
    if (auto file = mapped_file(line)) files.push_back(std::move(*file));
  }
  return files;
}

/// False: it cannot be looked into, though it is there.
bool look(const Tree& tree, const fs::path& folder, Process& process) {
  const Result<std::string> maps = tree.text(folder / "maps");
  if (maps) process.mapped = mapped_files(*maps);
  std::error_code error;
  fs::directory_iterator each(tree.at(folder / "fd"), error);
  const bool is_concealed = error == std::errc::permission_denied;
  for (; !error && each != fs::directory_iterator(); each.increment(error)) {
    std::error_code ignored;
    const std::string path = fs::read_symlink(each->path(), ignored).string();
    if (path.starts_with("/dev/vfio/") || path.starts_with(shared_memory)) {
      process.opened.push_back(path);
    }
  }
  return !is_concealed;
}

}  // namespace

Processes look_at_processes(const Tree& tree) {
  Processes found;
  for (const std::string& name : tree.names("proc")) {
    Process process;
    const auto end = std::from_chars(name.data(), name.data() + name.size(), process.user.process);
    if (end.ec != std::errc() || end.ptr != name.data() + name.size()) continue;
    const fs::path folder = fs::path("proc") / name;
    process.user.program = tree.line_or_empty(folder / "comm");
    if (is_qemu(process.user.program)) {
      process.user.guest = guest_of(tree.text(folder / "cmdline").value_or(""));
    }
    if (!look(tree, folder, process)) ++found.concealed;
    if (!process.opened.empty() || !process.mapped.empty() || is_libvirts(process.user.program) ||
        is_qemu(process.user.program)) {
      found.all.push_back(std::move(process));
    }
  }
  return found;
}

std::vector<LockedMemory> locked_memory_of(const Tree& tree, const Processes& processes) {
  std::vector<LockedMemory> limits;
  for (const Process& process : processes.all) {
    const User& user = process.user;
    if (!is_libvirts(user.program) && !is_qemu(user.program)) continue;
    const std::string name = std::to_string(user.process);
    std::istringstream lines(tree.text(fs::path("proc") / name / "limits").value_or(""));
    constexpr std::string_view title = "Max locked memory";
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with(title)) continue;
      std::istringstream in(line.substr(title.size()));
      std::string soft;
      std::uint64_t count = 0;
      in >> soft;
      const auto end = std::from_chars(soft.data(), soft.data() + soft.size(), count);
      if (soft == "unlimited") {
        limits.push_back({user, std::nullopt});
      } else if (end.ec == std::errc() && end.ptr == soft.data() + soft.size()) {
        limits.push_back({user, Bytes(count)});
      }
    }
  }
  return limits;
}

std::string to_text(const User& user) {
  return fmt::format("{} ({}){}", user.program.empty() ? "a process" : user.program, user.process,
                     user.guest.empty() ? "" : ", guest " + user.guest);
}

}  // namespace ferry::host
