#include "core/scenario/reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "core/scenario/describe_platform.hpp"
#include "core/scenario/host_layout.hpp"
#include "core/units/characters.hpp"

namespace ferry {
namespace {

constexpr std::size_t longest_text = 10'000;

bool is_title_name(std::string_view text) {
  if (text.empty() || text.size() > longest_name) return false;
  if (!is_letter(text.front()) && !is_digit(text.front())) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return is_letter(c) || is_digit(c) || c == '_' || c == '-' || c == '.';
  });
}

template <class Quantity>
struct Text;
template <>
struct Text<Duration> {
  static constexpr auto parse = parse_duration;
  static constexpr std::string_view wanted = "a time such as 300ms";
};
template <>
struct Text<Bytes> {
  static constexpr auto parse = parse_bytes;
  static constexpr std::string_view wanted = "a size such as 4GiB";
};
template <>
struct Text<Bandwidth> {
  static constexpr auto parse = parse_bandwidth;
  static constexpr std::string_view wanted = "a bandwidth such as 10Gbps";
};
template <>
struct Text<Ratio> {
  static constexpr auto parse = parse_ratio;
  static constexpr std::string_view wanted = "a share such as 20%";
};

constexpr std::array<std::string_view, 4> kind_words = {"measured", "documented", "fitted",
                                                        "assumed"};

std::string example_of(RawShape shape) {
  switch (shape) {
    case RawShape::scenario: return "FILE.yaml";
    case RawShape::variations: return "{PATH: [A, B]}";
    case RawShape::assignments: return "{PATH: VALUE}";
    case RawShape::assignment_list: return "[{PATH: VALUE}]";
    case RawShape::path_lists: return "[[PATH, PATH]]";
    case RawShape::pair: return "{PATH: [A, B]}";
    case RawShape::order: return "{PATH: [A, B, C]}";
    case RawShape::number: return "3s";
    case RawShape::constant_value: return "300ms";
    case RawShape::constant_kind: return "measured";
    case RawShape::claim_ids: return "[C1]";
    case RawShape::sigma: return "0.5";
  }
  return "?";
}

std::vector<std::string_view> to_vector(std::span<const std::string_view> words) {
  return {words.begin(), words.end()};
}

}  // namespace

void Reader::problem(Problem problem, const YamlNode& node, std::string message) {
  report_.add(problem, node.place, path_text(), std::move(message));
}

void Reader::problem(Problem problem, SourcePlace place, std::string message) {
  report_.add(problem, place, path_text(), std::move(message));
}

const std::string* Reader::scalar(const YamlNode& node, std::string_view wanted) {
  if (node.is_scalar()) return &node.text;
  problem(Problem::wrong_type, node,
          fmt::format("this is {}; write {}", describe_node(node), wanted));
  return nullptr;
}

bool Reader::expect_map(const YamlNode& node) {
  if (node.is_map()) return true;
  problem(Problem::wrong_type, node,
          fmt::format("this is {}; write a mapping of keys and values", describe_node(node)));
  return false;
}

bool Reader::expect_list(const YamlNode& node, std::string_view example) {
  if (node.is_list()) return true;
  problem(Problem::wrong_type, node,
          fmt::format("this is {}; write a list, each item beginning with `- `, such as `- {}`",
                      describe_node(node), example));
  return false;
}

const YamlNode* Reader::constant(const YamlNode& node) {
  const bool from_platform_file = report_.source_kind(node.place.source) == SourceKind::platform;
  if (!node.is_map() || (node.find("value") == nullptr && node.find("source") == nullptr &&
                         node.find("kind") == nullptr)) {
    if (node.is_scalar() && from_platform_file) {
      problem(Problem::bad_constant, node,
              fmt::format("the constant {} has no source; write {{value: {}, source: \"where it "
                          "comes from\", kind: measured}} (or documented, fitted, assumed)",
                          in_quotes(node.text), node.text.size() > 30 ? "..." : node.text));
      return nullptr;
    }
    if (collect_all_ && node.is_scalar()) {
      SourcedConstant plain;
      plain.path = path_text();
      plain.value = node.text;
      plain.file = report_.source_name(node.place.source);
      plain.line = node.place.line;
      constants_.push_back(std::move(plain));
    }
    return &node;
  }
  SourcedConstant constant;
  constant.path = path_text();
  constant.file = report_.source_name(node.place.source);
  constant.line = node.place.line;
  bool good = true;
  const YamlNode* value = nullptr;
  StructReader keys(*this, node);
  value = keys.raw("value", Need::required, RawShape::constant_value, "");
  if (value != nullptr && !value->is_scalar()) {
    const At at(*this, {"value"});
    problem(Problem::bad_constant, *value,
            fmt::format("this is {}; a constant with a source is a single value",
                        describe_node(*value)));
    value = nullptr;
  }
  good = keys.required("source", constant.source, FreeText{1}, "") && good;
  const YamlNode* kind = keys.raw("kind", Need::required, RawShape::constant_kind, "");
  if (kind != nullptr) {
    const At at(*this, {"kind"});
    const std::optional<std::size_t> index = word(*kind, kind_words, {});
    if (index) constant.kind = static_cast<ConstantKind>(*index);
  }
  const YamlNode* to = keys.raw("to", Need::optional, RawShape::claim_ids, "");
  if (to != nullptr) {
    const At at(*this, {"to"});
    if (!to->is_list() || to->items.empty()) {
      problem(Problem::bad_constant, *to,
              fmt::format("this is {}; write the claims that the constant was fitted to, such as "
                          "[C2]",
                          to->is_list() ? "an empty list" : describe_node(*to)));
    } else if (constant.kind != ConstantKind::fitted && kind != nullptr) {
      problem(Problem::bad_constant, *to,
              "only a constant of kind fitted names the claims it was fitted to; leave out `to`, "
              "or write kind: fitted");
    } else {
      for (std::size_t i = 0; i < to->items.size(); ++i) {
        const At at_item(*this, {{}, i});
        std::string id;
        read(to->items[i], id, ItemName{});
        constant.fitted_to.push_back(std::move(id));
      }
    }
  }
  keys.finish();
  if (value == nullptr) return nullptr;
  constant.value = value->text;
  if (good && constant.kind != ConstantKind::unstated) constants_.push_back(std::move(constant));
  return value;
}

template <class Quantity>
bool Reader::quantity(const YamlNode& node, Quantity& out, Between<Quantity> rule) {
  const std::string* text = scalar(node, Text<Quantity>::wanted);
  if (text == nullptr) return false;
  const Parsed<Quantity> parsed = Text<Quantity>::parse(*text);
  if (!parsed) {
    problem(Problem::bad_quantity, node, parsed.error().message);
    return false;
  }
  if (*parsed < rule.low || *parsed > rule.high) {
    problem(Problem::out_of_range, node,
            fmt::format("{} is out of range; write {} to {}", in_quotes(*text), to_text(rule.low),
                        to_text(rule.high)));
    return false;
  }
  out = *parsed;
  return true;
}

template <class Quantity>
void Reader::varying(const YamlNode& node, Varying<Quantity>& out, Between<Quantity> rule) {
  using Law = Varying<Quantity>;
  const auto laws = [&] {
    return fmt::format(
        "write {}, or {{uniform: [LOW, HIGH]}}, {{choice: [A, B]}}, {{lognormal: {{median: M, "
        "sigma: 0.5}}}}",
        Text<Quantity>::wanted);
  };
  const YamlNode* value = constant(node);
  if (value == nullptr) return;
  if (value->is_scalar()) {
    Quantity fixed{};
    if (quantity(*value, fixed, rule)) out.law = fixed;
    return;
  }
  if (!value->is_map() || value->entries.size() != 1) {
    problem(Problem::bad_law, *value,
            value->is_map() ? fmt::format("a random quantity has one law, not {}; {}",
                                          value->entries.size(), laws())
                            : fmt::format("this is {}; {}", describe_node(*value), laws()));
    return;
  }
  const YamlEntry& entry = value->entries.front();
  const YamlNode& body = entry.value;
  const At at(*this, {entry.key});
  if (entry.key == "uniform") {
    if (!body.is_list() || body.items.size() != 2) {
      problem(Problem::bad_law, body, "uniform needs its two ends; write [LOW, HIGH]");
      return;
    }
    typename Law::Uniform uniform{};
    bool good = true;
    for (std::size_t i = 0; i < 2; ++i) {
      const At at_item(*this, {{}, i});
      good = quantity(body.items[i], i == 0 ? uniform.low : uniform.high, rule) && good;
    }
    if (!good) return;
    if (uniform.high < uniform.low) {
      problem(Problem::reversed_range, body,
              fmt::format("the range ends before it starts; write [{}, {}]", to_text(uniform.high),
                          to_text(uniform.low)));
      return;
    }
    out.law = uniform;
  } else if (entry.key == "choice") {
    if (!body.is_list() || body.items.empty()) {
      problem(Problem::bad_law, body, "choice needs its values; write [A, B, ...]");
      return;
    }
    typename Law::Choice choice;
    bool good = true;
    for (std::size_t i = 0; i < body.items.size(); ++i) {
      const At at_item(*this, {{}, i});
      good = quantity(body.items[i], choice.values.emplace_back(), rule) && good;
    }
    if (good) out.law = std::move(choice);
  } else if (entry.key == "lognormal") {
    if (!expect_map(body)) return;
    typename Law::LogNormal normal{};
    StructReader keys(*this, body);
    const std::size_t before = report_.count();
    keys.required("median", normal.median, rule, "");
    const YamlNode* sigma = keys.raw("sigma", Need::required, RawShape::sigma, "");
    if (sigma != nullptr) {
      const At at_sigma(*this, {"sigma"});
      const std::string* text = scalar(*sigma, "a number such as 0.5");
      double number = 0;
      if (text != nullptr) {
        const auto result = std::from_chars(text->data(), text->data() + text->size(), number);
        if (result.ec != std::errc() || result.ptr != text->data() + text->size() ||
            !(number > 0 && number <= 5)) {
          problem(Problem::bad_law, *sigma,
                  fmt::format("{} cannot be the standard deviation of a logarithm; write a number "
                              "above 0 and up to 5",
                              in_quotes(*text)));
        }
        normal.sigma = number;
      }
    }
    keys.finish();
    if (report_.count() == before) out.law = normal;
  } else {
    const std::vector<std::string_view> known = {"uniform", "choice", "lognormal"};
    const std::string_view near = nearest(entry.key, known);
    report_.add(Problem::bad_law, entry.key_place, path_text(),
                near.empty() ? fmt::format("this is no law of a random quantity; {}", laws())
                             : fmt::format("this is no law of a random quantity; did you mean "
                                           "'{}'?",
                                           near));
  }
}

template <class Count>
void Reader::whole_number(const YamlNode& node, Count& out, Between<Count> rule) {
  const YamlNode* value = node.is_map() ? constant(node) : &node;
  if (value == nullptr) return;
  const std::string* text = scalar(*value, "a whole number");
  if (text == nullptr) return;
  const auto wanted = [&] {
    return fmt::format("write a whole number from {} to {}", rule.low, rule.high);
  };
  if (text->empty() || !std::all_of(text->begin(), text->end(), is_digit)) {
    const bool negative = text->size() > 1 && text->front() == '-' && is_digit((*text)[1]);
    problem(Problem::bad_number, *value,
            fmt::format("{} is {}; {}", in_quotes(*text),
                        negative ? "negative" : "not a whole number", wanted()));
    return;
  }
  if (text->size() > 1 && text->front() == '0') {
    const std::size_t first = std::min(text->find_first_not_of('0'), text->size() - 1);
    problem(Problem::bad_number, *value,
            fmt::format("{} begins with a zero, which some programs read as octal; write {}",
                        in_quotes(*text), in_quotes(std::string_view(*text).substr(first))));
    return;
  }
  std::uint64_t number = 0;
  const auto result = std::from_chars(text->data(), text->data() + text->size(), number);
  if (result.ec != std::errc() || number < rule.low || number > rule.high) {
    problem(Problem::out_of_range, *value,
            fmt::format("{} is out of range; {}", in_quotes(*text), wanted()));
    return;
  }
  out = static_cast<Count>(number);
}

void Reader::read(const YamlNode& node, std::uint32_t& out, Between<std::uint32_t> rule) {
  whole_number(node, out, rule);
}
void Reader::read(const YamlNode& node, std::uint64_t& out, Between<std::uint64_t> rule) {
  whole_number(node, out, rule);
}
void Reader::read(const YamlNode& node, Duration& out, Between<Duration> rule) {
  if (const YamlNode* value = constant(node)) quantity(*value, out, rule);
}
void Reader::read(const YamlNode& node, Bytes& out, Between<Bytes> rule) {
  if (const YamlNode* value = constant(node)) quantity(*value, out, rule);
}
void Reader::read(const YamlNode& node, Bandwidth& out, Between<Bandwidth> rule) {
  if (const YamlNode* value = constant(node)) quantity(*value, out, rule);
}
void Reader::read(const YamlNode& node, Ratio& out, Between<Ratio> rule) {
  if (const YamlNode* value = constant(node)) quantity(*value, out, rule);
}
void Reader::read(const YamlNode& node, Varying<Duration>& out, Between<Duration> rule) {
  varying(node, out, rule);
}
void Reader::read(const YamlNode& node, Varying<Bytes>& out, Between<Bytes> rule) {
  varying(node, out, rule);
}
void Reader::read(const YamlNode& node, Varying<Bandwidth>& out, Between<Bandwidth> rule) {
  varying(node, out, rule);
}

void Reader::read(const YamlNode& node, Bandwidth& out, SpeedOrNone rule) {
  if (node.is_scalar() && node.text == "none") {
    out = Bandwidth::unlimited();
    return;
  }
  if (const YamlNode* value = constant(node)) quantity(*value, out, rule.bounds);
}

void Reader::read(const YamlNode& node, Limit& out, CountOrUnlimited rule) {
  if (node.is_scalar() && node.text == "unlimited") {
    out.reset();
    return;
  }
  std::uint32_t count = 0;
  const std::size_t before = report_.count();
  whole_number(node, count, rule.bounds);
  if (report_.count() == before) out = count;
}

void Reader::read(const YamlNode& node, std::string& out, ItemName /*rule*/) {
  const std::string* text = scalar(node, "a name");
  if (text == nullptr) return;
  if (!is_item_name(*text)) {
    problem(Problem::bad_name, node,
            fmt::format("{} cannot be a name; write a letter, then letters, digits, '_' or '-', {} "
                        "at most",
                        in_quotes(*text), longest_name));
    return;
  }
  out = *text;
}

bool Reader::expect_item_name(const YamlEntry& entry) {
  if (is_item_name(entry.key)) return true;
  problem(Problem::bad_name, entry.key_place,
          fmt::format("{} cannot be a name; write a letter, then letters, digits, '_' or '-', {} "
                      "at most",
                      in_quotes(entry.key), longest_name));
  return false;
}

void Reader::read(const YamlNode& node, std::string& out, TitleName /*rule*/) {
  const std::string* text = scalar(node, "a name");
  if (text == nullptr) return;
  if (!is_title_name(*text)) {
    problem(Problem::bad_name, node,
            fmt::format("{} cannot be a name; write a letter or digit, then letters, digits, '_', "
                        "'-' or '.', {} at most",
                        in_quotes(*text), longest_name));
    return;
  }
  out = *text;
}

void Reader::read(const YamlNode& node, std::string& out, FreeText rule) {
  const std::string* text = scalar(node, "a text");
  if (text == nullptr) return;
  if (text->size() < rule.least || text->size() > longest_text) {
    problem(Problem::bad_text, node,
            fmt::format("the text has {} bytes; write {} to {}", text->size(), rule.least,
                        longest_text));
    return;
  }
  out = *text;
}

void Reader::read(const YamlNode& node, std::string& out, OneOf rule) {
  const std::optional<std::size_t> index = word(node, rule.words, {});
  if (index) out = rule.words[*index];
}

void Reader::reference(const YamlNode& node, Reference& out, std::string_view example) {
  const std::string* text = scalar(node, fmt::format("names such as {}", example));
  if (text == nullptr) return;
  if (text->empty()) {
    problem(Problem::bad_reference, node,
            fmt::format("the reference is empty; write names such as {}", example));
  }
  out.text = *text;
}

void Reader::read(const YamlNode& node, Reference& out, HostNames /*rule*/) {
  reference(node, out, "\"host[0-3]\"");
}
void Reader::read(const YamlNode& node, Reference& out, VmNames /*rule*/) {
  reference(node, out, "\"vm[0-3]\"");
}
void Reader::read(const YamlNode& node, std::optional<Reference>& out, HostNamesOrAny /*rule*/) {
  if (node.is_scalar() && node.text == "any") {
    out.reset();
    return;
  }
  Reference reference_text;
  reference(node, reference_text, "\"host[0-3]\", or any");
  out = std::move(reference_text);
}

void Reader::read(const YamlNode& node, std::optional<Reference>& out, HostNames rule) {
  read(node, out.emplace(), rule);
}
void Reader::read(const YamlNode& node, std::vector<Reference>& out, VmLists rule) {
  if (!node.is_list()) {
    problem(Problem::wrong_type, node,
            fmt::format("this is {}; write a list such as [vm0, vm1]", describe_node(node)));
    return;
  }
  out.clear();
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    const At at(*this, {{}, i});
    reference(node.items[i], out.emplace_back(), "\"vm[0-3]\"");
  }
  if (out.empty()) {
    problem(Problem::empty_list, node, "the list is empty; write VMs such as [vm0, vm1]");
  } else if (out.size() < rule.least || out.size() > rule.most) {
    problem(Problem::out_of_range, node,
            fmt::format("the list has {} items; write {}", out.size(),
                        rule.least == rule.most ? fmt::format("{}", rule.least)
                                                : fmt::format("at most {}", rule.most)));
  }
}

void Reader::read(const YamlNode& node, std::vector<Bytes>& out, SizeList rule) {
  if (!node.is_list()) {
    problem(Problem::wrong_type, node,
            fmt::format("this is {}; write a list such as [8B, 64KiB]", describe_node(node)));
    return;
  }
  out.clear();
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    const At at(*this, {{}, i});
    read(node.items[i], out.emplace_back(), rule.bounds);
  }
  if (out.empty()) {
    problem(Problem::empty_list, node, "the list is empty; write sizes such as [8B, 64KiB]");
  } else if (out.size() > rule.most) {
    problem(Problem::out_of_range, node,
            fmt::format("the list has {} items; write at most {}", out.size(), rule.most));
  }
}

void Reader::read(const YamlNode& node, StartTime& out, TimeOrNever /*rule*/) {
  if (node.is_scalar() && node.text == "never") {
    out = StartTime{true, Duration::zero()};
    return;
  }
  Duration at;
  const YamlNode* value = constant(node);
  if (value != nullptr && quantity(*value, at, any_time)) out = StartTime{false, at};
}

void Reader::read(const YamlNode& node, Traffic& out, TrafficWords /*rule*/) {
  const std::vector<std::size_t> found = words(node, traffic_words, {}, 1);
  out.transports.clear();
  out.mpi = false;
  for (const std::size_t index : found) {
    if (index == transport_count) {
      out.mpi = true;
    } else {
      out.transports.push_back(static_cast<Transport>(index));
    }
  }
}

void Reader::read(const YamlNode& node, Sockets& out, SocketsByCores /*rule*/) {
  const std::string* text = scalar(node, "sockets x cores, such as \"2x8\"");
  if (text == nullptr) return;
  if (const std::optional<Sockets> sockets = sockets_of(*text)) {
    out = *sockets;
    return;
  }
  problem(Problem::bad_number, node,
          fmt::format("{} is not sockets x cores; write for example \"2x8\" for two sockets of "
                      "eight cores each, or hwloc's \"pack:2 core:8 pu:1\"",
                      in_quotes(*text)));
}

void Reader::read(const YamlNode& node, SocketChoice& out, SocketOrAny /*rule*/) {
  if (node.is_scalar() && node.text == "any") {
    out.number.reset();
    return;
  }
  if (node.is_scalar() && !node.text.empty() && is_letter(node.text.front())) {
    problem(Problem::unknown_value, node,
            fmt::format("{} is no socket; write its number, counted from 0, or any",
                        in_quotes(node.text)));
    return;
  }
  std::uint32_t number = 0;
  const std::size_t before = report_.count();
  whole_number(node, number, Between{0U, limits::sockets - 1});
  if (report_.count() == before) out.number = number;
}

void Reader::read(const YamlNode& node, EagerThreshold& out, SizeOrAuto rule) {
  if (node.is_scalar() && node.text == "auto") {
    out.size.reset();
    return;
  }
  read(node, out.size, MaybeSize{rule.bounds});
}

void Reader::read(const YamlNode& node, std::optional<Bytes>& out, MaybeSize rule) {
  Bytes size;
  const YamlNode* value = constant(node);
  if (value != nullptr && quantity(*value, size, rule.bounds)) out = size;
}

void Reader::read(const YamlNode& node, bool& out, YesOrNo /*rule*/) {
  constexpr std::array<std::string_view, 2> truth = {"false", "true"};
  const std::optional<std::size_t> index = word(node, truth, {});
  if (index) out = *index == 1;
}

void Reader::read(const YamlNode& node, NetworkTopology& out) {
  constexpr std::string_view wanted =
      "write star, {fat_tree: {hosts_per_leaf: N, spines: N}} or {dragonfly: {groups: N, chassis: "
      "N, routers: N, hosts_per_router: N}}";
  if (node.is_scalar() && node.text == "star") {
    out = Star{};
    return;
  }
  if (node.is_scalar() && (node.text == "fat_tree" || node.text == "dragonfly")) {
    problem(Problem::wrong_type, node, fmt::format("{} needs its sizes; {}", node.text, wanted));
    return;
  }
  if (!node.is_map() || node.entries.size() != 1) {
    problem(node.is_scalar() ? Problem::unknown_value : Problem::wrong_type, node,
            fmt::format("{} is no topology; {}",
                        node.is_scalar() ? in_quotes(node.text) : describe_node(node), wanted));
    return;
  }
  const YamlEntry& entry = node.entries.front();
  const At at(*this, {entry.key});
  if (entry.key == "fat_tree") {
    FatTree tree;
    read(entry.value, tree, Mapping{});
    out = tree;
  } else if (entry.key == "dragonfly") {
    Dragonfly fly;
    read(entry.value, fly, Mapping{});
    out = fly;
  } else {
    report_.add(Problem::unknown_value, entry.key_place, path_text(),
                fmt::format("{} is no topology; {}", in_quotes(entry.key), wanted));
  }
}

std::optional<std::size_t> Reader::word(const YamlNode& node,
                                        std::span<const std::string_view> words,
                                        std::span<const std::string_view> unsupported) {
  const std::vector<std::string_view> known = to_vector(words);
  if (!node.is_scalar()) {
    problem(Problem::wrong_type, node,
            fmt::format("this is {}; write one of {}", describe_node(node), listed(known)));
    return std::nullopt;
  }
  const auto found = std::find(words.begin(), words.end(), node.text);
  if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
  if (std::find(unsupported.begin(), unsupported.end(), node.text) != unsupported.end()) {
    problem(Problem::unsupported, node,
            fmt::format("{} is not supported by this version; supported: {}", in_quotes(node.text),
                        listed(known)));
    return std::nullopt;
  }
  const std::string_view near = nearest(node.text, known);
  problem(Problem::unknown_value, node,
          near.empty() ? fmt::format("{} is not known here; write one of {}", in_quotes(node.text),
                                     listed(known))
                       : fmt::format("{} is not known here; did you mean '{}'? Known: {}",
                                     in_quotes(node.text), near, listed(known)));
  return std::nullopt;
}

std::vector<std::size_t> Reader::words(const YamlNode& node,
                                       std::span<const std::string_view> words,
                                       std::span<const std::string_view> unsupported,
                                       std::size_t least) {
  std::vector<std::size_t> found;
  if (!node.is_list()) {
    problem(
        Problem::wrong_type, node,
        fmt::format("this is {}; write a list such as [{}]", describe_node(node), words.front()));
    return found;
  }
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    const At at(*this, {{}, i});
    const std::optional<std::size_t> index = word(node.items[i], words, unsupported);
    if (!index) continue;
    if (std::find(found.begin(), found.end(), *index) != found.end()) {
      problem(Problem::named_twice, node.items[i],
              fmt::format("{} is in the list twice; write it once", in_quotes(words[*index])));
      continue;
    }
    found.push_back(*index);
  }
  if (node.items.size() < least) {
    problem(Problem::empty_list, node,
            fmt::format("the list is empty; write at least one of {}", listed(to_vector(words))));
  }
  return found;
}

StructReader::StructReader(Reader& reader, const YamlNode& node)
    : reader_(reader), node_(node), taken_(node.entries.size(), false) {
  known_.reserve(16);
}

const YamlEntry* StructReader::take(std::string_view key) {
  known_.push_back(key);
  const std::size_t size = node_.entries.size();
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t at = next_ + i < size ? next_ + i : next_ + i - size;
    if (node_.entries[at].key == key) {
      taken_[at] = true;
      next_ = at + 1 < size ? at + 1 : 0;
      return &node_.entries[at];
    }
  }
  return nullptr;
}

std::string StructReader::named_example(std::string_view name) {
  return fmt::format("{{{}: {{...}}}}", name);
}

bool StructReader::is_empty(const YamlEntry& entry) {
  if (!entry.value.is_null()) return false;
  reader_.problem(
      Problem::no_value, entry.key_place,
      fmt::format("the key has no value; write one behind `{}:`, or leave the key out", entry.key));
  return true;
}

void StructReader::version(std::string_view key) {
  const YamlEntry* entry = take(key);
  if (entry == nullptr) {
    const Reader::At at(reader_, {key});
    reader_.problem(
        Problem::missing_version, node_,
        fmt::format("the format's version is missing; begin the file with `{}: 1`", key));
    return;
  }
  const Reader::At at(reader_, {entry->key});
  if (entry->value.is_scalar() && entry->value.text == "1") return;
  reader_.problem(Problem::wrong_version, entry->value,
                  fmt::format("{} is no version that this program reads; write `{}: 1`",
                              describe_node(entry->value), key));
}

bool StructReader::fixed(std::string_view key, std::string_view word,
                         std::initializer_list<std::string_view> unsupported_words, Need need,
                         std::string_view /*doc*/) {
  const YamlEntry* entry = take(key);
  if (entry == nullptr) {
    if (need == Need::required) missing(key, std::string(word));
    return false;
  }
  const Reader::At at(reader_, {entry->key});
  if (is_empty(*entry)) return true;
  const std::vector<std::string_view> unsupported(unsupported_words);
  reader_.word(entry->value, std::span(&word, 1), unsupported);
  return true;
}

void StructReader::topology(std::string_view key, NetworkTopology& topology,
                            std::string_view /*doc*/) {
  const YamlEntry* entry = take(key);
  if (entry == nullptr) {
    missing(key, "star");
    return;
  }
  const Reader::At at(reader_, {entry->key});
  if (!is_empty(*entry)) reader_.read(entry->value, topology);
}

const YamlNode* StructReader::raw(std::string_view key, Need need, RawShape shape,
                                  std::string_view /*doc*/) {
  const YamlEntry* entry = take(key);
  if (entry == nullptr) {
    if (need == Need::required) missing(key, example_of(shape));
    return nullptr;
  }
  const Reader::At at(reader_, {entry->key});
  return is_empty(*entry) ? nullptr : &entry->value;
}

void StructReader::finish() {
  bool any_unsupported = false;
  std::vector<std::string_view> meant;  // keys that a misspelt one most likely is
  for (std::size_t i = 0; i < node_.entries.size(); ++i) {
    if (taken_[i]) continue;
    const YamlEntry& entry = node_.entries[i];
    const Reader::At at(reader_, {entry.key});
    if (std::find(unsupported_.begin(), unsupported_.end(), entry.key) != unsupported_.end()) {
      any_unsupported = true;
      reader_.problem(Problem::unsupported, entry.key_place,
                      fmt::format("the key {} is not supported by this version; supported: {}",
                                  in_quotes(entry.key), listed(known_)));
      continue;
    }
    const std::string_view near = nearest(entry.key, known_);
    if (!near.empty()) meant.push_back(near);
    reader_.problem(Problem::unknown_key, entry.key_place,
                    near.empty() ? fmt::format("unknown key; known here: {}", listed(known_))
                                 : fmt::format("unknown key; did you mean '{}'?", near));
  }
  // What an unsupported key stands for may be what is missing.
  if (any_unsupported) return;
  for (const Missing& missing : missing_) {
    if (std::find(meant.begin(), meant.end(), missing.key) != meant.end()) continue;
    const Reader::At at(reader_, {missing.key});
    reader_.problem(Problem::missing_key, node_,
                    fmt::format("this key is required and missing; add `{}: {}`", missing.key,
                                missing.example));
  }
  if (!missing_.empty() || !meant.empty()) return;
  for (Complaint& complaint : complaints_) {
    const YamlEntry* entry = complaint.key.empty() ? nullptr : node_.find(complaint.key);
    if (entry == nullptr) {
      reader_.problem(complaint.problem, node_, std::move(complaint.message));
      continue;
    }
    const Reader::At at(reader_, {entry->key});
    reader_.problem(complaint.problem, entry->value, std::move(complaint.message));
  }
}

}  // namespace ferry
