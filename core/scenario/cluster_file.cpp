#include "core/scenario/cluster_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "core/scenario/addresses.hpp"
#include "core/scenario/describe_cluster.hpp"
#include "core/scenario/loading.hpp"
#include "core/scenario/reader.hpp"
#include "core/scenario/writer.hpp"
#include "core/units/check.hpp"

namespace ferry {
namespace {

template <class Item>
const Item* find_named(const std::vector<Item>& items, std::string_view name) {
  const auto found =
      std::find_if(items.begin(), items.end(), [&](const Item& item) { return item.name == name; });
  return found == items.end() ? nullptr : &*found;
}

/// Reports a value that an earlier item has too.
class Unique {
 public:
  Unique(Report& report, std::string what) : report_(report), what_(std::move(what)) {}
  /// `path` of the item, `key` in it.
  void add(const YamlNode& item, const std::string& path, std::string_view key,
           const std::string& value) {
    const auto [first, is_new] = first_.emplace(value, path);
    if (is_new) return;
    const YamlEntry* entry = item.find(key);
    const SourcePlace place = entry == nullptr ? item.place : entry->value.place;
    report_.add(Problem::duplicate_name, place, fmt::format("{}.{}", path, key),
                fmt::format("{} has {} {} already; write {}'s own", first->second, what_,
                            in_quotes(value), path));
  }

 private:
  Report& report_;
  std::string what_;
  std::map<std::string, std::string> first_;  ///< value: path of the item that has it
};

/// What only shows when the items are seen together.
void check_items(const YamlNode& root, const ClusterFile& cluster, Report& report) {
  Unique connections(report, "the libvirt");
  Unique domains(report, "the domain");
  for (const YamlEntry& entry : root.find("hosts")->value.entries) {
    const ClusterHost& host = *cluster.host(entry.key);
    const std::string path = fmt::format("hosts.{}", host.name);
    connections.add(entry.value, path, "libvirt", host.libvirt);
    Unique functions(report, "the function");
    for (std::size_t i = 0; i < host.virtual_functions.size(); ++i) {
      const YamlNode& pool = entry.value.find("virtual_functions")->value.items[i];
      for (const std::string& address : host.virtual_functions[i].pci.addresses) {
        functions.add(pool, fmt::format("{}.virtual_functions.{}", path, i), "pci", address);
      }
    }
  }
  for (const YamlEntry& entry : root.find("vms")->value.entries) {
    domains.add(entry.value, fmt::format("vms.{}", entry.key), "domain",
                cluster.vm(entry.key)->domain);
  }
}

void add_place(const YamlNode& node, const SourcePlace& place, const std::string& path,
               LoadedCluster& loaded) {
  loaded.places.push_back({path, place.line, place.column});
  for (const YamlEntry& entry : node.entries) {
    loaded.places.push_back(
        {fmt::format("{}.{}", path, entry.key), entry.key_place.line, entry.key_place.column});
  }
}

Loaded<LoadedCluster> read(std::string_view text, std::uint32_t source, Report& report) {
  LoadedCluster loaded;
  loaded.file = report.source_name(source);
  YamlNode root;
  if (parse_yaml(text, source, root, report)) {
    if (root.is_map() && root.find("ferry_cluster") == nullptr && root.find("hosts") == nullptr) {
      report.add(Problem::missing_version, root.place, "ferry_cluster",
                 "this is no cluster file; one begins with `ferry_cluster: 1`");
      return tl::unexpected<Diagnostics>(report.take());
    }
    Reader reader(report);
    reader.read(root, loaded.cluster, Mapping{});
    if (report.empty()) check_items(root, loaded.cluster, report);
  }
  if (!report.empty()) return tl::unexpected<Diagnostics>(report.take());
  for (const std::string key : {"hosts", "vms"}) {
    const YamlEntry* entry = root.find(key);
    add_place(entry->value, entry->key_place, key, loaded);
  }
  loaded.resolved = write_resolved(loaded.cluster);
  return loaded;
}

}  // namespace

void Reader::read(const YamlNode& node, std::string& out, LibvirtUri /*rule*/) {
  const std::string* text = scalar(node, "a URI such as qemu+tls://HOST/system");
  if (text == nullptr) return;
  if (const auto good = check_libvirt_uri(*text); !good) {
    problem(good.error().problem, node, good.error().message);
    return;
  }
  out = *text;
}

void Reader::read(const YamlNode& node, std::string& out, MigrationUri rule) {
  const std::string* text = scalar(node, fmt::format("a URI such as {}://HOST", rule.schemes[0]));
  if (text == nullptr) return;
  if (const auto good = check_migration_uri(*text, rule.schemes); !good) {
    problem(good.error().problem, node, good.error().message);
    return;
  }
  out = *text;
}

void Reader::read(const YamlNode& node, PciFunctions& out, PciNames /*rule*/) {
  const std::string* text = scalar(node, "PCI functions such as \"0000:03:00.[1-7]\"");
  if (text == nullptr) return;
  auto addresses = expand_pci(*text);
  if (!addresses) {
    problem(addresses.error().problem, node, addresses.error().message);
    return;
  }
  out = PciFunctions{*text, std::move(*addresses)};
}

void Reader::read(const YamlNode& node, std::string& out, DeviceAlias /*rule*/) {
  const std::string* text = scalar(node, "a device's alias such as ua-vf0");
  if (text == nullptr) return;
  // The prefix and the characters that libvirt leaves to users (docs/formatdomain, "alias").
  constexpr std::string_view prefix = "ua-";
  constexpr std::string_view characters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
  if (text->substr(0, prefix.size()) != prefix || text->size() == prefix.size() ||
      text->find_first_not_of(characters) != std::string::npos) {
    problem(Problem::bad_name, node,
            fmt::format("{} is no alias that libvirt keeps when a device is plugged again; name "
                        "the device in the domain <alias name='ua-vf0'/>, letters, digits, '-' and "
                        "'_' behind 'ua-', and write ua-vf0",
                        in_quotes(*text)));
    return;
  }
  out = *text;
}

void Reader::read(const YamlNode& node, std::string& out, AbsolutePath /*rule*/) {
  const std::string* text = scalar(node, "an absolute path");
  if (text == nullptr) return;
  if (text->size() < 2 || text->front() != '/') {
    problem(
        Problem::bad_text, node,
        fmt::format("{} is no absolute path; write /opt/ferry/bin/ferry-rank", in_quotes(*text)));
    return;
  }
  out = *text;
}

void Reader::read(const YamlNode& node, std::optional<std::uint32_t>& out, MaybeNumber rule) {
  std::uint32_t number = 0;
  const std::size_t before = report_.count();
  whole_number(node, number, rule.bounds);
  if (report_.count() == before) out = number;
}

const std::string& MigrationUris::by(Transport transport) const {
  switch (transport) {
    case Transport::tcp: return tcp;
    case Transport::ipoib: return ipoib;
    case Transport::rdma: return rdma;
  }
  check(false, "a transport has a value");
  return tcp;
}

std::size_t ClusterHost::function_count() const {
  return std::accumulate(
      virtual_functions.begin(), virtual_functions.end(), std::size_t{0},
      [](std::size_t sum, const FunctionPool& pool) { return sum + pool.size(); });
}

const ClusterHost* ClusterFile::host(std::string_view name) const {
  return find_named(hosts, name);
}
const ClusterVm* ClusterFile::vm(std::string_view name) const { return find_named(vms, name); }

Loaded<LoadedCluster> load_cluster(const std::filesystem::path& file) {
  Report report;
  const std::uint32_t source = report.add_source(file.string(), SourceKind::cluster);
  const std::optional<std::string> text = read_file(file, {source, 1, 1}, "", report);
  if (!text) return tl::unexpected<Diagnostics>(report.take());
  return read(*text, source, report);
}

Loaded<LoadedCluster> read_cluster(std::string_view text, const std::string& name) {
  Report report;
  return read(text, report.add_source(name, SourceKind::cluster), report);
}

}  // namespace ferry
