#include "controller/cli/host_reports.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "hw_backend/host/guid.hpp"
#include "hw_backend/host/programs.hpp"
#include "hw_backend/host/report_json.hpp"

namespace ferry {
namespace {

using Level = ClusterFinding::Level;
namespace fs = std::filesystem;

/// scheme://[user@]host[:port]/path[?key=value&...]
struct Uri {
  std::string scheme;
  std::string user;
  std::string host;  ///< of an IPv6 address without its brackets
  std::string port;
  std::map<std::string, std::string> parameters;
};

std::string decoded(std::string_view text) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_code =
        text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0;
    result += is_code ? static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2])) : text[i];
    if (is_code) i += 2;
  }
  return result;
}

Uri parse_uri(std::string_view text) {
  Uri uri;
  const std::size_t colon = text.find("://");
  if (colon == std::string_view::npos) return uri;
  uri.scheme = text.substr(0, colon);
  std::string_view rest = text.substr(colon + 3);
  std::string_view authority = rest.substr(0, rest.find_first_of("/?"));
  if (const std::size_t query = rest.find('?'); query != std::string_view::npos) {
    std::istringstream words{std::string(rest.substr(query + 1))};
    for (std::string word; std::getline(words, word, '&');) {
      const std::size_t equals = std::min(word.find('='), word.size());
      uri.parameters[word.substr(0, equals)] =
          decoded(std::string_view(word).substr(std::min(equals + 1, word.size())));
    }
  }
  if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) {
    uri.user = decoded(authority.substr(0, at));
    authority.remove_prefix(at + 1);
  }
  const std::size_t bracket = authority.find(']');
  const std::size_t end = authority.find(
      ':', authority.starts_with('[') && bracket != std::string_view::npos ? bracket : 0);
  uri.host = authority.substr(0, end);
  if (end != std::string_view::npos) uri.port = authority.substr(end + 1);
  if (uri.host.size() >= 2 && uri.host.front() == '[')
    uri.host = uri.host.substr(1, uri.host.size() - 2);
  return uri;
}

bool is_program(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

std::vector<std::string> by_ssh(const Uri& uri, const std::string& program) {
  const auto parameter = [&uri](const std::string& key) {
    const auto found = uri.parameters.find(key);
    return found == uri.parameters.end() ? std::string() : found->second;
  };
  const std::string command = parameter("command");
  std::vector<std::string> words = {
      command.empty() ? "ssh" : command, "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"};
  const auto add = [&words](const std::string& option, const std::string& value) {
    if (!value.empty()) words.insert(words.end(), {option, value});
  };
  add("-i", parameter("keyfile"));
  add("-p", uri.port);
  add("-l", uri.user);
  if (!parameter("no_verify").empty() && parameter("no_verify") != "0") {
    add("-o", "StrictHostKeyChecking=no");
  }
  words.insert(words.end(), {"--", uri.host, program, "report", "--json"});
  return words;
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

/// A report that was not to be had. Nobody asked for it: it is optional.
ClusterFinding nothing_from(const std::string& host, const std::string& why) {
  return {Level::warning, host + ": ferry-host", why,
          "install Ferry there (ferry-host in the PATH, or --ferry-host says where it is), or give "
          "its report: ferry-host report --json > FOLDER/" +
              host +
              ".json, and --host-reports "
              "FOLDER"};
}

Result<host::Report> read_file(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) return failure(FailureKind::failed, "it cannot be read");
  return host::read_report(text.str());
}

bool has_functions(const ClusterHost& host) {
  return std::ranges::any_of(host.virtual_functions,
                             [](const FunctionPool& pool) { return !pool.stands_in(); });
}

void keep(HostReports& reports, const ClusterHost& host, const host::ProgramResult& result) {
  const auto report = host::read_report(result.output);
  // It ends with 1 where a check failed.
  if (report && (result.status == 0 || result.status == 1)) {
    reports.by_host.emplace(host.name, *report);
    return;
  }
  if (!has_functions(host)) return;  // it would have had little to say
  const std::string said = first_line(result.errors);
  reports.findings.push_back(nothing_from(
      host.name,
      fmt::format("it does not answer: {}", said.empty() ? report.error().reason : said)));
}

class Judge {
 public:
  explicit Judge(const ClusterFile& cluster) : cluster_(cluster) {}

  void judge_host(const ClusterHost& host, const host::Report& report) {
    for (const host::Finding& finding : report.findings) {
      const Level level =
          finding.level == host::Finding::Level::ok ? Level::ok
          : finding.level == host::Finding::Level::failed && matters(host, report, finding.subject)
              ? Level::failed
              : Level::warning;
      findings_.push_back({level, host.name + ": " + finding.subject, finding.text, finding.fix});
    }
    for (const FunctionPool& pool : host.virtual_functions) {
      if (!pool.stands_in()) judge_pool(host, pool, report);
    }
    for (const host::Adapter& adapter : report.adapters) {
      for (const host::VirtualFunction& function : adapter.functions) {
        const auto guid = host::parse_guid(function.port_guid);
        if (guid && host::is_guid(*guid)) owners_[*guid].push_back(host.name + ": " + function.pci);
      }
    }
  }

  std::vector<ClusterFinding> take() {
    for (const auto& [guid, owners] : owners_) {
      std::vector<std::string> hosts;  // within one host, it says so itself
      for (const std::string& owner : owners) hosts.push_back(owner.substr(0, owner.find(": ")));
      if (std::ranges::count(hosts, hosts.front()) == std::ssize(hosts)) continue;
      std::string text;
      for (const std::string& owner : owners) text += (text.empty() ? "" : ", ") + owner;
      findings_.push_back({Level::failed, "GUIDs",
                           fmt::format("{} is the port GUID of {}", host::guid_text(guid), text),
                           "ferry-host set FUNCTION --port-guid GUID gives one another"});
    }
    return std::move(findings_);
  }

 private:
  /// Whether it is about functions that VMs get: not about an adapter that the cluster file does
  /// not name, nor about any where NICs stand in for functions.
  static bool matters(const ClusterHost& host, const host::Report& report,
                      const std::string& subject) {
    if (!has_functions(host)) return false;
    for (const host::Adapter& adapter : report.adapters) {
      if (!subject.starts_with(adapter.title() + ":")) continue;
      return std::ranges::any_of(adapter.functions, [&host](const host::VirtualFunction& function) {
        return std::ranges::any_of(host.virtual_functions, [&function](const FunctionPool& pool) {
          return std::ranges::count(pool.pci.addresses, function.pci) != 0;
        });
      });
    }
    return true;
  }

  void judge_pool(const ClusterHost& host, const FunctionPool& pool, const host::Report& report) {
    const std::string subject = host.name + ": " + pool.pci.text;
    std::string missing;
    std::string taken;
    for (const std::string& pci : pool.pci.addresses) {
      const host::Adapter* owner = nullptr;
      const host::VirtualFunction* function = nullptr;
      for (const host::Adapter& adapter : report.adapters) {
        for (const host::VirtualFunction& each : adapter.functions) {
          if (each.pci != pci) continue;
          owner = &adapter;
          function = &each;
        }
      }
      if (function == nullptr) {
        missing += (missing.empty() ? "" : ", ") + pci;
        continue;
      }
      judge_parent(host, pool, *owner);
      if (function->user && !is_ours(*function->user)) {
        taken += fmt::format(
            "{}{} by {}", taken.empty() ? "" : ", ", pci,
            function->user->guest.empty() ? function->user->program : function->user->guest);
      }
    }
    if (!missing.empty()) {
      findings_.push_back({Level::failed, subject,
                           "ferry-host finds no virtual function " + missing,
                           "make them (sriov_numvfs), or correct virtual_functions in the cluster "
                           "file"});
    }
    if (!taken.empty()) {
      findings_.push_back({Level::warning, subject,
                           "in use by what the cluster file does not name: " + taken,
                           "leave these functions out of the cluster file, or free them"});
    }
  }

  [[nodiscard]] bool is_ours(const host::User& user) const {
    return std::ranges::any_of(cluster_.vms, [&user](const ClusterVm& vm) {
      return !user.guest.empty() && vm.domain == user.guest;
    });
  }

  void judge_parent(const ClusterHost& host, const FunctionPool& pool,
                    const host::Adapter& adapter) {
    const auto add = [&](const std::string& text, const std::string& fix) {
      const std::string subject = host.name + ": " + pool.pci.text;
      const bool is_told = std::ranges::any_of(findings_, [&](const ClusterFinding& each) {
        return each.subject == subject && each.text == text;
      });
      if (!is_told) findings_.push_back({Level::failed, subject, text, fix});
    };
    if (pool.numa && adapter.numa && *pool.numa != *adapter.numa) {
      add(fmt::format("{} sits on NUMA node {}, and the cluster file says {}", adapter.title(),
                      *adapter.numa, *pool.numa),
          fmt::format("write numa: {}", *adapter.numa));
    }
    const bool is_parent = pool.parent.empty() || pool.parent == adapter.name ||
                           std::ranges::count(adapter.interfaces, pool.parent) != 0;
    if (!is_parent) {
      std::string names = adapter.name;
      for (const std::string& each : adapter.interfaces)
        names += (names.empty() ? "" : ", ") + each;
      add(fmt::format("they are functions of {}, and the cluster file says {}",
                      names.empty() ? adapter.pci : names, pool.parent),
          "correct parent in the cluster file");
    }
  }

  const ClusterFile& cluster_;
  std::vector<ClusterFinding> findings_;
  std::map<std::uint64_t, std::vector<std::string>> owners_;
};

}  // namespace

std::optional<std::vector<std::string>> report_command(const std::string& libvirt_uri,
                                                       const HostReportOptions& options) {
  const Uri uri = parse_uri(libvirt_uri);
  const bool is_ssh = uri.scheme.ends_with("+ssh");
  if (is_ssh && !uri.host.empty()) return by_ssh(uri, options.program);
  // A socket may be forwarded from anywhere.
  if (!uri.host.empty() || uri.scheme.empty() || uri.parameters.contains("socket")) {
    return std::nullopt;
  }
  const bool is_bare = options.program.find('/') == std::string::npos;
  const fs::path beside = options.beside / options.program;
  return std::vector<std::string>{is_bare && is_program(beside) ? beside.string() : options.program,
                                  "report", "--json"};
}

HostReports gather_host_reports(const ClusterFile& cluster, const HostReportOptions& options) {
  HostReports reports;
  std::vector<const ClusterHost*> asked;
  std::vector<host::Program> programs;
  std::string unreached;
  for (const ClusterHost& each : cluster.hosts) {
    const fs::path file = options.folder / (each.name + ".json");
    std::error_code error;
    if (!options.folder.empty() && fs::exists(file, error)) {
      auto report = read_file(file);
      if (report) {
        reports.by_host.emplace(each.name, std::move(*report));
      } else {
        reports.findings.push_back({Level::failed, each.name + ": ferry-host",
                                    file.string() + ": " + report.error().reason,
                                    "make it anew: ferry-host report --json"});
      }
    } else if (auto command = report_command(each.libvirt, options)) {
      asked.push_back(&each);
      programs.push_back({std::move(*command), host::program_patience});
    } else if (has_functions(each)) {
      reports.findings.push_back(nothing_from(
          each.name,
          "not asked, since it is reached neither here nor by ssh: GUIDs, IOMMU groups "
          "and ports of its functions are not known"));
    }
  }
  const auto results = host::run_programs(programs);
  for (std::size_t i = 0; i < results.size(); ++i) keep(reports, *asked[i], results[i]);
  return reports;
}

std::vector<ClusterFinding> judge_host_reports(const ClusterFile& cluster,
                                               const std::map<std::string, host::Report>& reports) {
  Judge judge(cluster);
  for (const ClusterHost& each : cluster.hosts) {
    const auto report = reports.find(each.name);
    if (report != reports.end()) judge.judge_host(each, report->second);
  }
  return judge.take();
}

}  // namespace ferry
