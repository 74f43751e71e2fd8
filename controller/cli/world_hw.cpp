#include "controller/cli/worlds.hpp"
#include "hw_backend/libvirt/diagnosis.hpp"
#include "hw_backend/libvirt/libvirt_world.hpp"

namespace ferry {

const bool libvirt_is_built_in = true;
std::string libvirt_version() { return libvirt_library_version(); }

ClusterDiagnosis diagnose_cluster(const ClusterFile& cluster, const Instance* instance,
                                  bool at_start) {
  Diagnosis found = diagnose(cluster, instance, at_start);
  ClusterDiagnosis diagnosis;
  diagnosis.places = std::move(found.places);
  diagnosis.versions = std::move(found.versions);
  for (Finding& finding : found.findings) {
    const auto level = finding.level == Finding::Level::ok        ? ClusterFinding::Level::ok
                       : finding.level == Finding::Level::warning ? ClusterFinding::Level::warning
                                                                  : ClusterFinding::Level::failed;
    diagnosis.findings.push_back(
        {level, std::move(finding.subject), std::move(finding.text), std::move(finding.fix)});
  }
  return diagnosis;
}

std::vector<HypervisorTime> run_on_hardware(const Instance& instance, const ClusterFile& cluster,
                                            const std::string& run,
                                            TimePoint start,
                                            const std::function<void(World&)>& body) {
  std::vector<VmTimes> times;
  ClusterOptions options;
  options.run = run;
  options.start = start;
  options.times = &times;
  run_on_cluster(instance, cluster, options, body);
  std::vector<HypervisorTime> waiting;
  for (const VmTimes& time : times) waiting.push_back({time.awaited, time.libvirt_calls});
  return waiting;
}

}  // namespace ferry
