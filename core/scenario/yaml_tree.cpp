#include "core/scenario/yaml_tree.hpp"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <utility>

#include "core/units/characters.hpp"
#include "core/units/check.hpp"

namespace ferry {
namespace {

SourcePlace to_place(const YAML::Mark& mark, std::uint32_t source) {
  SourcePlace place;
  place.source = source;
  if (mark.line >= 0) place.line = static_cast<std::uint32_t>(mark.line) + 1;
  if (mark.column >= 0) place.column = static_cast<std::uint32_t>(mark.column) + 1;
  return place;
}

/// Ends the parsing from inside an event: the limit that was passed.
struct Stop {
  Problem problem;
  SourcePlace place;
  std::string message;
};

/// Builds the tree from yaml-cpp's events. Aliases are copied, and the copies counted.
class Builder final : public YAML::EventHandler {
 public:
  Builder(std::uint32_t source, Report& report) : source_(source), report_(report) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) {
      throw Stop{Problem::several_documents, to_place(mark, source_),
                 "a second YAML document begins here; write one document to a file"};
    }
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    YamlNode node;
    node.place = to_place(mark, source_);
    complete(std::move(node), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const SourcePlace place = to_place(mark, source_);
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) {
      throw Stop{Problem::recursive_alias, place,
                 "this alias stands inside the value that it names; an alias can only repeat an "
                 "earlier, complete value"};
    }
    repeat(found->second.nodes, place);
    YamlNode copy = found->second.node;
    deepen(depth_of(copy), place);
    add(std::move(copy));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode node;
    node.type = YamlNode::Type::scalar;
    node.place = to_place(mark, source_);
    node.quoted = tag == "!";
    node.text = value;
    check_tag(tag, node.place);
    if (node.quoted && mark.pos >= 0) {
      last_quoted_ = static_cast<std::size_t>(mark.pos);
      last_quoted_place_ = node.place;
    }
    complete(std::move(node), anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    open(YamlNode::Type::list, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    open(YamlNode::Type::map, mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

  [[nodiscard]] bool has_root() const { return has_root_; }
  YamlNode take_root() { return std::move(root_); }
  /// yaml-cpp accepts a quotation mark that is never closed and swallows the rest of the file.
  void check_last_quote(std::string_view text) {
    if (last_quoted_ >= text.size()) return;
    const char quote = text[last_quoted_];
    if (quote != '"' && quote != '\'') return;  // a block of text
    for (std::size_t at = last_quoted_ + 1; at < text.size(); ++at) {
      const bool doubled = quote == '\'' && text.substr(at, 2) == "''";
      if (doubled || (quote == '"' && text[at] == '\\')) {
        ++at;
      } else if (text[at] == quote) {
        return;
      }
    }
    report_.add(Problem::yaml_syntax, last_quoted_place_, "",
                "this quotation mark is never closed; write the one that ends the text");
  }

 private:
  struct Open {
    YamlNode node;
    YAML::anchor_t anchor = 0;
    std::size_t nodes_before = 0;
    bool has_key = false;  ///< of a map: the next value belongs to `key`
    bool skip_value = false;
    std::string key;
    SourcePlace key_place;
  };
  struct Anchored {
    YamlNode node;
    std::size_t nodes = 1;
  };

  void check_tag(const std::string& tag, SourcePlace place) {
    // "?" and "!" are yaml-cpp's marks for plain and quoted scalars without a tag.
    if (tag.empty() || tag == "?" || tag == "!") return;
    report_.add(Problem::odd_tag, place, path(),
                fmt::format("the tag {} means nothing here; leave it out", in_quotes(tag)));
  }
  /// Where the parser stands: keys, and items as far as their names are known.
  [[nodiscard]] std::string path() const {
    std::vector<PathStep> steps;
    for (std::size_t i = 0; i < open_.size(); ++i) {
      const Open& level = open_[i];
      if (level.node.is_list()) {
        const std::size_t index = level.node.items.size();
        steps.push_back(i + 1 < open_.size() ? item_step(open_[i + 1].node, index)
                                             : PathStep{{}, index});
      } else if (level.has_key && !level.key.empty()) {
        steps.push_back({level.key});
      }
    }
    return to_path_text(steps);
  }
  void count(std::size_t nodes, SourcePlace place) {
    nodes_ += nodes;
    if (nodes_ > most_yaml_nodes) {
      throw Stop{Problem::too_many_nodes, place,
                 fmt::format("more than {} values; write groups with `count` instead of listing "
                             "so much",
                             most_yaml_nodes)};
    }
  }
  void repeat(std::size_t nodes, SourcePlace place) {
    repeated_ += nodes;
    if (repeated_ > most_repeated_nodes) {
      throw Stop{Problem::too_many_nodes, place,
                 fmt::format("aliases repeat more than {} values; write groups with `count` "
                             "instead of repeating so much",
                             most_repeated_nodes)};
    }
    count(nodes, place);
  }
  void deepen(std::size_t levels, SourcePlace place) const {
    if (open_.size() + levels > most_yaml_depth) {
      throw Stop{
          Problem::too_deep, place,
          fmt::format("nested deeper than {} levels; no key of these files needs more than a "
                      "few",
                      most_yaml_depth)};
    }
  }
  static std::size_t depth_of(
      const YamlNode& node) {  // NOLINT(misc-no-recursion): depth is limited
    std::size_t depth = 0;
    for (const YamlNode& item : node.items) depth = std::max(depth, depth_of(item));
    for (const YamlEntry& entry : node.entries) depth = std::max(depth, depth_of(entry.value));
    return node.is_list() || node.is_map() ? depth + 1 : 0;
  }
  void open(YamlNode::Type type, const YAML::Mark& mark, const std::string& tag,
            YAML::anchor_t anchor) {
    Open level;
    level.node.type = type;
    level.node.place = to_place(mark, source_);
    level.anchor = anchor;
    level.nodes_before = nodes_;
    check_tag(tag, level.node.place);
    count(1, level.node.place);
    deepen(1, level.node.place);
    open_.push_back(std::move(level));
  }
  void close() {
    check(!open_.empty(), "yaml-cpp closes what it never opened");
    Open level = std::move(open_.back());
    open_.pop_back();
    if (level.anchor != 0) {
      anchors_.insert_or_assign(level.anchor, Anchored{level.node, nodes_ - level.nodes_before});
    }
    add(std::move(level.node));
  }
  void complete(YamlNode node, YAML::anchor_t anchor) {
    count(1, node.place);
    if (anchor != 0) anchors_.insert_or_assign(anchor, Anchored{node, 1});
    add(std::move(node));
  }
  void add(YamlNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
      has_root_ = true;
      return;
    }
    Open& level = open_.back();
    if (level.node.is_list()) {
      level.node.items.push_back(std::move(node));
      return;
    }
    if (level.has_key) {
      level.has_key = false;
      if (level.skip_value) {
        level.skip_value = false;
        return;
      }
      level.node.entries.push_back({std::move(level.key), level.key_place, std::move(node)});
      return;
    }
    level.has_key = true;
    level.key_place = node.place;
    if (!node.is_scalar()) {
      report_.add(Problem::odd_key, node.place, path(),
                  fmt::format("{} cannot be a key; a key is a word", describe_node(node)));
      level.skip_value = true;
      return;
    }
    level.key = std::move(node.text);
    if (level.node.find(level.key) != nullptr) {
      const YamlEntry* first = level.node.find(level.key);
      report_.add(Problem::duplicate_key, node.place, path(),
                  fmt::format("this key is written twice, first in line {}; keep one of them",
                              first->key_place.line));
      level.skip_value = true;
    }
  }

  std::uint32_t source_;
  Report& report_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, Anchored> anchors_;
  YamlNode root_;
  bool has_root_ = false;
  std::size_t nodes_ = 0;
  std::size_t repeated_ = 0;  ///< of these, what aliases repeated
  int documents_ = 0;
  std::size_t last_quoted_ = std::string_view::npos;
  SourcePlace last_quoted_place_;
};

/// Length of the UTF-8 sequence at `at`; 0 if it is none, or a control character YAML forbids.
std::size_t character_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const auto follows = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned first = byte(at);
  if (first < 0x80) {
    const bool control =
        (first < 0x20 && first != '\t' && first != '\n' && first != '\r') || first == 0x7F;
    return control ? 0 : 1;
  }
  if (first >= 0xC2 && first <= 0xDF) return follows(at + 1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!follows(at + 1) || !follows(at + 2)) return 0;
    if (first == 0xE0 && byte(at + 1) < 0xA0) return 0;  // longer than needed
    if (first == 0xED && byte(at + 1) > 0x9F) return 0;  // surrogates
    return 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!follows(at + 1) || !follows(at + 2) || !follows(at + 3)) return 0;
    if (first == 0xF0 && byte(at + 1) < 0x90) return 0;
    if (first == 0xF4 && byte(at + 1) > 0x8F) return 0;
    return 4;
  }
  return 0;
}

/// Reports the first byte that is no text and the first place that is nested too deeply in
/// brackets. yaml-cpp queues all tokens of a bracketed value before its first event, so that deep
/// nesting must be found before it starts. Brackets inside plain words are not counted; in
/// quotation marks they are, which only matters beyond the limit, where the events decide again.
bool scan_bytes(std::string_view text, std::uint32_t source, Report& report) {
  SourcePlace place{source, 1, 1};
  std::size_t depth = 0;
  char before = '\n';  // the last character that is no space
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = character_length(text, at);
    const char c = text[at];
    if (length == 0) {
      report.add(Problem::not_text, place, "",
                 fmt::format("the byte 0x{:02x} is not text; these files are UTF-8 text",
                             static_cast<unsigned char>(c)));
      return false;
    }
    if (c == '[' || c == '{') {
      constexpr std::string_view openers = "\n-:?,[{";
      if (openers.find(before) != std::string_view::npos && ++depth > most_yaml_depth) {
        report.add(Problem::too_deep, place, "",
                   fmt::format("nested deeper than {} levels; no key of these files needs more "
                               "than a few",
                               most_yaml_depth));
        return false;
      }
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
    if (c != ' ' && c != '\t') before = c;
    if (c == '\n') {
      ++place.line;
      place.column = 1;
    } else {
      ++place.column;
    }
    at += length;
  }
  return true;
}

bool is_word(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    if (!is_letter(c) && !is_digit(c) && c != '_' && c != '.' && c != '-' && c != '/' && c != '%' &&
        c != '+') {
      return false;
    }
  }
  if (text.front() == '-' || text.front() == '%' || text == "...") return false;
  return text != "null" && text != "Null" && text != "NULL";
}

void write_flow(const YamlNode& node, std::string& out) {  // NOLINT(misc-no-recursion)
  switch (node.type) {
    case YamlNode::Type::null: out += "null"; break;
    case YamlNode::Type::scalar: out += to_scalar_text(node.text); break;
    case YamlNode::Type::list: {
      out += '[';
      for (std::size_t i = 0; i < node.items.size(); ++i) {
        if (i > 0) out += ", ";
        write_flow(node.items[i], out);
      }
      out += ']';
      break;
    }
    case YamlNode::Type::map: {
      out += '{';
      for (std::size_t i = 0; i < node.entries.size(); ++i) {
        if (i > 0) out += ", ";
        out += to_scalar_text(node.entries[i].key);
        out += ": ";
        write_flow(node.entries[i].value, out);
      }
      out += '}';
      break;
    }
  }
}

}  // namespace

bool is_item_name(std::string_view text) {
  if (text.empty() || text.size() > longest_name || !is_letter(text.front())) return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return is_letter(c) || is_digit(c) || c == '_' || c == '-'; });
}

PathStep item_step(const YamlNode& item, std::size_t index) {
  for (const std::string_view key : {"name", "id"}) {
    const YamlEntry* entry = item.find(key);
    if (entry != nullptr && entry->value.is_scalar() && is_item_name(entry->value.text)) {
      return {entry->value.text};
    }
  }
  return {{}, index};
}

std::string to_path_text(const std::vector<PathStep>& steps) {
  std::string text;
  for (const PathStep& step : steps) {
    if (!text.empty()) text += '.';
    if (step.key.empty()) {
      text += fmt::format("{}", step.index);
    } else if (step.key.size() > longest_name ||
               std::any_of(step.key.begin(), step.key.end(), [](char c) {
                 return static_cast<unsigned char>(c) <= ' ' || c == '\x7F';
               })) {
      text += in_quotes(step.key);
    } else {
      text += step.key;
    }
  }
  return text;
}

const YamlEntry* YamlNode::find(std::string_view key) const {
  for (const YamlEntry& entry : entries) {
    if (entry.key == key) return &entry;
  }
  return nullptr;
}

YamlEntry* YamlNode::find(std::string_view key) {
  for (YamlEntry& entry : entries) {
    if (entry.key == key) return &entry;
  }
  return nullptr;
}

std::string describe_node(const YamlNode& node) {
  switch (node.type) {
    case YamlNode::Type::null: return "nothing";
    case YamlNode::Type::scalar: return "the value " + in_quotes(node.text);
    case YamlNode::Type::list: return "a list";
    case YamlNode::Type::map: return "a mapping";
  }
  return "?";
}

bool parse_yaml(std::string_view text, std::uint32_t source, YamlNode& root, Report& report) {
  const SourcePlace start{source, 1, 1};
  if (text.size() > most_yaml_bytes) {
    report.add(Problem::too_large, start, "",
               fmt::format("the file has more than {} bytes ({} MiB); use groups with `count` "
                           "instead of long lists",
                           most_yaml_bytes, most_yaml_bytes >> 20U));
    return false;
  }
  if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);  // byte order mark
  if (!scan_bytes(text, source, report)) return false;
  Builder builder(source, report);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Stop& stop) {
    report.add(stop.problem, stop.place, "", stop.message);
    return false;
  } catch (const YAML::Exception& error) {
    report.add(
        Problem::yaml_syntax, to_place(error.mark, source), "",
        fmt::format("this is not YAML: {}; check indentation, colons, brackets and quotation "
                    "marks around here",
                    error.msg));
    return false;
  }
  if (!builder.has_root()) {
    report.add(Problem::empty, start, "", "the file is empty; it begins with `ferry: 1`");
    return false;
  }
  const std::size_t before = report.count();
  builder.check_last_quote(text);
  if (report.count() != before) return false;
  root = builder.take_root();
  return true;
}

std::string to_flow_text(const YamlNode& node) {
  std::string out;
  write_flow(node, out);
  return out;
}

std::string to_scalar_text(std::string_view text) {
  if (is_word(text)) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace ferry
