// What hosts tell of themselves by `ferry-host report`, for `ferry doctor`.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controller/cli/worlds.hpp"
#include "core/scenario/cluster_file.hpp"
#include "hw_backend/host/report.hpp"

namespace ferry {

struct HostReportOptions {
  std::filesystem::path folder;        ///< with HOST.json of some hosts; empty: none
  std::string program = "ferry-host";  ///< by which hosts are asked
  std::filesystem::path beside;        ///< folder of this program, where it is looked for first
};

struct HostReports {
  std::map<std::string, host::Report> by_host;
  std::vector<ClusterFinding> findings;  ///< about those that there are none of
};

/// The command that makes a host's report: on this machine for a libvirt URI without a host
/// (qemu:///system, but for one with a `socket`), by ssh for qemu+ssh, with the URI's user, port,
/// `keyfile`, `command` and `no_verify` as libvirt has them. None: no other way is used to run
/// anything on a host. ssh asks for no password (BatchMode), and gets no word of the URI that it
/// could take for an option.
std::optional<std::vector<std::string>> report_command(const std::string& libvirt_uri,
                                                       const HostReportOptions& options);

/// Reads the files that are there, and asks the other hosts. Blocks as long as the slowest takes,
/// about 30 s at most for 16 hosts.
HostReports gather_host_reports(const ClusterFile& cluster, const HostReportOptions& options);

/// Each host's own findings (those that VMs' functions have no part in are warnings at most), what
/// the cluster file says against what the host has, and hosts against each other. Pure.
std::vector<ClusterFinding> judge_host_reports(const ClusterFile& cluster,
                                               const std::map<std::string, host::Report>& reports);

}  // namespace ferry
