// What a description by hwloc says.
#include <hwloc.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "core/scenario/host_layout.hpp"
#include "core/scenario/limits.hpp"

namespace ferry {
namespace {

/// Without attributes, in round brackets, and memory beside the tree, in square ones.
std::string levels_of(std::string_view description) {
  std::string levels;
  int depth = 0;
  for (const char c : description) {
    if (c == '(' || c == '[') ++depth;
    if (depth == 0) levels += c;
    if (c == ')' || c == ']') --depth;
  }
  return levels;
}

/// Whether the description asks for few enough objects: hwloc would make all of them before it
/// could be asked how many they are. False too if a level is not `type:number`.
bool is_of_bounded_size(std::string_view description) {
  constexpr std::uint64_t most = std::uint64_t{limits::cores} * 16;
  const std::string levels = levels_of(description);
  std::uint64_t size = 1;
  for (std::string_view left = levels; !left.empty();) {
    const std::string_view level = left.substr(0, left.find(' '));
    left.remove_prefix(std::min(left.size(), level.size() + 1));
    if (level.empty()) continue;
    const std::size_t colon = level.find(':');
    if (colon == std::string_view::npos) return false;
    size *= count_of(level.substr(colon + 1), limits::cores);
    if (size == 0 || size > most) return false;
  }
  return true;
}

class SyntheticMachine {
 public:
  explicit SyntheticMachine(const std::string& description) {
    if (hwloc_topology_init(&topology_) != 0) return;
    made_ = true;
    loaded_ = hwloc_topology_set_synthetic(topology_, description.c_str()) == 0 &&
              hwloc_topology_load(topology_) == 0;
  }
  ~SyntheticMachine() {
    if (made_) hwloc_topology_destroy(topology_);
  }
  SyntheticMachine(const SyntheticMachine&) = delete;
  SyntheticMachine& operator=(const SyntheticMachine&) = delete;

  [[nodiscard]] bool is_loaded() const { return loaded_; }
  [[nodiscard]] std::uint32_t count(hwloc_obj_type_t type) const {
    const int objects = hwloc_get_nbobjs_by_type(topology_, type);
    return objects > 0 ? static_cast<std::uint32_t>(objects) : 0;
  }

 private:
  hwloc_topology_t topology_ = nullptr;
  bool made_ = false;
  bool loaded_ = false;
};

}  // namespace

std::optional<Sockets> sockets_of_description(std::string_view text) {
  if (!is_of_bounded_size(text)) return std::nullopt;
  const SyntheticMachine machine{std::string(text)};
  if (!machine.is_loaded()) return std::nullopt;
  std::uint32_t sockets = machine.count(HWLOC_OBJ_PACKAGE);
  if (sockets == 0) sockets = machine.count(HWLOC_OBJ_NUMANODE);
  std::uint32_t cores = machine.count(HWLOC_OBJ_CORE);
  if (cores == 0) cores = machine.count(HWLOC_OBJ_PU);
  if (sockets == 0 || sockets > limits::sockets || cores == 0 || cores > limits::cores ||
      cores % sockets != 0) {
    return std::nullopt;
  }
  return Sockets{sockets, cores / sockets};
}

}  // namespace ferry
