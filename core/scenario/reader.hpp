// The visitor that reads: a YAML tree into structs, by their descriptions, with every error
// reported.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/scenario/cluster_file.hpp"
#include "core/scenario/describe_values.hpp"
#include "core/scenario/report.hpp"
#include "core/scenario/yaml_tree.hpp"

namespace ferry {

class StructReader;

/// Reads single values; keeps the path to where it is and the constants it met.
class Reader {
 public:
  explicit Reader(Report& report) : report_(report) {}
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  /// Reports a problem of the value at the present path.
  void problem(Problem problem, const YamlNode& node, std::string message);
  void problem(Problem problem, SourcePlace place, std::string message);
  [[nodiscard]] Report& report() { return report_; }
  [[nodiscard]] std::vector<SourcedConstant> take_constants() { return std::move(constants_); }
  /// Quantities written without a source are collected too, as `unstated` (inside a platform).
  void collect_all(bool all) { collect_all_ = all; }

  /// Makes `step` the last step of the path while it lives.
  class At {
   public:
    At(Reader& reader, PathStep step) : reader_(reader) { reader_.path_.push_back(step); }
    ~At() { reader_.path_.pop_back(); }
    At(const At&) = delete;
    At& operator=(const At&) = delete;

   private:
    Reader& reader_;
  };

  // One overload for each kind of value. A value that breaks its rule is reported and the member
  // keeps what it had.
  void read(const YamlNode& node, std::uint32_t& out, Between<std::uint32_t> rule);
  void read(const YamlNode& node, std::uint64_t& out, Between<std::uint64_t> rule);
  void read(const YamlNode& node, Duration& out, Between<Duration> rule);
  void read(const YamlNode& node, Bytes& out, Between<Bytes> rule);
  void read(const YamlNode& node, Bandwidth& out, Between<Bandwidth> rule);
  void read(const YamlNode& node, Ratio& out, Between<Ratio> rule);
  void read(const YamlNode& node, Varying<Duration>& out, Between<Duration> rule);
  void read(const YamlNode& node, Varying<Bytes>& out, Between<Bytes> rule);
  void read(const YamlNode& node, Varying<Bandwidth>& out, Between<Bandwidth> rule);
  void read(const YamlNode& node, Bandwidth& out, SpeedOrNone rule);
  void read(const YamlNode& node, Limit& out, CountOrUnlimited rule);
  void read(const YamlNode& node, std::string& out, ItemName rule);
  void read(const YamlNode& node, std::string& out, TitleName rule);
  void read(const YamlNode& node, std::string& out, FreeText rule);
  void read(const YamlNode& node, std::string& out, OneOf rule);
  void read(const YamlNode& node, Reference& out, HostNames rule);
  void read(const YamlNode& node, Reference& out, VmNames rule);
  void read(const YamlNode& node, std::optional<Reference>& out, HostNamesOrAny rule);
  void read(const YamlNode& node, std::optional<Reference>& out, HostNames rule);
  void read(const YamlNode& node, std::vector<Reference>& out, VmLists rule);
  void read(const YamlNode& node, StartTime& out, TimeOrNever rule);
  void read(const YamlNode& node, bool& out, YesOrNo rule);
  void read(const YamlNode& node, NetworkTopology& out);
  void read(const YamlNode& node, Traffic& out, TrafficWords rule);
  void read(const YamlNode& node, Sockets& out, SocketsByCores rule);
  void read(const YamlNode& node, SocketChoice& out, SocketOrAny rule);
  void read(const YamlNode& node, EagerThreshold& out, SizeOrAuto rule);
  void read(const YamlNode& node, std::optional<Bytes>& out, MaybeSize rule);
  void read(const YamlNode& node, std::string& out, LibvirtUri rule);
  void read(const YamlNode& node, std::string& out, MigrationUri rule);
  void read(const YamlNode& node, PciFunctions& out, PciNames rule);
  void read(const YamlNode& node, std::string& out, DeviceAlias rule);
  void read(const YamlNode& node, std::string& out, AbsolutePath rule);
  void read(const YamlNode& node, std::optional<std::uint32_t>& out, MaybeNumber rule);
  void read(const YamlNode& node, std::vector<Bytes>& out, SizeList rule);
  template <class Enum>
  requires std::is_enum_v<Enum>
  void read(const YamlNode& node, Enum& out, Word /*rule*/) {
    const std::optional<std::size_t> index =
        word(node, EnumWords<Enum>::words, EnumWords<Enum>::unsupported);
    if (index) out = static_cast<Enum>(*index);
  }
  template <class Enum>
  void read(const YamlNode& node, std::vector<Enum>& out, Words rule) {
    const std::vector<std::size_t> found =
        words(node, EnumWords<Enum>::words, EnumWords<Enum>::unsupported, rule.least);
    out.clear();
    for (const std::size_t index : found) out.push_back(static_cast<Enum>(index));
  }
  template <class Struct>
  void read(const YamlNode& node, Struct& out, Mapping /*rule*/);

  // Texts that say what would be right, for the message about a missing key.
  template <class T, class Rule>
  [[nodiscard]] std::string example(const T& /*member*/, const Rule& /*rule*/) const {
    if constexpr (std::is_same_v<Rule, Between<Duration>> || std::is_same_v<Rule, TimeOrNever>) {
      return "300ms";
    } else if constexpr (std::is_same_v<Rule, Between<Bytes>>) {
      return "4GiB";
    } else if constexpr (std::is_same_v<Rule, Between<Bandwidth>>) {
      return "10Gbps";
    } else if constexpr (std::is_same_v<Rule, Between<Ratio>>) {
      return "20%";
    } else if constexpr (std::is_same_v<Rule, Word>) {
      return std::string(EnumWords<T>::words.front());
    } else if constexpr (std::is_same_v<Rule, Words>) {
      return "[" + std::string(EnumWords<typename T::value_type>::words.front()) + "]";
    } else if constexpr (std::is_same_v<Rule, TrafficWords>) {
      return "[tcp]";
    } else if constexpr (std::is_same_v<Rule, HostNames> || std::is_same_v<Rule, HostNamesOrAny>) {
      return "\"host[0-3]\"";
    } else if constexpr (std::is_same_v<Rule, VmNames>) {
      return "\"vm[0-3]\"";
    } else if constexpr (std::is_same_v<Rule, VmLists>) {
      return "[vm0, vm1]";
    } else if constexpr (std::is_same_v<Rule, Mapping>) {
      return "{...}";
    } else if constexpr (std::is_same_v<Rule, Between<std::uint32_t>> ||
                         std::is_same_v<Rule, MaybeNumber>) {
      return "2";
    } else if constexpr (std::is_same_v<Rule, LibvirtUri>) {
      return "qemu+tls://HOST/system";
    } else {
      return "TEXT";
    }
  }

  [[nodiscard]] std::string path_text() const { return to_path_text(path_); }
  /// Reports a key that should be an item's name and is none.
  bool expect_item_name(const YamlEntry& entry);
  /// The word's position, or a report of what would be right.
  std::optional<std::size_t> word(const YamlNode& node, std::span<const std::string_view> words,
                                  std::span<const std::string_view> unsupported);
  /// The text of a scalar; otherwise reports that `wanted` should be here.
  const std::string* scalar(const YamlNode& node, std::string_view wanted);
  bool expect_map(const YamlNode& node);
  bool expect_list(const YamlNode& node, std::string_view example);
  /// The value itself of `{value: ..., source: ..., kind: ...}`, which is collected; `node` if it
  /// is written plainly; nothing after a report.
  const YamlNode* constant(const YamlNode& node);

 private:
  friend class At;
  std::vector<std::size_t> words(const YamlNode& node, std::span<const std::string_view> words,
                                 std::span<const std::string_view> unsupported, std::size_t least);
  template <class Quantity>
  bool quantity(const YamlNode& node, Quantity& out, Between<Quantity> rule);
  template <class Quantity>
  void varying(const YamlNode& node, Varying<Quantity>& out, Between<Quantity> rule);
  template <class Count>
  void whole_number(const YamlNode& node, Count& out, Between<Count> rule);
  void reference(const YamlNode& node, Reference& out, std::string_view example);

  Report& report_;
  std::vector<PathStep> path_;
  std::vector<SourcedConstant> constants_;
  bool collect_all_ = false;
};

/// Reads one mapping, key by key; `finish` reports the keys that nobody asked for.
class StructReader {
 public:
  StructReader(Reader& reader, const YamlNode& node);

  void about(std::string_view /*text*/) {}
  void present_if(bool /*present*/) {}
  void unsupported(std::initializer_list<std::string_view> keys) {
    unsupported_.insert(unsupported_.end(), keys);
  }
  /// Something is wrong between keys; `key` has the blame, or with "" the whole mapping.
  void complain(std::string_view key, Problem problem, std::string message) {
    complaints_.push_back({key, problem, std::move(message)});
  }
  void version(std::string_view key);

  template <class T, class Rule>
  bool required(std::string_view key, T& member, const Rule& rule, std::string_view /*doc*/) {
    const YamlEntry* entry = take(key);
    if (entry == nullptr) {
      missing(key, reader_.example(member, rule));
      return false;
    }
    const Reader::At at(reader_, {entry->key});
    if (!is_empty(*entry)) reader_.read(entry->value, member, rule);
    return true;
  }
  template <class T, class Rule>
  bool optional(std::string_view key, T& member, const Rule& rule, std::string_view /*doc*/) {
    const YamlEntry* entry = take(key);
    if (entry == nullptr) return false;
    const Reader::At at(reader_, {entry->key});
    if (!is_empty(*entry)) reader_.read(entry->value, member, rule);
    return true;
  }
  template <class T, class Rule>
  bool optional_as(std::string_view key, T& member, const Rule& rule,
                   std::string_view /*default_text*/, std::string_view doc) {
    return optional(key, member, rule, doc);
  }
  void count(std::string_view key, std::uint32_t& count, bool& numbered, std::uint32_t most,
             std::string_view doc) {
    if (optional(key, count, Between{1U, most}, doc)) numbered = true;
  }
  bool fixed(std::string_view key, std::string_view word,
             std::initializer_list<std::string_view> unsupported_words, Need need,
             std::string_view doc);
  template <class Body>
  void group(std::string_view key, Need need, std::string_view /*doc*/, const Body& body) {
    const YamlEntry* entry = take(key);
    if (entry == nullptr) {
      if (need == Need::required) missing(key, "{...}");
      return;
    }
    const Reader::At at(reader_, {entry->key});
    if (is_empty(*entry) || !reader_.expect_map(entry->value)) return;
    StructReader inner(reader_, entry->value);
    body(inner);
    inner.finish();
  }
  template <class Struct>
  void list(std::string_view key, std::vector<Struct>& out, Need need, std::size_t least,
            std::string_view /*doc*/) {
    const YamlEntry* entry = take(key);
    if (entry == nullptr) {
      if (need == Need::required) missing(key, "[...]");
      return;
    }
    const Reader::At at(reader_, {entry->key});
    if (is_empty(*entry) || !reader_.expect_list(entry->value, "{name: ...}")) return;
    out.clear();
    out.reserve(entry->value.items.size());
    for (std::size_t i = 0; i < entry->value.items.size(); ++i) {
      const YamlNode& item = entry->value.items[i];
      const Reader::At at_item(reader_, item_step(item, i));
      reader_.read(item, out.emplace_back(), Mapping{});
    }
    if (entry->value.items.size() < least) {
      reader_.problem(Problem::empty_list, entry->value, "the list is empty; it needs an item");
    }
  }
  /// A mapping whose keys are the items' names.
  template <class Struct>
  void by_name(std::string_view key, std::vector<Struct>& out, std::string_view example,
               std::string_view /*doc*/) {
    const YamlEntry* entry = take(key);
    if (entry == nullptr) {
      missing(key, named_example(example));
      return;
    }
    const Reader::At at(reader_, {entry->key});
    if (is_empty(*entry) || !reader_.expect_map(entry->value)) return;
    out.clear();
    out.reserve(entry->value.entries.size());
    for (const YamlEntry& item : entry->value.entries) {
      const Reader::At at_item(reader_, {item.key});
      if (!reader_.expect_item_name(item) || is_empty(item)) continue;
      out.emplace_back().name = item.key;
      reader_.read(item.value, out.back(), Mapping{});
    }
    if (entry->value.entries.empty()) {
      reader_.problem(Problem::empty_list, entry->value, "the mapping is empty; it needs an item");
    }
  }
  void topology(std::string_view key, NetworkTopology& topology, std::string_view doc);
  template <class Platform>
  void platform(std::string_view key, Platform& platform, std::string_view /*doc*/) {
    const YamlEntry* entry = take(key);
    if (entry == nullptr) {
      missing(key, "FILE.yaml");
      return;
    }
    const Reader::At at(reader_, {entry->key});
    // A platform file that could not be read is still the text that named it: already reported.
    if (is_empty(*entry) || entry->value.is_scalar()) return;
    reader_.collect_all(true);
    reader_.read(entry->value, platform, Mapping{});
    reader_.collect_all(false);
  }
  /// The node itself, for values that are not read by description; nothing if the key is absent.
  const YamlNode* raw(std::string_view key, Need need, RawShape shape, std::string_view doc);

  /// The value of a key that is read elsewhere, for its place.
  [[nodiscard]] const YamlNode* peek(std::string_view key) const {
    const YamlEntry* entry = node_.find(key);
    return entry == nullptr ? nullptr : &entry->value;
  }

  /// Reports unknown, unsupported and missing keys, and what `complain` kept.
  void finish();

 private:
  const YamlEntry* take(std::string_view key);
  /// `{NAME: {...}}`
  static std::string named_example(std::string_view name);
  void missing(std::string_view key, std::string example) {
    missing_.push_back({key, std::move(example)});
  }
  /// Reports `key:` with nothing behind it.
  bool is_empty(const YamlEntry& entry);

  Reader& reader_;
  const YamlNode& node_;
  std::vector<std::string_view> known_;
  std::vector<std::string_view> unsupported_;
  struct Missing {
    std::string_view key;
    std::string example;
  };
  struct Complaint {
    std::string_view key;
    Problem problem;
    std::string message;
  };
  std::vector<Missing> missing_;
  std::vector<Complaint> complaints_;
  std::vector<bool> taken_;
  std::size_t next_ = 0;  ///< where the next key is likely to be
};

template <class Struct>
void Reader::read(const YamlNode& node, Struct& out, Mapping /*rule*/) {
  if (!expect_map(node)) return;
  StructReader visitor(*this, node);
  describe(visitor, out);
  visitor.finish();
}

}  // namespace ferry
