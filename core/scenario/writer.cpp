#include "core/scenario/writer.hpp"

#include <fmt/format.h>

#include <initializer_list>
#include <map>
#include <type_traits>
#include <utility>

#include "core/scenario/describe_cluster.hpp"
#include "core/scenario/describe_scenario.hpp"
#include "core/scenario/yaml_tree.hpp"
#include "core/units/check.hpp"

namespace ferry {
namespace {

constexpr std::array<std::string_view, 5> kind_words = {"measured", "documented", "fitted",
                                                        "assumed", "unstated"};

template <class Quantity>
std::string varying_to_yaml(const Varying<Quantity>& value) {
  using Law = Varying<Quantity>;
  if (const auto* fixed = std::get_if<Quantity>(&value.law)) return to_yaml(*fixed);
  if (const auto* uniform = std::get_if<typename Law::Uniform>(&value.law)) {
    return fmt::format("{{uniform: [{}, {}]}}", to_yaml(uniform->low), to_yaml(uniform->high));
  }
  if (const auto* choice = std::get_if<typename Law::Choice>(&value.law)) {
    std::string text = "{choice: [";
    for (std::size_t i = 0; i < choice->values.size(); ++i) {
      if (i > 0) text += ", ";
      text += to_yaml(choice->values[i]);
    }
    return text + "]}";
  }
  const auto& normal = std::get<typename Law::LogNormal>(value.law);
  return fmt::format("{{lognormal: {{median: {}, sigma: {}}}}}", to_yaml(normal.median),
                     normal.sigma);
}

/// The text of all mappings, at one indentation each.
class Output {
 public:
  explicit Output(const std::vector<SourcedConstant>& constants) {
    for (const SourcedConstant& constant : constants) {
      if (constant.kind != ConstantKind::unstated) constants_.emplace(constant.path, &constant);
    }
  }

  void value(std::string_view key, const std::string& text) {
    begin_line();
    text_ += key;
    text_ += ": ";
    if (const SourcedConstant* constant = find(key)) {
      text_ +=
          fmt::format("{{value: {}, source: {}, kind: {}", text, to_scalar_text(constant->source),
                      kind_words[static_cast<std::size_t>(constant->kind)]);
      if (!constant->fitted_to.empty()) {
        text_ += fmt::format(", to: [{}]", fmt::join(constant->fitted_to, ", "));
      }
      text_ += "}";
    } else {
      text_ += text;
    }
    text_ += '\n';
  }
  void open(std::string_view key) {
    begin_line();
    text_ += key;
    text_ += ":\n";
    descend(key);
    ++depth_;
  }
  void close() {
    --depth_;
    ascend();
  }
  void open_item(std::string_view name) {
    descend(name);
    ++depth_;
    item_ = true;
  }
  void close_item() {
    --depth_;
    ascend();
  }
  std::string take() { return std::move(text_); }

 private:
  void begin_line() {
    const std::size_t indent = 2 * (depth_ - (item_ ? 1 : 0));
    text_.append(indent, ' ');
    if (item_) text_ += "- ";
    item_ = false;
  }
  void descend(std::string_view key) {
    ends_.push_back(path_.size());
    if (!path_.empty()) path_ += '.';
    path_ += key;
  }
  void ascend() {
    path_.resize(ends_.back());
    ends_.pop_back();
  }
  const SourcedConstant* find(std::string_view key) {
    if (constants_.empty()) return nullptr;
    descend(key);
    const auto found = constants_.find(path_);
    ascend();
    return found == constants_.end() ? nullptr : found->second;
  }

  std::map<std::string, const SourcedConstant*> constants_;
  std::string text_;
  std::string path_;
  std::vector<std::size_t> ends_;
  std::size_t depth_ = 0;
  bool item_ = false;  ///< the next line begins a list item
};

template <class T>
concept Named = requires(T item) {
  item.name;
};

/// See `describe_values.hpp`.
class StructWriter {
 public:
  explicit StructWriter(Output& output) : output_(output) {}

  void about(std::string_view /*text*/) {}
  void unsupported(std::initializer_list<std::string_view> /*keys*/) {}
  void complain(std::string_view /*key*/, Problem /*problem*/, std::string_view /*message*/) {}
  void version(std::string_view key) { output_.value(key, "1"); }
  /// Whether the next field is written at all.
  void present_if(bool present) { present_ = present; }

  template <class T, class Rule>
  bool required(std::string_view key, T& member, const Rule& rule, std::string_view /*doc*/) {
    if (!std::exchange(present_, true)) return true;
    write(key, member, rule);
    return true;
  }
  template <class T, class Rule>
  bool optional(std::string_view key, T& member, const Rule& rule, std::string_view doc) {
    return required(key, member, rule, doc);
  }
  template <class T, class Rule>
  bool optional_as(std::string_view key, T& member, const Rule& rule,
                   std::string_view /*default_text*/, std::string_view doc) {
    return required(key, member, rule, doc);
  }
  void count(std::string_view key, std::uint32_t& count, bool& numbered, std::uint32_t /*most*/,
             std::string_view /*doc*/) {
    if (numbered) output_.value(key, to_yaml(count));
  }
  bool fixed(std::string_view key, std::string_view word,
             std::initializer_list<std::string_view> /*unsupported_words*/, Need /*need*/,
             std::string_view /*doc*/) {
    if (!std::exchange(present_, true)) return false;
    output_.value(key, std::string(word));
    return true;
  }
  template <class Body>
  void group(std::string_view key, Need /*need*/, std::string_view /*doc*/, const Body& body) {
    if (!std::exchange(present_, true)) return;
    output_.open(key);
    StructWriter inner(output_);
    body(inner);
    output_.close();
  }
  template <class Struct>
  void list(std::string_view key, std::vector<Struct>& items, Need /*need*/, std::size_t /*least*/,
            std::string_view /*doc*/) {
    if (!std::exchange(present_, true)) return;
    if (items.empty()) {
      output_.value(key, "[]");
      return;
    }
    output_.open(key);
    for (std::size_t i = 0; i < items.size(); ++i) {
      std::string name;
      if constexpr (Named<Struct>) {
        name = items[i].name;
      } else {
        name = fmt::format("{}", i);
      }
      output_.open_item(name);
      StructWriter inner(output_);
      describe(inner, items[i]);
      output_.close_item();
    }
    output_.close();
  }
  template <class Struct>
  void by_name(std::string_view key, std::vector<Struct>& items, std::string_view /*example*/,
               std::string_view /*doc*/) {
    output_.open(key);
    for (Struct& item : items) {
      output_.open(item.name);
      StructWriter inner(output_);
      describe(inner, item);
      output_.close();
    }
    output_.close();
  }
  void topology(std::string_view key, NetworkTopology& topology, std::string_view doc) {
    const auto with_sizes = [&](std::string_view shape, auto& sizes) {
      output_.open(key);
      required(shape, sizes, Mapping{}, doc);
      output_.close();
    };
    if (auto* tree = std::get_if<FatTree>(&topology)) {
      with_sizes("fat_tree", *tree);
    } else if (auto* fly = std::get_if<Dragonfly>(&topology)) {
      with_sizes("dragonfly", *fly);
    } else {
      output_.value(key, "star");
    }
  }
  void platform(std::string_view key, Platform& platform, std::string_view doc) {
    required(key, platform, Mapping{}, doc);
  }

 private:
  template <class T, class Rule>
  void write(std::string_view key, T& member, const Rule& /*rule*/) {
    if constexpr (std::is_same_v<Rule, Mapping>) {
      output_.open(key);
      StructWriter inner(output_);
      describe(inner, member);
      output_.close();
    } else if constexpr (std::is_same_v<Rule, Word>) {
      output_.value(key, std::string(EnumWords<T>::words[static_cast<std::size_t>(member)]));
    } else if constexpr (std::is_same_v<Rule, Words>) {
      std::string text = "[";
      for (const auto item : member) {
        if (text.size() > 1) text += ", ";
        text += EnumWords<typename T::value_type>::words[static_cast<std::size_t>(item)];
      }
      output_.value(key, text + "]");
    } else if constexpr (std::is_same_v<Rule, SizeList>) {
      std::string text = "[";
      for (const Bytes item : member) {
        if (text.size() > 1) text += ", ";
        text += to_yaml(item);
      }
      output_.value(key, text + "]");
    } else if constexpr (std::is_same_v<Rule, VmLists>) {
      std::string text = "[";
      for (const Reference& item : member) {
        if (text.size() > 1) text += ", ";
        text += to_yaml(item);
      }
      output_.value(key, text + "]");
    } else {
      output_.value(key, to_yaml(member));
    }
  }

  Output& output_;
  bool present_ = true;
};

}  // namespace

std::string to_yaml(std::uint32_t value) { return fmt::format("{}", value); }
std::string to_yaml(std::uint64_t value) { return fmt::format("{}", value); }
std::string to_yaml(bool value) { return value ? "true" : "false"; }
std::string to_yaml(Duration value) { return to_text(value); }
std::string to_yaml(Bytes value) { return to_text(value); }
std::string to_yaml(Bandwidth value) { return value.is_unlimited() ? "none" : to_text(value); }
std::string to_yaml(Ratio value) { return to_text(value); }
std::string to_yaml(const std::string& value) { return to_scalar_text(value); }
std::string to_yaml(const Reference& value) { return to_scalar_text(value.text); }
std::string to_yaml(const std::optional<Reference>& value) {
  return value ? to_yaml(*value) : "any";
}
std::string to_yaml(const StartTime& value) { return value.never ? "never" : to_text(value.at); }
std::string to_yaml(const Limit& value) { return value ? to_yaml(*value) : "unlimited"; }
std::string to_yaml(const Traffic& value) {
  std::string text;
  for (const Transport transport : value.transports) {
    text += (text.empty() ? "" : ", ") + std::string(to_name(transport));
  }
  if (value.mpi) text += text.empty() ? "mpi" : ", mpi";
  return "[" + text + "]";
}
std::string to_yaml(const Sockets& value) {
  return to_scalar_text(fmt::format("{}x{}", value.count, value.cores));
}
std::string to_yaml(const SocketChoice& value) {
  return value.number ? to_yaml(*value.number) : "any";
}
std::string to_yaml(const EagerThreshold& value) {
  return value.size ? to_text(*value.size) : "auto";
}
std::string to_yaml(const std::optional<Bytes>& value) {
  check(value.has_value(), "a size that is not there is not written");
  return to_text(*value);
}
std::string to_yaml(const PciFunctions& value) { return to_scalar_text(value.text); }
std::string to_yaml(const Varying<Duration>& value) { return varying_to_yaml(value); }
std::string to_yaml(const Varying<Bytes>& value) { return varying_to_yaml(value); }
std::string to_yaml(const Varying<Bandwidth>& value) { return varying_to_yaml(value); }

std::string write_resolved(const ClusterFile& cluster) {
  ClusterFile copy = cluster;
  Output output({});
  StructWriter writer(output);
  describe(writer, copy);
  return output.take();
}

std::string write_resolved(const Scenario& scenario,
                           const std::vector<SourcedConstant>& constants) {
  Scenario copy = scenario;  // a description takes what it describes by reference to fill it
  Output output(constants);
  StructWriter writer(output);
  describe(writer, copy);
  return output.take();
}

}  // namespace ferry
