// Setting GUIDs and policies, by files and by links.
#include "hw_backend/host/function_settings.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/host/system_picture.hpp"

namespace ferry::host {
namespace {

using testing::HasSubstr;

const std::string mlx5_files = "sys/bus/pci/devices/0000:03:00.0/sriov/1/";

/// Keeps what it is told, or refuses.
class KeepingLinks : public Links {
 public:
  Result<std::vector<LinkFunction>> functions_of(const std::string&) override {
    return std::vector<LinkFunction>{function_};
  }
  Result<> change(const std::string& interface, const LinkFunction& change) override {
    if (!refusal_.empty()) return failure(FailureKind::failed, refusal_);
    interface_ = interface;
    if (change.node_guid) function_.node_guid = change.node_guid;
    if (change.port_guid) function_.port_guid = change.port_guid;
    if (change.policy && obeys_) function_.policy = change.policy;
    return {};
  }

  LinkFunction function_{.index = 1, .node_guid = 0U, .port_guid = 0U, .policy = Policy::down};
  std::string interface_;
  std::string refusal_;
  bool obeys_ = true;
};

class FunctionSettingsTest : public testing::Test {
 protected:
  Result<ChangedFunction> change(const FunctionSettings& settings,
                                 const std::string& pci = "0000:03:00.2") {
    return change_function(picture_.tree(), links_, pci, settings);
  }
  std::string refusal(const FunctionSettings& settings, const std::string& pci = "0000:03:00.2") {
    const auto changed = change(settings, pci);
    return changed ? "changed" : changed.error().reason;
  }

  SystemPicture picture_;
  KeepingLinks links_;
};

TEST_F(FunctionSettingsTest, files_of_mlx5_get_guids_and_policy_in_its_words) {
  picture_.make_ready();
  const auto changed = change({.node_guid = 0xaabb'ccdd'0000'0001,
                               .port_guid = 0xaabb'ccdd'0000'0002,
                               .policy = Policy::up});
  ASSERT_TRUE(changed) << changed.error().reason;
  EXPECT_EQ(picture_.read(mlx5_files + "node"), "aa:bb:cc:dd:00:00:00:01");
  EXPECT_EQ(picture_.read(mlx5_files + "port"), "aa:bb:cc:dd:00:00:00:02");
  EXPECT_EQ(picture_.read(mlx5_files + "policy"), "Up");
  EXPECT_EQ(changed->before.policy, "follow");
  EXPECT_EQ(changed->after.policy, "up");
}

TEST_F(FunctionSettingsTest, only_what_is_said_is_changed) {
  picture_.make_ready();
  ASSERT_TRUE(change({.policy = Policy::down}));
  EXPECT_EQ(picture_.read(mlx5_files + "node"), "00:11:22:33:44:55:66:02");
  EXPECT_EQ(picture_.read(mlx5_files + "policy"), "Down");
}

TEST_F(FunctionSettingsTest, a_function_of_mlx4_gets_its_alias_guid_and_nothing_else) {
  picture_.add_adapter(2);
  picture_.add_rdma_device("mlx4_0", "0000:03:00.0");
  picture_.add_mlx4_guid(0, "1");
  picture_.add_mlx4_guid(1, "2");
  const auto changed = change({.port_guid = 0x0002'c900'0000'0101});
  ASSERT_TRUE(changed) << changed.error().reason;
  EXPECT_EQ(picture_.read("sys/class/infiniband/mlx4_0/iov/ports/1/admin_guids/2"),
            "0002c90000000101");
  EXPECT_EQ(picture_.read("sys/class/infiniband/mlx4_0/iov/ports/1/admin_guids/1"), "1");
  EXPECT_EQ(refusal({.policy = Policy::up}),
            "a function of mlx4_0 shares the adapter's node and link: only --port-guid, its alias "
            "GUID, can be set");
  EXPECT_EQ(refusal({.port_guid = 1U, .port = 2}), "mlx4_0 has no port 2");
}

TEST_F(FunctionSettingsTest, without_files_the_interface_is_told) {
  picture_.add_adapter(2);
  const auto changed = change({.node_guid = 5U, .policy = Policy::follow});
  ASSERT_TRUE(changed) << changed.error().reason;
  EXPECT_EQ(links_.interface_, "ib0");
  EXPECT_EQ(changed->after.node_guid, "00:00:00:00:00:00:00:05");
  EXPECT_EQ(changed->after.policy, "follow");
  EXPECT_EQ(refusal({.node_guid = 5U}, "0000:03:00.1"),
            "neither a file of sysfs nor an interface tells of the functions of 0000:03:00.0; with "
            "the kernel's own mlx5 driver IPoIB does (modprobe ib_ipoib)");
}

TEST_F(FunctionSettingsTest, the_kernels_refusal_is_passed_on) {
  picture_.add_adapter(2);
  links_.refusal_ = "interface ib0 refuses a change of its function 1: Operation not supported";
  EXPECT_EQ(refusal({.node_guid = 5U}), links_.refusal_);
}

TEST_F(FunctionSettingsTest, a_driver_that_says_yes_and_does_nothing_is_found_out) {
  picture_.add_adapter(2);
  links_.obeys_ = false;
  EXPECT_EQ(refusal({.policy = Policy::up}),
            "policy of 0000:03:00.2 was set to up, and its driver says down");
}

TEST_F(FunctionSettingsTest, a_guid_does_not_change_under_a_guest) {
  picture_.make_ready();
  picture_.add_process(7, "qemu-system-x86", std::string("qemu\0guest=hpc-07\0", 18), "",
                       {"/dev/vfio/41"});
  EXPECT_EQ(refusal({.port_guid = 5U}),
            "qemu-system-x86 (7), guest hpc-07 has 0000:03:00.2, whose connections would break; "
            "detach it before its GUID changes");
  EXPECT_EQ(picture_.read(mlx5_files + "port"), "00:11:22:33:44:55:66:82");
  EXPECT_EQ(refusal({.policy = Policy::down}), "changed") << "a link may go down and up";
}

TEST_F(FunctionSettingsTest, a_function_that_is_not_there_is_refused_with_those_that_are) {
  EXPECT_EQ(refusal({.policy = Policy::up}),
            "there is no virtual function 0000:03:00.2 here; there is none at all");
  picture_.make_ready();
  EXPECT_EQ(refusal({.policy = Policy::up}, "0000:03:00.0"),
            "there is no virtual function 0000:03:00.0 here; there are 0000:03:00.1, 0000:03:00.2");
}

TEST_F(FunctionSettingsTest, a_file_that_cannot_be_written_is_named) {
  picture_.make_ready();
  std::filesystem::remove(picture_.root() / mlx5_files / "policy");
  EXPECT_THAT(refusal({.policy = Policy::up}), HasSubstr("sriov/1/policy cannot be written"));
}

}  // namespace
}  // namespace ferry::host
