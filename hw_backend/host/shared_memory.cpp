#include "hw_backend/host/shared_memory.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "hw_backend/host/open_file.hpp"
#include "hw_backend/shm/layout.hpp"

namespace ferry::host {
namespace {

namespace fs = std::filesystem;

const fs::path folder = "dev/shm";

/// Where libvirt's daemons keep the state of running domains, of the system's and of users'.
std::vector<fs::path> folders_of_running(const Tree& tree) {
  std::vector<fs::path> folders = {"run/libvirt/qemu"};
  for (const std::string& user : tree.names("run/user")) {
    folders.push_back(fs::path("run/user") / user / "libvirt/qemu/run");
  }
  return folders;
}

struct Domains {
  std::map<std::string, std::string> xml;  ///< by name
  std::string unreadable;                  ///< why they are not known; empty: they are
};

Domains domains_in(const Tree& tree, const std::vector<fs::path>& folders) {
  Domains domains;
  for (const fs::path& each : folders) {
    std::error_code error;
    const fs::directory_iterator opened(tree.at(each), error);
    if (error && error != std::errc::no_such_file_or_directory) {
      domains.unreadable = fmt::format("/{} cannot be read: {}", each.string(), error.message());
    }
    for (const std::string& name : tree.names(each)) {
      if (fs::path(name).extension() != ".xml") continue;
      Result<std::string> text = tree.text(each / name);
      if (text) {
        domains.xml[fs::path(name).stem()] = std::move(*text);
      } else if (text.error().kind != FailureKind::refused) {  // it may have ended
        domains.unreadable = text.error().reason;
      }
    }
  }
  return domains;
}

std::string escaped(std::string_view name, char quote) {
  std::string text;
  for (const char c : name) {
    if (c == '&') {
      text += "&amp;";
    } else if (c == '<') {
      text += "&lt;";
    } else if (c == '>') {
      text += "&gt;";
    } else if (c == quote) {
      text += c == '"' ? "&quot;" : "&apos;";
    } else {
      text += c;
    }
  }
  return text;
}

/// Whether it has `<shmem name='NAME'`, with whatever else in the element's start.
bool has_shmem(const std::string& xml, const std::string& name) {
  constexpr std::string_view element = "<shmem";
  for (std::size_t at = xml.find(element); at != std::string::npos;
       at = xml.find(element, at + element.size())) {
    const std::string start = xml.substr(at, xml.find('>', at) - at);
    for (const char quote : {'\'', '"'}) {
      const std::string attribute = std::string(" name=") + quote + escaped(name, quote) + quote;
      if (start.find(attribute) != std::string::npos) return true;
    }
  }
  return false;
}

/// More than `has_shmem`: in case of doubt it is named.
bool mentions(const std::string& xml, const std::string& name) {
  for (const char quote : {'\'', '"'}) {
    const std::string value = quote + escaped(name, quote) + quote;
    if (xml.find(value) != std::string::npos) return true;
    if (xml.find("/dev/shm/" + escaped(name, quote) + quote) != std::string::npos) return true;
  }
  return false;
}

std::vector<std::string> naming(const Domains& domains, const std::string& name,
                                bool (*test)(const std::string&, const std::string&)) {
  std::vector<std::string> found;
  for (const auto& [domain, xml] : domains.xml) {
    if (test(xml, name)) found.push_back(domain);
  }
  return found;
}

struct Facts {
  dev_t device = 0;
  ino_t inode = 0;
};

bool holds(const Process& process, const std::string& path, const Facts& facts) {
  const std::string device = fmt::format("{:02x}:{:02x}", major(facts.device), minor(facts.device));
  for (const MappedFile& mapped : process.mapped) {
    if (mapped.path == path) return true;
    if (mapped.inode == facts.inode && mapped.device == device) return true;
  }
  return std::ranges::count(process.opened, path) != 0;
}

std::string kept(const SharedMemory& file, const Processes& processes, const Domains& running) {
  if (!file.users.empty()) {
    std::vector<std::string> users;
    for (const User& user : file.users) users.push_back(to_text(user));
    return fmt::format("{} {} it", fmt::join(users, ", "), users.size() == 1 ? "has" : "have");
  }
  if (!file.running_domains.empty()) {
    return fmt::format("running domain {} names it", fmt::join(file.running_domains, ", "));
  }
  if (!running.unreadable.empty()) return "which domains run is not known: " + running.unreadable;
  if (processes.concealed > 0) {
    return fmt::format("{} processes of other users cannot be looked into; root can",
                       processes.concealed);
  }
  return {};
}

bool is_layout(const Tree& tree, const std::string& name) {
  const int file =
      open(tree.at(folder / name).c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) return false;
  std::uint64_t first = 0;
  const bool is_read = pread(file, &first, sizeof first, 0) == sizeof first;
  close(file);
  return is_read && shm::is_region_of_any_version(first);
}

bool is_same(int file, const fs::path& path) {
  struct stat opened {};
  struct stat named {};
  return fstat(file, &opened) == 0 && lstat(path.c_str(), &named) == 0 &&
         opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

tl::unexpected<Failure> stays(const std::string& why) { return failure(FailureKind::refused, why); }
std::string system_says() { return std::strerror(errno); }

}  // namespace

std::vector<SharedMemory> look_at_shared_memory(const Tree& tree, const Processes& processes,
                                                const std::vector<std::string>& named) {
  const Domains running = domains_in(tree, folders_of_running(tree));
  const Domains defined = domains_in(tree, {"etc/libvirt/qemu"});
  std::vector<SharedMemory> files;
  for (const std::string& name : tree.names(folder)) {
    struct stat facts {};
    if (lstat(tree.at(folder / name).c_str(), &facts) != 0 || !S_ISREG(facts.st_mode)) continue;
    SharedMemory file;
    file.name = name;
    file.ferry = is_layout(tree, name);
    file.defined_domains = naming(defined, name, has_shmem);
    const bool is_of_domain =
        !file.defined_domains.empty() || !naming(running, name, has_shmem).empty();
    if (!file.ferry && !is_of_domain && std::ranges::count(named, name) == 0) continue;
    file.running_domains = naming(running, name, mentions);
    file.size = Bytes(static_cast<std::uint64_t>(facts.st_size));
    file.used = Bytes(static_cast<std::uint64_t>(facts.st_blocks) * 512);
    for (const Process& process : processes.all) {
      if (holds(process, "/dev/shm/" + name, {facts.st_dev, facts.st_ino})) {
        file.users.push_back(process.user);
      }
    }
    file.kept = kept(file, processes, running);
    files.push_back(std::move(file));
  }
  return files;
}

Result<> remove_shared_memory(const Tree& tree, const SharedMemory& file) {
  const fs::path path = tree.at(folder / file.name);
  if (!file.kept.empty()) return stays(file.kept);
  signal(SIGIO, SIG_IGN);  // what the kernel says when somebody opens it meanwhile
  const OpenFile opened(open(path.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (opened.number() < 0) return stays("it cannot be opened: " + system_says());
  if (fcntl(opened.number(), F_SETLEASE, F_WRLCK) != 0) {
    return stays(errno == EAGAIN ? "a process that this one does not see has it"
                                 : "whether somebody has it cannot be known: " + system_says());
  }
  const Domains running = domains_in(tree, folders_of_running(tree));
  const std::vector<std::string> domains = naming(running, file.name, mentions);
  if (!domains.empty() || !running.unreadable.empty()) {
    return stays(domains.empty() ? running.unreadable
                                 : "a domain that began meanwhile names it: " + domains.front());
  }
  // Under another name nobody can begin to open it. Who had begun is seen at the lease.
  const fs::path aside = tree.at(folder / fmt::format(".ferry-host-{}", getpid()));
  if (renameat2(AT_FDCWD, path.c_str(), AT_FDCWD, aside.c_str(), RENAME_NOREPLACE) != 0) {
    return stays("it cannot be renamed: " + system_says());
  }
  if (fcntl(opened.number(), F_GETLEASE) != F_WRLCK || !is_same(opened.number(), aside)) {
    if (renameat2(AT_FDCWD, aside.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) != 0) {
      return stays(
          fmt::format("a process opened it meanwhile, and it cannot be named again ({}): "
                      "it is {} now",
                      system_says(), aside.filename().string()));
    }
    return stays("a process opened it meanwhile");
  }
  if (unlink(aside.c_str()) != 0) return stays("it cannot be removed: " + system_says());
  return {};
}

}  // namespace ferry::host
