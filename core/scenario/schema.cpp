// JSON Schema (draft 2020-12) from the same descriptions as the reader's.
#include <fmt/format.h>

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <type_traits>
#include <utility>

#include "core/scenario/describe_cluster.hpp"
#include "core/scenario/describe_scenario.hpp"
#include "core/scenario/describe_study.hpp"
#include "core/scenario/document.hpp"
#include "core/scenario/writer.hpp"

namespace ferry {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* item_name_pattern = "^[A-Za-z][A-Za-z0-9_-]{0,63}$";
constexpr std::string_view number_pattern = "([0-9]+(\\.[0-9]+)?([eE][-+]?[0-9]+)?)";

Json string_pattern(std::string_view description, std::string_view units) {
  return {{"description", description},
          {"anyOf",
           {{{"type", "string"}, {"pattern", fmt::format("^({} *({})|0)$", number_pattern, units)}},
            {{"const", 0}}}}};
}

/// What the descriptions refer to: quantities, plain and with a source.
Json definitions() {
  Json defs = Json::object();
  defs["duration"] = string_pattern("A time with its unit: 300ms", "ns|us|ms|s|min|h");
  defs["bytes"] = string_pattern("A size with its unit: 4GiB", "B|KiB|MiB|GiB|TiB|KB|MB|GB|TB");
  defs["bandwidth"] =
      string_pattern("A speed with its unit: 56Gbps, 20MB/s", "[KMGT]?bps|([KMGT]i?)?B/s");
  defs["ratio"] = {{"description", "A share: 20% or 0.2"},
                   {"anyOf",
                    {{{"type", "number"}, {"minimum", 0}},
                     {{"type", "string"}, {"pattern", fmt::format("^{} *%?$", number_pattern)}}}}};
  defs["whole"] = {{"description", "A whole number"}, {"type", "integer"}, {"minimum", 0}};
  for (const std::string name : {"duration", "bytes", "bandwidth", "ratio", "whole"}) {
    const Json plain = {{"$ref", "#/$defs/" + name}};
    defs["sourced_" + name] = {
        {"description", "A constant with where it comes from"},
        {"type", "object"},
        {"properties",
         {{"value", plain},
          {"source", {{"type", "string"}, {"minLength", 1}}},
          {"kind", {{"enum", {"measured", "documented", "fitted", "assumed"}}}},
          {"to",
           {{"description", "The claims that it was fitted to"},
            {"type", "array"},
            {"items", {{"type", "string"}}},
            {"minItems", 1}}}}},
        {"required", {"value", "source", "kind"}},
        {"additionalProperties", false}};
  }
  for (const std::string name : {"duration", "bytes", "bandwidth"}) {
    const Json plain = {{"$ref", "#/$defs/" + name}};
    const auto law = [](const char* key, const Json& body) {
      return Json{{"type", "object"},
                  {"properties", {{key, body}}},
                  {"required", Json::array({key})},
                  {"additionalProperties", false}};
    };
    defs["random_" + name] = {
        {"description", "A quantity that is drawn for each item"},
        {"anyOf",
         {law("uniform", {{"type", "array"}, {"items", plain}, {"minItems", 2}, {"maxItems", 2}}),
          law("choice", {{"type", "array"}, {"items", plain}, {"minItems", 1}}),
          law("lognormal",
              {{"type", "object"},
               {"properties",
                {{"median", plain},
                 {"sigma", {{"type", "number"}, {"exclusiveMinimum", 0}, {"maximum", 5}}}}},
               {"required", {"median", "sigma"}},
               {"additionalProperties", false}})}}};
  }
  return defs;
}

enum class Constants { plain_or_sourced, sourced };

template <class T>
struct QuantityName;
template <>
struct QuantityName<Duration> {
  static constexpr std::string_view value = "duration";
};
template <>
struct QuantityName<Bytes> {
  static constexpr std::string_view value = "bytes";
};
template <>
struct QuantityName<Bandwidth> {
  static constexpr std::string_view value = "bandwidth";
};
template <>
struct QuantityName<Ratio> {
  static constexpr std::string_view value = "ratio";
};

template <class T>
struct IsVarying : std::false_type {};
template <class T>
struct IsVarying<Varying<T>> : std::true_type {
  using Quantity = T;
};

Json reference_to(std::string_view definition) {
  return {{"$ref", fmt::format("#/$defs/{}", definition)}};
}

template <class Range>
Json words(const Range& range) {
  Json list = Json::array();
  for (const std::string_view word : range) list.push_back(std::string(word));
  return list;
}

/// See `describe_values.hpp`.
class StructSchema {
 public:
  /// `partial`: nothing is required (an inline platform that overrides a file).
  StructSchema(Constants constants, bool partial) : constants_(constants), partial_(partial) {
    schema_["type"] = "object";
    schema_["properties"] = Json::object();
  }

  void about(std::string_view text) { schema_["description"] = std::string(text); }
  void unsupported(std::initializer_list<std::string_view> /*keys*/) {}
  void complain(std::string_view /*key*/, Problem /*problem*/, std::string_view /*message*/) {}
  void present_if(bool /*present*/) {}
  [[nodiscard]] const YamlNode* peek(std::string_view /*key*/) const { return nullptr; }
  void version(std::string_view key) {
    add(key, Need::required, "The version of the format.", {{"const", 1}});
  }
  /// The next version key may be left out.
  void relax_version() { relaxed_ = true; }

  template <class T, class Rule>
  bool required(std::string_view key, T& member, const Rule& rule, std::string_view doc) {
    add(key, Need::required, doc, value_schema(member, rule));
    return true;
  }
  template <class T, class Rule>
  bool optional(std::string_view key, T& member, const Rule& rule, std::string_view doc) {
    Json value = value_schema(member, rule);
    if constexpr (!std::is_same_v<Rule, Mapping>) value["default"] = default_of(member);
    add(key, Need::optional, doc, std::move(value));
    return true;
  }
  template <class T, class Rule>
  bool optional_as(std::string_view key, T& member, const Rule& rule, std::string_view default_text,
                   std::string_view doc) {
    add(key, Need::optional, fmt::format("{} Default: {}.", doc, default_text),
        value_schema(member, rule));
    return true;
  }
  void count(std::string_view key, std::uint32_t& count, bool& /*numbered*/, std::uint32_t most,
             std::string_view doc) {
    add(key, Need::optional, doc, value_schema(count, Between{1U, most}));
  }
  bool fixed(std::string_view key, std::string_view word,
             std::initializer_list<std::string_view> /*unsupported_words*/, Need need,
             std::string_view doc) {
    add(key, need, doc, {{"const", std::string(word)}});
    return true;
  }
  template <class Body>
  void group(std::string_view key, Need need, std::string_view doc, const Body& body) {
    StructSchema inner(constants_, partial_);
    body(inner);
    add(key, need, doc, inner.take());
  }
  template <class Struct>
  void list(std::string_view key, std::vector<Struct>& /*items*/, Need need, std::size_t least,
            std::string_view doc) {
    // A list replaces the whole list below it: its items are never partial.
    StructSchema item(constants_, false);
    Struct value;
    describe(item, value);
    Json list = {{"type", "array"}, {"items", item.take()}};
    if (least > 0) list["minItems"] = least;
    add(key, need, doc, std::move(list));
  }
  template <class Struct>
  void by_name(std::string_view key, std::vector<Struct>& /*items*/, std::string_view /*example*/,
               std::string_view doc) {
    StructSchema item(constants_, false);
    Struct value;
    describe(item, value);
    add(key, Need::required, doc,
        {{"type", "object"},
         {"propertyNames", {{"pattern", item_name_pattern}}},
         {"additionalProperties", item.take()},
         {"minProperties", 1}});
  }
  void topology(std::string_view key, NetworkTopology& /*topology*/, std::string_view doc) {
    const auto shape = [&](const char* name, auto sizes) {
      StructSchema inner(constants_, false);
      describe(inner, sizes);
      return Json{{"type", "object"},
                  {"properties", {{name, inner.take()}}},
                  {"required", Json::array({name})},
                  {"additionalProperties", false}};
    };
    add(key, Need::required, doc,
        {{"anyOf",
          {{{"const", "star"}}, shape("fat_tree", FatTree()), shape("dragonfly", Dragonfly())}}});
  }
  void platform(std::string_view key, Platform& platform, std::string_view doc) {
    StructSchema partial(Constants::plain_or_sourced, true);
    describe(partial, platform);
    Json overrides = partial.take();
    overrides["properties"]["base"] = {{"type", "string"},
                                       {"description",
                                        "A platform file that the other keys "
                                        "override."}};
    add(key, Need::required, doc,
        {{"anyOf", {{{"type", "string"}, {"minLength", 1}}, std::move(overrides)}}});
  }
  const YamlNode* raw(std::string_view key, Need need, RawShape shape, std::string_view doc) {
    add(key, need, doc, raw_schema(shape));
    return nullptr;
  }

  Json take() {
    if (!required_.empty()) schema_["required"] = required_;
    schema_["additionalProperties"] = false;
    return std::move(schema_);
  }

 private:
  void add(std::string_view key, Need need, std::string_view doc, Json value) {
    Json described = {{"description", std::string(doc)}};
    // A reference's own description would hide this one.
    for (auto& [name, content] : value.items()) {
      if (name != "description" || doc.empty()) described[name] = content;
    }
    schema_["properties"][std::string(key)] = std::move(described);
    const bool may_be_absent = partial_ || std::exchange(relaxed_, false);
    if (need == Need::required && !may_be_absent) required_.push_back(std::string(key));
  }

  template <class T>
  static Json default_of(const T& member) {
    if constexpr (std::is_enum_v<T>) {
      return std::string(EnumWords<T>::words[static_cast<std::size_t>(member)]);
    } else if constexpr (std::is_same_v<T, std::uint32_t> || std::is_same_v<T, std::uint64_t> ||
                         std::is_same_v<T, bool> || std::is_same_v<T, std::string>) {
      return member;
    } else if constexpr (requires { to_yaml(member); }) {
      return to_yaml(member);
    } else {
      Json list = Json::array();
      for (const auto item : member) list.push_back(default_of(item));
      return list;
    }
  }

  [[nodiscard]] Json quantity(std::string_view name) const {
    Json sourced = reference_to(fmt::format("sourced_{}", name));
    if (constants_ == Constants::sourced) return sourced;
    return {{"anyOf", {reference_to(name), sourced}}};
  }

  template <class T, class Rule>
  Json value_schema(T& member, const Rule& rule) const {
    if constexpr (std::is_same_v<Rule, Mapping>) {
      StructSchema inner(constants_, partial_);
      describe(inner, member);
      return inner.take();
    } else if constexpr (std::is_same_v<Rule, Word>) {
      return {{"enum", words(EnumWords<T>::words)}};
    } else if constexpr (std::is_same_v<Rule, Words>) {
      Json list = {{"type", "array"},
                   {"items", {{"enum", words(EnumWords<typename T::value_type>::words)}}},
                   {"uniqueItems", true}};
      if (rule.least > 0) list["minItems"] = rule.least;
      return list;
    } else if constexpr (std::is_same_v<Rule, OneOf>) {
      return {{"enum", words(rule.words)}};
    } else if constexpr (std::is_same_v<Rule, ItemName>) {
      return {{"type", "string"}, {"pattern", item_name_pattern}};
    } else if constexpr (std::is_same_v<Rule, TitleName>) {
      return {{"type", "string"}, {"pattern", "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"}};
    } else if constexpr (std::is_same_v<Rule, FreeText>) {
      Json text = {{"type", "string"}};
      if (rule.least > 0) text["minLength"] = rule.least;
      return text;
    } else if constexpr (std::is_same_v<Rule, HostNames> || std::is_same_v<Rule, VmNames> ||
                         std::is_same_v<Rule, HostNamesOrAny>) {
      return {{"type", "string"}, {"minLength", 1}};
    } else if constexpr (std::is_same_v<Rule, SizeList>) {
      return {{"type", "array"},
              {"items", quantity("bytes")},
              {"minItems", 1},
              {"maxItems", rule.most}};
    } else if constexpr (std::is_same_v<Rule, VmLists>) {
      return {{"type", "array"},
              {"items", {{"type", "string"}, {"minLength", 1}}},
              {"minItems", rule.least},
              {"maxItems", rule.most}};
    } else if constexpr (std::is_same_v<Rule, YesOrNo>) {
      return {{"type", "boolean"}};
    } else if constexpr (std::is_same_v<Rule, LibvirtUri>) {
      return {{"type", "string"}, {"pattern", "^qemu(\\+[a-z0-9]+)?://"}};
    } else if constexpr (std::is_same_v<Rule, MigrationUri>) {
      return {{"type", "string"},
              {"pattern", fmt::format("^({})://", fmt::join(rule.schemes, "|"))}};
    } else if constexpr (std::is_same_v<Rule, PciNames>) {
      return {{"type", "string"}, {"minLength", 1}};
    } else if constexpr (std::is_same_v<Rule, DeviceAlias>) {
      return {{"type", "string"}, {"pattern", "^ua-[A-Za-z0-9_-]+$"}};
    } else if constexpr (std::is_same_v<Rule, AbsolutePath>) {
      return {{"type", "string"}, {"pattern", "^/."}};
    } else if constexpr (std::is_same_v<Rule, MaybeNumber>) {
      return {{"type", "integer"}, {"minimum", rule.bounds.low}, {"maximum", rule.bounds.high}};
    } else if constexpr (std::is_same_v<Rule, TimeOrNever>) {
      Json time = {{"anyOf", {{{"const", "never"}}, quantity("duration")}}};
      return time;
    } else if constexpr (std::is_same_v<Rule, TrafficWords>) {
      return {{"type", "array"},
              {"items", {{"enum", words(traffic_words)}}},
              {"uniqueItems", true},
              {"minItems", 1}};
    } else if constexpr (std::is_same_v<Rule, SocketsByCores>) {
      return {{"type", "string"}, {"pattern", "^([1-9][0-9]*x[1-9][0-9]*|.*:.*)$"}};
    } else if constexpr (std::is_same_v<Rule, SocketOrAny>) {
      return {{"anyOf",
               {{{"const", "any"}},
                {{"type", "integer"}, {"minimum", 0}, {"maximum", limits::sockets - 1}}}}};
    } else if constexpr (std::is_same_v<Rule, SizeOrAuto>) {
      return {{"anyOf", {{{"const", "auto"}}, quantity("bytes")}}};
    } else if constexpr (std::is_same_v<Rule, MaybeSize>) {
      return quantity("bytes");
    } else if constexpr (std::is_same_v<Rule, SpeedOrNone>) {
      return {{"anyOf", {{{"const", "none"}}, quantity("bandwidth")}}};
    } else if constexpr (std::is_same_v<Rule, CountOrUnlimited>) {
      return {
          {"anyOf",
           {{{"const", "unlimited"}},
            {{"type", "integer"}, {"minimum", rule.bounds.low}, {"maximum", rule.bounds.high}}}}};
    } else if constexpr (std::is_same_v<T, std::uint32_t> || std::is_same_v<T, std::uint64_t>) {
      const Json plain = {{"type", "integer"}, {"minimum", rule.low}, {"maximum", rule.high}};
      return {{"anyOf", {plain, reference_to("sourced_whole")}}};
    } else if constexpr (IsVarying<T>::value) {
      const std::string_view name = QuantityName<typename IsVarying<T>::Quantity>::value;
      Json any = quantity(name);
      any["anyOf"].push_back(reference_to(fmt::format("random_{}", name)));
      return any;
    } else {
      return quantity(QuantityName<T>::value);
    }
  }

  static Json raw_schema(RawShape shape) {
    Json value = {{"type", {"string", "number", "boolean", "object", "array"}}};
    const Json list = {{"type", "array"}, {"items", value}};
    const auto by_path = [](Json content) {
      return Json{{"type", "object"}, {"additionalProperties", std::move(content)}};
    };
    switch (shape) {
      case RawShape::scenario: {
        StructSchema inline_scenario(Constants::plain_or_sourced, false);
        inline_scenario.relax_version();
        Scenario scenario;
        describe(inline_scenario, scenario);
        return {{"anyOf", {{{"type", "string"}, {"minLength", 1}}, inline_scenario.take()}}};
      }
      case RawShape::variations: {
        Json values = list;
        values["minItems"] = 1;
        const Json number = {{"type", {"string", "number"}}};
        const Json range = {{"type", "object"},
                            {"properties",
                             {{"from", number},
                              {"to", number},
                              {"steps", {{"type", "integer"}, {"minimum", 2}}},
                              {"scale", {{"enum", {"linear", "log"}}}}}},
                            {"required", {"from", "to", "steps"}},
                            {"additionalProperties", false}};
        return by_path({{"anyOf", {values, range}}});
      }
      case RawShape::assignments: return by_path(value);
      case RawShape::assignment_list: return {{"type", "array"}, {"items", by_path(value)}};
      case RawShape::path_lists:
        return {{"type", "array"},
                {"items", {{"type", "array"}, {"items", {{"type", "string"}}}, {"minItems", 2}}}};
      case RawShape::pair:
      case RawShape::order: {
        Json values = list;
        values["minItems"] = 2;
        if (shape == RawShape::pair) values["maxItems"] = 2;
        Json mapping = by_path(values);
        mapping["minProperties"] = 1;
        mapping["maxProperties"] = 1;
        return mapping;
      }
      case RawShape::number: return {{"type", {"string", "number"}}};
      case RawShape::constant_value:
      case RawShape::constant_kind:
      case RawShape::claim_ids:
      case RawShape::sigma: return value;  // parts of quantities, whose schema is in $defs
    }
    return value;
  }

  Constants constants_;
  bool partial_;
  bool relaxed_ = false;
  Json schema_;
  Json required_ = Json::array();
};

Json file_schema(FileKind kind) {
  switch (kind) {
    case FileKind::scenario: {
      StructSchema schema(Constants::plain_or_sourced, false);
      Scenario scenario;
      describe(schema, scenario);
      return schema.take();
    }
    case FileKind::study: {
      StructSchema schema(Constants::plain_or_sourced, false);
      StudyText study;
      describe(schema, study);
      return schema.take();
    }
    case FileKind::platform: {
      StructSchema schema(Constants::sourced, false);
      schema.version("ferry_platform");
      Platform platform;
      describe(schema, platform);
      return schema.take();
    }
    case FileKind::cluster: {
      StructSchema schema(Constants::plain_or_sourced, false);
      ClusterFile cluster;
      describe(schema, cluster);
      return schema.take();
    }
  }
  return {};
}

}  // namespace

std::string json_schema(FileKind kind) {
  const std::array<std::string_view, 4> names = {"scenario", "study", "platform", "cluster"};
  Json schema = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                 {"title", fmt::format("Ferry {}", names[static_cast<std::size_t>(kind)])}};
  const Json content = file_schema(kind);
  for (auto& [key, value] : content.items()) schema[key] = value;
  schema["$defs"] = definitions();
  return schema.dump(2) + "\n";
}

}  // namespace ferry
