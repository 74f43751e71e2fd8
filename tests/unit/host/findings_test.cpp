// What a host's report means.
#include "hw_backend/host/findings.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace ferry::host {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::Field;
using testing::HasSubstr;

VirtualFunction function(std::uint32_t index) {
  VirtualFunction of;
  of.index = index;
  of.pci = "0000:03:00." + std::to_string(index + 1);
  of.driver = "vfio-pci";
  of.group = 40 + index;
  of.node_guid = "00:11:22:33:44:55:66:0" + std::to_string(index);
  of.port_guid = "00:11:22:33:44:55:66:8" + std::to_string(index);
  of.policy = "follow";
  of.told_by = ToldBy::mlx5_sysfs;
  return of;
}

NumaNode node(std::uint32_t number) {
  NumaNode of;
  of.node = of.package = number;
  of.cores = 8;
  of.processors = 16;
  of.memory = Bytes::gibi(32);
  return of;
}

SharedMemory memory(const std::string& name, Bytes used, const std::string& kept) {
  SharedMemory of;
  of.name = name;
  of.used = used;
  of.kept = kept;
  return of;
}

Report ready() {
  Report report;
  report.root = true;
  report.versions.kernel = "6.1.0";
  report.iommu = {.on = true, .groups = 60, .units = {"dmar0"}, .options = {"intel_iommu=on"}};
  report.vfio = true;
  report.rdma_netns = "shared";
  report.numa = {node(0), node(1)};
  Adapter adapter;
  adapter.name = "mlx5_0";
  adapter.pci = "0000:03:00.0";
  adapter.numa = 1;
  adapter.package = 1;
  adapter.functions_possible = 16;
  adapter.ports = {{.number = 1,
                    .state = "ACTIVE",
                    .physical_state = "LinkUp",
                    .link_layer = "InfiniBand",
                    .rate = "56 Gb/sec (4X FDR)",
                    .lid = 28,
                    .subnet_manager_lid = 1}};
  adapter.functions = {function(0), function(1)};
  report.adapters = {adapter};
  return report;
}

TEST(Findings, a_host_that_is_ready_has_only_good_ones) {
  EXPECT_THAT(judge(ready()), Each(Field(&Finding::level, Finding::Level::ok)));
  EXPECT_THAT(judge(ready()),
              Contains(AllOf(Field(&Finding::subject, "mlx5_0: port 1"),
                             Field(&Finding::text,
                                   "ACTIVE, InfiniBand, 56 Gb/sec (4X FDR), on NUMA node 1 of "
                                   "socket 1"))));
}

struct Case {
  std::string name;
  std::function<void(Report&)> spoil;
  Finding::Level level;
  std::string subject;
  std::string text;
  std::string fix;
};

class SpoiltHost : public testing::TestWithParam<Case> {};

TEST_P(SpoiltHost, is_told_with_what_would_help) {
  Report report = ready();
  GetParam().spoil(report);
  const auto findings = judge(report);
  EXPECT_THAT(findings, Contains(AllOf(Field(&Finding::level, GetParam().level),
                                       Field(&Finding::subject, GetParam().subject),
                                       Field(&Finding::text, HasSubstr(GetParam().text)),
                                       Field(&Finding::fix, HasSubstr(GetParam().fix)))));
  for (const Finding& finding : findings) {
    EXPECT_EQ(finding.fix.empty(), finding.level == Finding::Level::ok) << finding.text;
  }
}

constexpr auto failed = Finding::Level::failed;
constexpr auto warning = Finding::Level::warning;
constexpr auto ok = Finding::Level::ok;

INSTANTIATE_TEST_SUITE_P(
    All, SpoiltHost,
    testing::Values(
        Case{"iommu_off", [](Report& r) { r.iommu = {}; }, failed, "IOMMU",
             "/sys/kernel/iommu_groups has no group", "intel_iommu=on iommu=pt"},
        Case{"iommu_off_in_firmware", [](Report& r) { r.iommu.on = false; }, failed, "IOMMU",
             "the kernel's command line has intel_iommu=on",
             "in the firmware: the kernel was asked for it already"},
        Case{"no_iommu_is_no_failure_without_functions",
             [](Report& r) {
               r.iommu = {};
               r.adapters = {};
             },
             warning, "IOMMU", "off", "VT-d"},
        Case{"override", [](Report& r) { r.iommu.options = {"pcie_acs_override=downstream"}; },
             warning, "IOMMU", "pcie_acs_override", "leave it out"},
        Case{"no_vfio", [](Report& r) { r.vfio = false; }, warning, "vfio-pci", "not loaded",
             "modprobe vfio-pci"},
        Case{"not_root", [](Report& r) { r.root = false; }, warning, "rights",
             "not looked at as root", "as root"},
        Case{"port_down",
             [](Report& r) {
               r.adapters[0].ports[0].state = "DOWN";
               r.adapters[0].ports[0].physical_state = "Polling";
             },
             failed, "mlx5_0: port 1", "DOWN, Polling", "cable"},
        Case{"no_subnet_manager", [](Report& r) { r.adapters[0].ports[0].state = "INIT"; }, failed,
             "mlx5_0: port 1", "INIT, LinkUp", "start a subnet manager"},
        Case{"subnet_manager_gone",
             [](Report& r) { r.adapters[0].ports[0].subnet_manager_lid = 0; }, failed,
             "mlx5_0: port 1", "no subnet manager is known", "opensm"},
        Case{"second_port_unused",
             [](Report& r) {
               Port second;
               second.number = 2;
               second.state = "DOWN";
               r.adapters[0].ports.push_back(second);
             },
             warning, "mlx5_0: port 2", "DOWN", "cable"},
        Case{"no_functions", [](Report& r) { r.adapters[0].functions = {}; }, warning,
             "mlx5_0: functions", "none is made of 16 possible",
             "echo 16 > /sys/bus/pci/devices/0000:03:00.0/sriov_numvfs"},
        Case{"host_has_function",
             [](Report& r) { r.adapters[0].functions[0].driver = "mlx5_core"; }, warning,
             "mlx5_0: functions", "the host itself has 0000:03:00.1 (mlx5_core)",
             "sriov_drivers_autoprobe"},
        Case{"unbound_function_is_fine", [](Report& r) { r.adapters[0].functions[0].driver = ""; },
             ok, "mlx5_0: functions", "2 of 16 possible", ""},
        Case{"group_shared",
             [](Report& r) {
               r.adapters[0].functions[0].group_peers = {"0000:03:00.2"};
               r.adapters[0].bridges = {{"0000:00:02.0", "absent"}};
             },
             failed, "mlx5_0: functions",
             "0000:03:00.1 (group 40, with 0000:03:00.2); ACS of bridge 0000:00:02.0 is absent",
             "turn ACS on"},
        Case{"no_group", [](Report& r) { r.adapters[0].functions[1].group.reset(); }, failed,
             "mlx5_0: functions", "0000:03:00.2: in no IOMMU group", "dmesg"},
        Case{"guid_zero",
             [](Report& r) { r.adapters[0].functions[1].port_guid = "00:00:00:00:00:00:00:00"; },
             failed, "mlx5_0: GUIDs", "0000:03:00.2 have none", "ferry-host set"},
        Case{"guid_left_to_subnet_manager",
             [](Report& r) {
               for (VirtualFunction& each : r.adapters[0].functions) {
                 each.told_by = ToldBy::mlx4_sysfs;
                 each.node_guid = "";
                 each.port_guid = "00:00:00:00:00:00:00:00";
               }
             },
             ok, "mlx5_0: GUIDs", "all functions have one", ""},
        Case{"guid_deleted",
             [](Report& r) {
               r.adapters[0].functions[0].told_by = ToldBy::mlx4_sysfs;
               r.adapters[0].functions[0].port_guid = "ff:ff:ff:ff:ff:ff:ff:ff";
             },
             failed, "mlx5_0: GUIDs", "0000:03:00.1 have none", "ferry-host set"},
        Case{"guid_unknown", [](Report& r) { r.adapters[0].functions[0].port_guid = ""; }, warning,
             "mlx5_0: GUIDs", "0000:03:00.1: not known", "ib_ipoib"},
        Case{"guid_twice",
             [](Report& r) {
               r.adapters[0].functions[1].port_guid = r.adapters[0].functions[0].port_guid;
             },
             failed, "GUIDs", "0000:03:00.1, 0000:03:00.2 have the same port GUID", "another"},
        Case{"kept_down", [](Report& r) { r.adapters[0].functions[0].policy = "down"; }, failed,
             "mlx5_0: GUIDs", "links of 0000:03:00.1 are kept down", "--policy follow"},
        Case{"numa_unknown", [](Report& r) { r.adapters[0].numa.reset(); }, warning, "mlx5_0",
             "NUMA node", "firmware"},
        Case{"huge_pages",
             [](Report& r) {
               r.numa[0].huge_pages = {{Bytes::mebi(2), 512, 100}};
             },
             ok, "processors", "node 0: 100 of 512 huge pages of 2 MiB free", ""},
        Case{"memory_left_behind",
             [](Report& r) {
               r.shared_memory = {memory("jobs", Bytes::mebi(64), ""),
                                  memory("other", Bytes::mebi(1), "why")};
             },
             warning, "shared memory", "nobody needs jobs in /dev/shm, 64 MiB of memory",
             "ferry-host memory --remove"},
        Case{"locked",
             [](Report& r) {
               r.locked_memory = {{{1, "libvirtd", ""}, Bytes::mebi(64)}};
             },
             ok, "locked memory", "libvirtd may lock 64 MiB", ""}),
    [](const auto& each) { return each.param.name; });

TEST(Findings, guids_of_roce_are_made_of_addresses_and_not_judged) {
  Report report = ready();
  report.adapters[0].ports[0].link_layer = "Ethernet";
  report.adapters[0].functions[0].port_guid = "";
  EXPECT_THAT(judge(report), Each(Field(&Finding::level, Finding::Level::ok)));
}

TEST(Findings, long_lists_are_cut) {
  EXPECT_EQ(enumeration({"a", "b", "c", "d"}), "a, b, c, d");
  EXPECT_EQ(enumeration({"a", "b", "c", "d", "e", "f"}), "a, b, c, d and 2 more");
  EXPECT_EQ(rounded(Bytes(0)), "0 bytes");
  EXPECT_EQ(rounded(Bytes(1536)), "1.5 KiB");
  EXPECT_EQ(rounded(Bytes::gibi(23) + Bytes::mebi(552)), "23.54 GiB");
}

}  // namespace
}  // namespace ferry::host
