#include "hw_backend/host/report_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "hw_backend/host/findings.hpp"
#include "hw_backend/host/processes.hpp"

namespace ferry::host {
namespace {

using Row = std::vector<std::string>;

/// Columns lined up, two blanks between; the first row has their titles.
std::string table(const std::vector<Row>& rows) {
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}  ", row[i], widths[i]);
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string or_dash(const std::string& text) { return text.empty() ? "-" : text; }

std::string functions_text(const Report& report) {
  std::vector<Row> rows = {
      {"function", "adapter", "driver", "group", "node GUID", "port GUID", "policy", "in use by"}};
  for (const Adapter& adapter : report.adapters) {
    for (const VirtualFunction& function : adapter.functions) {
      rows.push_back({function.pci, adapter.title(), or_dash(function.driver),
                      function.group ? std::to_string(*function.group) : "-",
                      or_dash(function.node_guid), or_dash(function.port_guid),
                      or_dash(function.policy), function.user ? to_text(*function.user) : "-"});
    }
  }
  return rows.size() == 1 ? std::string() : table(rows) + "\n";
}

}  // namespace

std::string report_text(const Report& report) {
  std::vector<Row> rows = {{"check", "result", "what was found"}};
  std::size_t warnings = 0;
  std::size_t failed = 0;
  std::string fixes;
  std::set<std::string> told;
  for (const Finding& finding : report.findings) {
    rows.push_back({finding.subject, to_word(finding.level), finding.text});
    warnings += finding.level == Finding::Level::warning ? 1 : 0;
    failed += finding.level == Finding::Level::failed ? 1 : 0;
    const std::string fix = fmt::format("{}: {}\n", finding.subject, finding.fix);
    if (!finding.fix.empty() && told.insert(fix).second) fixes += fix;
  }
  std::string text = fmt::format("host {}\n\n", or_dash(report.host));
  text += functions_text(report);
  if (!report.shared_memory.empty()) text += memory_text(report.shared_memory) + "\n";
  text += table(rows);
  if (!fixes.empty()) text += "\nto put it right:\n" + fixes;
  return text + fmt::format("\n{} ok, {} warning{}, {} failed\n",
                            report.findings.size() - warnings - failed, warnings,
                            warnings == 1 ? "" : "s", failed);
}

std::string memory_text(const std::vector<SharedMemory>& files) {
  std::vector<Row> rows = {{"shared memory", "size", "in memory", "what it is", "needed"}};
  for (const SharedMemory& file : files) {
    const bool is_of_domain = !file.running_domains.empty() || !file.defined_domains.empty();
    rows.push_back({file.name, rounded(file.size), rounded(file.used),
                    file.ferry     ? "ranks of Ferry"
                    : is_of_domain ? "of a domain"
                                   : "named by you",
                    file.kept.empty() ? "no" : file.kept});
  }
  return table(rows);
}

}  // namespace ferry::host
