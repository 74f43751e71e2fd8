// What hwloc tells of a host.
#include <fcntl.h>
#include <hwloc.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>

#include "hw_backend/host/machine.hpp"
#include "hw_backend/host/report_json.hpp"

namespace ferry::host {
namespace {

namespace fs = std::filesystem;

class Topology {
 public:
  explicit Topology(const Tree& tree) {
    // hwloc's own way to read the files of another system ("Environment variables" of its
    // documentation).
    if (!tree.is_system()) {
      setenv("HWLOC_FSROOT", tree.at("").c_str(), 1);
      setenv("HWLOC_COMPONENTS", "linux,stop", 1);  // what this machine's processor says is no use
    }
    setenv("HWLOC_HIDE_ERRORS", "2", 1);  // a sysfs that contradicts itself is told in findings
    made_ = hwloc_topology_init(&topology_) == 0;
    loaded_ = made_ && hwloc_topology_load(topology_) == 0;
  }
  ~Topology() {
    if (made_) hwloc_topology_destroy(topology_);
  }
  Topology(const Topology&) = delete;
  Topology& operator=(const Topology&) = delete;
  [[nodiscard]] bool is_loaded() const { return loaded_; }
  [[nodiscard]] hwloc_topology_t get() const { return topology_; }

  [[nodiscard]] std::uint32_t count_inside(hwloc_const_cpuset_t set, hwloc_obj_type_t type) const {
    const int count =
        set == nullptr ? 0 : hwloc_get_nbobjs_inside_cpuset_by_type(topology_, set, type);
    return count > 0 ? static_cast<std::uint32_t>(count) : 0;
  }
  [[nodiscard]] std::uint32_t package_of(hwloc_obj_t node) const {
    hwloc_obj_t package = nullptr;
    while ((package = hwloc_get_next_obj_by_type(topology_, HWLOC_OBJ_PACKAGE, package)) !=
           nullptr) {
      if (hwloc_bitmap_intersects(package->cpuset, node->cpuset) != 0)
        return package->logical_index;
    }
    return 0;
  }

 private:
  hwloc_topology_t topology_ = nullptr;
  bool made_ = false;
  bool loaded_ = false;
};

/// Folders `hugepages-2048kB` (Documentation/ABI/testing/sysfs-kernel-mm-hugepages).
std::vector<HugePages> huge_pages_in(const Tree& tree, const fs::path& folder) {
  constexpr std::string_view beginning = "hugepages-";
  std::vector<HugePages> all;
  for (const std::string& name : tree.names(folder)) {
    std::uint64_t kibibytes = 0;
    const char* const first = name.data() + std::min(name.size(), beginning.size());
    const char* const last = name.data() + name.size();
    const auto end = std::from_chars(first, last, kibibytes);
    const auto total = tree.number(folder / name / "nr_hugepages");
    const auto free = tree.number(folder / name / "free_hugepages");
    if (!name.starts_with(beginning) || end.ec != std::errc() || !total || !free) continue;
    if (std::string_view(end.ptr, static_cast<std::size_t>(last - end.ptr)) != "kB") continue;
    all.push_back({Bytes::kibi(kibibytes),
                   static_cast<std::uint64_t>(std::max<std::int64_t>(*total, 0)),
                   static_cast<std::uint64_t>(std::max<std::int64_t>(*free, 0))});
  }
  return all;
}

std::vector<NumaNode> nodes_of(const Tree& tree, const Topology& topology) {
  std::vector<NumaNode> nodes;
  hwloc_obj_t node = nullptr;
  while ((node = hwloc_get_next_obj_by_type(topology.get(), HWLOC_OBJ_NUMANODE, node)) != nullptr) {
    NumaNode found;
    found.node = node->os_index == HWLOC_UNKNOWN_INDEX ? 0 : node->os_index;
    found.package = topology.package_of(node);
    found.cores = topology.count_inside(node->cpuset, HWLOC_OBJ_CORE);
    found.processors = topology.count_inside(node->cpuset, HWLOC_OBJ_PU);
    found.memory = Bytes(node->attr->numanode.local_memory);
    const std::string name = "node" + std::to_string(found.node);
    found.huge_pages =
        huge_pages_in(tree, fs::path("sys/devices/system/node") / name / "hugepages");
    nodes.push_back(std::move(found));
  }
  return nodes;
}

constexpr unsigned patience_seconds = 20;

/// What the child does: the nodes as a report, or nothing.
[[noreturn]] void tell(const Tree& tree, int output) {
  alarm(patience_seconds);
  prctl(PR_SET_DUMPABLE, 0);
  const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  dup2(nowhere, STDERR_FILENO);
  const Topology topology(tree);
  if (!topology.is_loaded()) _exit(1);
  Report report;
  report.numa = nodes_of(tree, topology);
  const std::string text = to_json(report);
  for (std::size_t sent = 0; sent < text.size();) {
    const ssize_t some = write(output, text.data() + sent, text.size() - sent);
    if (some <= 0) _exit(1);
    sent += static_cast<std::size_t>(some);
  }
  _exit(0);
}

std::string read_all(int input) {
  std::string text;
  char piece[4096];
  for (;;) {
    const ssize_t got = read(input, piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(piece, static_cast<std::size_t>(got));
  }
}

}  // namespace

Layout look_at_layout(const Tree& tree) {
  if (!tree.has("sys/devices/system/cpu")) return {{}, "/sys/devices/system/cpu is not there"};
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0) return {{}, "no pipe can be made"};
  // hwloc ends the process that it is in where sysfs contradicts itself, so it gets one.
  const pid_t child = fork();
  if (child == 0) tell(tree, ends[1]);
  close(ends[1]);
  const std::string text = read_all(ends[0]);
  close(ends[0]);
  int status = 0;
  while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  const auto report = read_report(text);
  if (!report) return {{}, "hwloc cannot make sense of /sys/devices/system"};
  return {report->numa, ""};
}

}  // namespace ferry::host
