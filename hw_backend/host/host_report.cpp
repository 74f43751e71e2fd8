#include "hw_backend/host/host_report.hpp"

#include <unistd.h>

#include <algorithm>

#include "hw_backend/host/adapters.hpp"
#include "hw_backend/host/findings.hpp"
#include "hw_backend/host/machine.hpp"
#include "hw_backend/host/processes.hpp"
#include "hw_backend/host/shared_memory.hpp"

namespace ferry::host {

Report look_at_host(const Tree& tree, Links& links) {
  Report report;
  std::vector<Finding> garbled;
  report.host = tree.line_or_empty("proc/sys/kernel/hostname");
  report.root = geteuid() == 0;
  report.versions = look_at_versions(tree);
  report.iommu = look_at_iommu(tree);
  report.vfio = has_vfio(tree);
  report.rdma_netns = rdma_netns_of(tree);
  Layout layout = look_at_layout(tree);
  report.numa = std::move(layout.nodes);
  if (!layout.wrong.empty()) {
    garbled.push_back(
        {Finding::Level::warning, "processors", layout.wrong, "see that sysfs is mounted at /sys"});
  }
  const Processes processes = look_at_processes(tree);
  report.adapters = look_at_adapters(tree, links, processes, garbled);
  for (Adapter& adapter : report.adapters) {
    const auto node = std::ranges::find_if(report.numa, [&adapter](const NumaNode& each) {
      return adapter.numa && each.node == *adapter.numa;
    });
    if (node != report.numa.end()) adapter.package = node->package;
  }
  report.locked_memory = locked_memory_of(tree, processes);
  report.shared_memory = look_at_shared_memory(tree, processes, {});
  report.findings = judge(report);
  report.findings.insert(report.findings.end(), garbled.begin(), garbled.end());
  return report;
}

}  // namespace ferry::host
