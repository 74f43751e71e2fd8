#include "hw_backend/host/report_json.hpp"

#include <fmt/format.h>

#include <array>
#include <concepts>
#include <nlohmann/json.hpp>
#include <type_traits>

namespace ferry::host {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t largest_report = std::size_t{16} << 20U;
constexpr std::array<std::string_view, 3> levels = {"ok", "warning", "failed"};
constexpr std::array<std::string_view, 4> tellers = {"nobody", "mlx5_sysfs", "mlx4_sysfs",
                                                     "netlink"};

constexpr const auto& words_of(Finding::Level) { return levels; }
constexpr const auto& words_of(ToldBy) { return tellers; }

// Every struct once: the names in JSON.

template <class V>
void describe(V& v, Finding& of) {
  v.field("level", of.level);
  v.field("subject", of.subject);
  v.field("text", of.text);
  v.field("fix", of.fix);
}
template <class V>
void describe(V& v, HugePages& of) {
  v.field("size_bytes", of.size);
  v.field("total", of.total);
  v.field("free", of.free);
}
template <class V>
void describe(V& v, NumaNode& of) {
  v.field("node", of.node);
  v.field("package", of.package);
  v.field("cores", of.cores);
  v.field("processors", of.processors);
  v.field("memory_bytes", of.memory);
  v.field("huge_pages", of.huge_pages);
}
template <class V>
void describe(V& v, Iommu& of) {
  v.field("on", of.on);
  v.field("groups", of.groups);
  v.field("units", of.units);
  v.field("options", of.options);
}
template <class V>
void describe(V& v, User& of) {
  v.field("process", of.process);
  v.field("program", of.program);
  v.field("guest", of.guest);
}
template <class V>
void describe(V& v, VirtualFunction& of) {
  v.field("index", of.index);
  v.field("pci", of.pci);
  v.field("driver", of.driver);
  v.field("group", of.group);
  v.field("group_peers", of.group_peers);
  v.field("node_guid", of.node_guid);
  v.field("port_guid", of.port_guid);
  v.field("policy", of.policy);
  v.field("told_by", of.told_by);
  v.field("user", of.user);
}
template <class V>
void describe(V& v, Port& of) {
  v.field("number", of.number);
  v.field("state", of.state);
  v.field("physical_state", of.physical_state);
  v.field("link_layer", of.link_layer);
  v.field("rate", of.rate);
  v.field("lid", of.lid);
  v.field("subnet_manager_lid", of.subnet_manager_lid);
}
template <class V>
void describe(V& v, Bridge& of) {
  v.field("pci", of.pci);
  v.field("acs", of.acs);
}
template <class V>
void describe(V& v, Adapter& of) {
  v.field("name", of.name);
  v.field("pci", of.pci);
  v.field("driver", of.driver);
  v.field("firmware", of.firmware);
  v.field("node_guid", of.node_guid);
  v.field("interfaces", of.interfaces);
  v.field("numa", of.numa);
  v.field("package", of.package);
  v.field("functions_possible", of.functions_possible);
  v.field("ports", of.ports);
  v.field("bridges", of.bridges);
  v.field("functions", of.functions);
}
template <class V>
void describe(V& v, LockedMemory& of) {
  v.field("process", of.process);
  v.field("limit_bytes", of.limit);
}
template <class V>
void describe(V& v, SharedMemory& of) {
  v.field("name", of.name);
  v.field("size_bytes", of.size);
  v.field("used_bytes", of.used);
  v.field("ferry", of.ferry);
  v.field("running_domains", of.running_domains);
  v.field("defined_domains", of.defined_domains);
  v.field("users", of.users);
  v.field("kept", of.kept);
}
template <class V>
void describe(V& v, Versions& of) {
  v.field("ferry", of.ferry);
  v.field("kernel", of.kernel);
  v.field("qemu", of.qemu);
  v.field("libvirt", of.libvirt);
}
template <class V>
void describe(V& v, Report& of) {
  v.field("host", of.host);
  v.field("root", of.root);
  v.field("versions", of.versions);
  v.field("iommu", of.iommu);
  v.field("vfio", of.vfio);
  v.field("rdma_netns", of.rdma_netns);
  v.field("numa", of.numa);
  v.field("adapters", of.adapters);
  v.field("locked_memory", of.locked_memory);
  v.field("shared_memory", of.shared_memory);
  v.field("findings", of.findings);
}

class Writer {
 public:
  template <class T>
  static Json json_of(const T& value) {
    if constexpr (std::is_same_v<T, Bytes>) {
      return value.count();
    } else if constexpr (std::is_enum_v<T>) {
      return words_of(value).at(static_cast<std::size_t>(value));
    } else if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::string>) {
      return value;
    } else {
      Writer writer;
      describe(writer, const_cast<T&>(value));  // it only looks
      return std::move(writer.object_);
    }
  }
  template <class T>
  static Json json_of(const std::optional<T>& value) {
    return value ? json_of(*value) : Json(nullptr);
  }
  template <class T>
  static Json json_of(const std::vector<T>& values) {
    Json list = Json::array();
    for (const T& value : values) list.push_back(json_of(value));
    return list;
  }

  template <class T>
  void field(const char* name, const T& value) {
    object_[name] = json_of(value);
  }

 private:
  Json object_ = Json::object();
};

/// Keeps the first thing that is wrong.
class Reader {
 public:
  Reader(const Json& object, std::string path, std::string& wrong)
      : object_(object), path_(std::move(path)), wrong_(wrong) {}

  template <class T>
  void field(const char* name, T& value) {
    const std::string path = path_.empty() ? name : path_ + "." + name;
    const auto found = object_.find(name);
    if (found == object_.end()) {
      complain(path, "is missing");
    } else {
      read(*found, path, value);
    }
  }

  template <class T>
  void read(const Json& json, const std::string& path, T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      if (!json.is_boolean()) return complain(path, "is neither true nor false");
      value = json.get<bool>();
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (!json.is_string()) return complain(path, "is no text");
      value = json.get<std::string>();
    } else if constexpr (std::is_same_v<T, Bytes>) {
      std::uint64_t count = 0;
      read(json, path, count);
      value = Bytes(count);
    } else if constexpr (std::is_integral_v<T>) {
      if (!json.is_number_unsigned() ||
          json.get<std::uint64_t>() > std::uint64_t{std::numeric_limits<T>::max()}) {
        return complain(path, "is no number from 0 on, or too large");
      }
      value = static_cast<T>(json.get<std::uint64_t>());
    } else if constexpr (std::is_enum_v<T>) {
      const auto& words = words_of(value);
      for (std::size_t i = 0; i < words.size(); ++i) {
        if (json == words[i]) {
          value = static_cast<T>(i);
          return;
        }
      }
      complain(path, fmt::format("is not one of {}", fmt::join(words, ", ")));
    } else {
      if (!json.is_object()) return complain(path, "is no object");
      Reader inside(json, path, wrong_);
      describe(inside, value);
    }
  }
  template <class T>
  void read(const Json& json, const std::string& path, std::optional<T>& value) {
    if (!json.is_null()) read(json, path, value.emplace());
  }
  template <class T>
  void read(const Json& json, const std::string& path, std::vector<T>& values) {
    if (!json.is_array()) return complain(path, "is no list");
    for (std::size_t i = 0; i < json.size() && wrong_.empty(); ++i) {
      read(json[i], fmt::format("{}[{}]", path, i), values.emplace_back());
    }
  }

 private:
  void complain(const std::string& path, const std::string& what) {
    if (wrong_.empty()) wrong_ = path + " " + what;
  }

  const Json& object_;
  std::string path_;
  std::string& wrong_;
};

/// What hosts say of themselves need not be UTF-8.
std::string dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string to_json(const Report& report) {
  Json json = {{"ferry_host", report_version}};
  const Json content = Writer::json_of(report);
  json.update(content);
  return dump(json);
}

std::string to_json(const std::vector<SharedMemory>& files) {
  Json json = {{"ferry_host", report_version}};
  json["shared_memory"] = Writer::json_of(files);
  return dump(json);
}

Result<Report> read_report(std::string_view text) {
  if (text.size() > largest_report) {
    return failure(FailureKind::refused, "it has more than 16 MiB, which is no report");
  }
  const Json json = Json::parse(text, nullptr, false);
  const auto version = json.is_object() ? json.find("ferry_host") : json.end();
  if (!json.is_object() || version == json.end()) {
    return failure(FailureKind::refused, "it is no report of ferry-host report --json");
  }
  if (*version != report_version) {
    return failure(FailureKind::refused,
                   fmt::format("it is a report of version {}, and this ferry reads version {}; use "
                               "the same version of Ferry on all machines",
                               version->dump(), report_version));
  }
  Report report;
  std::string wrong;
  Reader(json, "", wrong).read(json, "", report);
  if (!wrong.empty()) return failure(FailureKind::refused, wrong);
  return report;
}

std::string to_word(Finding::Level level) {
  return std::string(levels.at(static_cast<std::size_t>(level)));
}

bool has_failed(const Report& report) {
  for (const Finding& finding : report.findings) {
    if (finding.level == Finding::Level::failed) return true;
  }
  return false;
}

}  // namespace ferry::host
