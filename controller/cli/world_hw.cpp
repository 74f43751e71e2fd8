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
    diagnosis.findings.push_back({level, std::move(finding.subject), std::move(finding.text),
                                  std::move(finding.fix)});
  }
  return diagnosis;
}

void run_on_hardware(const Instance& instance, const ClusterFile& cluster, const std::string& run,
                     const std::function<void(World&)>& body) {
  ClusterOptions options;
  options.run = run;
  run_on_cluster(instance, cluster, options, body);
}

}  // namespace ferry
