// Adapters and functions as sysfs, or the kernel's links, show them.
#include "hw_backend/host/adapters.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/host/system_picture.hpp"

namespace ferry::host {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

class OneLink : public Links {
 public:
  explicit OneLink(std::vector<LinkFunction> functions) : functions_(std::move(functions)) {}
  Result<std::vector<LinkFunction>> functions_of(const std::string& interface) override {
    if (interface == "ib0") return functions_;
    return failure(FailureKind::failed, "interface " + interface + " is unknown");
  }
  Result<> change(const std::string&, const LinkFunction&) override { return {}; }

 private:
  std::vector<LinkFunction> functions_;
};

class AdaptersTest : public testing::Test {
 protected:
  std::vector<Adapter> look() {
    NoLinks none;
    return look(none);
  }
  std::vector<Adapter> look(Links& links) {
    findings_.clear();
    const Tree tree = picture_.tree();
    return look_at_adapters(tree, links, look_at_processes(tree), findings_);
  }

  SystemPicture picture_;
  std::vector<Finding> findings_;
};

TEST_F(AdaptersTest, an_adapter_with_files_of_mlx5_is_read_whole) {
  picture_.make_ready();
  const auto adapters = look();
  EXPECT_THAT(findings_, IsEmpty());
  ASSERT_EQ(adapters.size(), 1U);
  const Adapter& adapter = adapters.front();
  EXPECT_EQ(adapter.name, "mlx5_0");
  EXPECT_EQ(adapter.pci, "0000:03:00.0");
  EXPECT_EQ(adapter.driver, "mlx5_core");
  EXPECT_EQ(adapter.firmware, "20.31.1014");
  EXPECT_EQ(adapter.node_guid, "00:02:c9:03:00:10:00:00");
  EXPECT_THAT(adapter.interfaces, ElementsAre("ib0"));
  EXPECT_EQ(adapter.numa, 1U);
  EXPECT_EQ(adapter.functions_possible, 16U);
  ASSERT_EQ(adapter.ports.size(), 1U);
  EXPECT_EQ(adapter.ports.front().state, "ACTIVE");
  EXPECT_EQ(adapter.ports.front().physical_state, "LinkUp");
  EXPECT_EQ(adapter.ports.front().lid, 0x1cU);
  EXPECT_EQ(adapter.ports.front().subnet_manager_lid, 1U);
  ASSERT_EQ(adapter.functions.size(), 2U);
  const VirtualFunction& function = adapter.functions.back();
  EXPECT_EQ(function.index, 1U);
  EXPECT_EQ(function.pci, "0000:03:00.2");
  EXPECT_EQ(function.driver, "vfio-pci");
  EXPECT_EQ(function.group, 41U);
  EXPECT_THAT(function.group_peers, IsEmpty());
  EXPECT_EQ(function.node_guid, "00:11:22:33:44:55:66:02");
  EXPECT_EQ(function.port_guid, "00:11:22:33:44:55:66:82");
  EXPECT_EQ(function.policy, "follow");
  EXPECT_EQ(function.told_by, ToldBy::mlx5_sysfs);
}

TEST_F(AdaptersTest, functions_of_mlx4_have_the_alias_guid_of_their_index) {
  picture_.add_adapter(2);
  picture_.add_rdma_device("mlx4_0", "0000:03:00.0");
  picture_.add_mlx4_guid(0, "2c9000000000101");
  picture_.add_mlx4_guid(1, "ffffffffffffffff");
  const auto adapters = look();
  ASSERT_EQ(adapters.front().functions.size(), 2U);
  EXPECT_EQ(adapters.front().functions[0].told_by, ToldBy::mlx4_sysfs);
  EXPECT_EQ(adapters.front().functions[0].port_guid, "02:c9:00:00:00:00:01:01");
  EXPECT_EQ(adapters.front().functions[1].port_guid, "ff:ff:ff:ff:ff:ff:ff:ff");
}

TEST_F(AdaptersTest, what_sysfs_lacks_is_asked_of_the_adapters_interfaces) {
  picture_.add_adapter(2);
  picture_.add_rdma_device("mlx5_0", "0000:03:00.0");
  OneLink link({{.index = 1, .node_guid = 0x1122U, .port_guid = 0x3344U, .policy = Policy::down}});
  const auto adapters = look(link);
  EXPECT_EQ(adapters.front().functions[0].told_by, ToldBy::nobody);
  EXPECT_EQ(adapters.front().functions[0].port_guid, "");
  EXPECT_EQ(adapters.front().functions[1].told_by, ToldBy::netlink);
  EXPECT_EQ(adapters.front().functions[1].node_guid, "00:00:00:00:00:00:11:22");
  EXPECT_EQ(adapters.front().functions[1].port_guid, "00:00:00:00:00:00:33:44");
  EXPECT_EQ(adapters.front().functions[1].policy, "down");
}

TEST_F(AdaptersTest, an_interface_that_does_not_answer_is_told) {
  picture_.add_adapter(1, "ib7");
  OneLink link({});
  look(link);
  EXPECT_THAT(findings_, ElementsAre(Field(&Finding::text, "interface ib7 is unknown")));
}

TEST_F(AdaptersTest, rdma_devices_of_functions_are_no_adapters) {
  picture_.make_ready();
  picture_.add_rdma_device("mlx5_1", "0000:03:00.1");
  EXPECT_EQ(look().size(), 1U);
}

TEST_F(AdaptersTest, devices_without_rdma_and_devices_without_pci_are_adapters_too) {
  const auto folder = picture_.add_pci("0000:05:00.0", "nvme");
  picture_.write(folder / "sriov_totalvfs", "4\n");
  picture_.write(folder / "sriov_numvfs", "0\n");
  picture_.add_rdma_device("rxe0", "", "Ethernet");
  const auto adapters = look();
  ASSERT_EQ(adapters.size(), 2U);
  EXPECT_EQ(adapters[0].title(), "rxe0");
  EXPECT_EQ(adapters[1].title(), "0000:05:00.0");
  EXPECT_THAT(findings_, IsEmpty());
}

TEST_F(AdaptersTest, others_in_a_group_are_named_and_bridges_are_not) {
  picture_.add_adapter(1);
  picture_.add_pci("0000:03:00.7", "nvme", 40);
  picture_.add_pci("0000:04:00.0", "nvme", 40);
  picture_.link("sys/kernel/iommu_groups/40/devices/0000:00:02.0",
                "sys/devices/pci0000:00/0000:00:02.0");
  EXPECT_THAT(look().front().functions.front().group_peers,
              ElementsAre("0000:03:00.7", "0000:04:00.0"));
}

TEST_F(AdaptersTest, who_has_a_function_by_vfio_is_known) {
  picture_.make_ready();
  picture_.add_process(7, "qemu-system-x86",
                       std::string("qemu\0-name\0guest=hpc-07,debug-threads=on\0", 42), "",
                       {"/dev/vfio/vfio", "/dev/vfio/41"});
  const auto adapters = look();
  EXPECT_FALSE(adapters.front().functions[0].user);
  ASSERT_TRUE(adapters.front().functions[1].user);
  EXPECT_EQ(to_text(*adapters.front().functions[1].user), "qemu-system-x86 (7), guest hpc-07");
}

TEST_F(AdaptersTest, bridges_say_whether_they_keep_devices_apart) {
  picture_.make_ready();
  EXPECT_EQ(look().front().bridges.front().acs, "on");
  picture_.add_root_port(false);
  EXPECT_EQ(look().front().bridges.front().acs, "off");
  picture_.write("sys/devices/pci0000:00/0000:00:02.0/config", std::string(256, 'x'));
  EXPECT_EQ(look().front().bridges.front().acs, "unknown");
}

TEST(AccessControl, capabilities_that_lead_in_a_circle_or_nowhere_end) {
  const auto with = [](const std::string& bytes) {
    std::string configuration(4096, '\0');
    configuration.replace(0x100, bytes.size(), bytes);
    return access_control_of(configuration);
  };
  EXPECT_EQ(with(""), "absent");
  EXPECT_EQ(with(std::string("\x01\x00\x01\x10", 4)), "absent");  // its next is itself
  EXPECT_EQ(with(std::string("\x01\x00\xc1\xff", 4)), "absent");  // its next is the last word
  EXPECT_EQ(with(std::string("\x01\x00\x11\x00", 4)), "absent");  // below the first
  EXPECT_EQ(with(std::string("\x01\x00\x01\x11", 4) + std::string(12, '\0') +
                 std::string("\x0d\x00\x01\x00\x1f\x00\x1d\x00", 8)),
            "on");
}

struct Garbled {
  std::string name;
  std::string file;
  std::string content;
  std::string told;
};
class GarbledTest : public AdaptersTest, public testing::WithParamInterface<Garbled> {};

TEST_P(GarbledTest, is_told) {
  picture_.make_ready();
  picture_.write(GetParam().file, GetParam().content);
  look();
  EXPECT_THAT(findings_, ElementsAre(AllOf(Field(&Finding::level, Finding::Level::warning),
                                           Field(&Finding::text, HasSubstr(GetParam().told)))));
}

const std::string adapter_folder = "sys/bus/pci/devices/0000:03:00.0/";
const std::string port_folder = "sys/class/infiniband/mlx5_0/ports/1/";
INSTANTIATE_TEST_SUITE_P(
    Files, GarbledTest,
    testing::Values(
        Garbled{"count", adapter_folder + "sriov_numvfs", "3\n",
                "sriov_numvfs says 3, and 2 virtual functions are there"},
        Garbled{"negative", adapter_folder + "sriov_totalvfs", "-1\n", "sriov_totalvfs says -1"},
        Garbled{"numa", adapter_folder + "numa_node", "\x01z", "numa_node says '?z'"},
        Garbled{"lid", port_folder + "lid", "0xzz\n", "lid says '0xzz', which is no number"},
        Garbled{"guid", adapter_folder + "sriov/0/node", "hello\n", "sriov/0/node has no GUID"},
        Garbled{"long", port_folder + "sm_lid", std::string(200, '9'), "99999..."},
        Garbled{"port", "sys/class/infiniband/mlx5_0/ports/one/state", "4: ACTIVE\n",
                "'one' is no number of a port"},
        Garbled{"function", adapter_folder + "virtfnX", "", "virtfnX leads to no PCI function"}),
    [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace ferry::host
