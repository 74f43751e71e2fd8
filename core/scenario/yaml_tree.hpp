// YAML text as a tree in which every key and value knows its place, and every scalar is the text
// that was written. The only place that uses yaml-cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/scenario/report.hpp"

namespace ferry {

struct YamlEntry;

struct YamlNode {
  enum class Type : std::uint8_t { null, scalar, list, map };

  Type type = Type::null;
  bool quoted = false;  ///< the scalar stood in quotation marks
  SourcePlace place;
  std::string text;                ///< of a scalar
  std::vector<YamlNode> items;     ///< of a list
  std::vector<YamlEntry> entries;  ///< of a map, in the order of the text

  [[nodiscard]] bool is_null() const { return type == Type::null; }
  [[nodiscard]] bool is_scalar() const { return type == Type::scalar; }
  [[nodiscard]] bool is_list() const { return type == Type::list; }
  [[nodiscard]] bool is_map() const { return type == Type::map; }
  /// The entry of a map, or nothing.
  [[nodiscard]] const YamlEntry* find(std::string_view key) const;
  [[nodiscard]] YamlEntry* find(std::string_view key);
};

struct YamlEntry {
  std::string key;
  SourcePlace key_place;
  YamlNode value;
};

/// "a list", "a mapping", "nothing", "the value 'x'": for messages.
std::string describe_node(const YamlNode& node);

/// One step of the path to a value: a key or an item's name, or an item's position.
struct PathStep {
  std::string_view key;  ///< empty: `index` counts
  std::size_t index = 0;
};

/// How the items of a list are called in paths: by `name` (or `id`), or else by position.
PathStep item_step(const YamlNode& item, std::size_t index);

/// `vms.vm.memory`
std::string to_path_text(const std::vector<PathStep>& steps);

/// A name that items can have: a letter, then letters, digits, `_` and `-`; 64 at most.
bool is_item_name(std::string_view text);
inline constexpr std::size_t longest_name = 64;

/// Limits that hold before and while a text is parsed.
inline constexpr std::size_t most_yaml_bytes = std::size_t{4} << 20U;
inline constexpr std::size_t most_yaml_depth = 32;
inline constexpr std::size_t most_yaml_nodes = 1'000'000;
/// Of these, what aliases repeat: a text of a few hundred bytes may not become a tree of a million.
inline constexpr std::size_t most_repeated_nodes = 100'000;

/// Parses one document. A text that is not YAML is reported and has no further errors: false.
/// Duplicate keys, odd keys and tags are reported as well, but leave a tree that can be read: true.
bool parse_yaml(std::string_view text, std::uint32_t source, YamlNode& root, Report& report);

/// One line of YAML that reads back as the same tree: `{uniform: [1GiB, 2GiB]}`.
std::string to_flow_text(const YamlNode& node);
/// A scalar as YAML text, in quotation marks where it needs them.
std::string to_scalar_text(std::string_view text);

}  // namespace ferry
