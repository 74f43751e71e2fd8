#include "hw_backend/agent/holders.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/scratch_folder.hpp"

namespace ferry::agent {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::Field;
using testing::IsEmpty;

/// Two NICs with an RDMA device each (one by rxe, one of a PCI function), an IVShmem device, and
/// three processes, as sysfs and procfs show them.
class HoldersOfDevices : public testing::Test {
 protected:
  HoldersOfDevices() {
    line("sys/class/net/eth0/address", "52:54:00:00:00:01");
    line("sys/class/net/ib0/address", "52:54:00:00:00:02");
    fs::create_directories(root_ / "sys/devices/pci0/0000:00:05.0");
    fs::create_directory_symlink(root_ / "sys/devices/pci0/0000:00:05.0",
                                 root_ / "sys/class/net/ib0/device");
    line("sys/class/infiniband/rxe0/parent", "eth0");
    line("sys/class/infiniband/mlx5_0/node_type", "1: CA");
    fs::create_directory_symlink(root_ / "sys/devices/pci0/0000:00:05.0",
                                 root_ / "sys/class/infiniband/mlx5_0/device");
    line("sys/class/infiniband_verbs/uverbs0/ibdev", "rxe0");
    line("sys/class/infiniband_verbs/uverbs1/ibdev", "mlx5_0");
    line("sys/class/infiniband_verbs/abi_version", "6");
    line("sys/devices/pci0/0000:00:07.0/vendor", "0x1af4");
    line("sys/devices/pci0/0000:00:07.0/device", "0x1110");
    fs::create_directories(root_ / "sys/bus/pci/devices");
    fs::create_directory_symlink(root_ / "sys/devices/pci0/0000:00:07.0",
                                 root_ / "sys/bus/pci/devices/0000:00:07.0");
    process(20, "rank", "/dev/infiniband/uverbs0", "");
    process(9, "python3", "/dev/infiniband/uverbs1", "");
    process(31, "mapper", "/dev/null",
            "7f00-7f01 rw-s 00000000 00:15 77   /sys/devices/pci0/0000:00:07.0/resource2_wc");
    line("proc/uptime", "1 1");
  }
  ~HoldersOfDevices() override { fs::remove_all(root_); }
  void line(const fs::path& file, const std::string& text) {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text << '\n';
  }
  void process(int id, const std::string& name, const std::string& open, const std::string& map) {
    const fs::path folder = fs::path("proc") / std::to_string(id);
    line(folder / "comm", name);
    line(folder / "maps", map);
    fs::create_directories(root_ / folder / "fd");
    fs::create_symlink(open, root_ / folder / "fd/3");
  }
  ScratchFolder scratch_;
  const fs::path root_ = scratch_.path();
};

TEST_F(HoldersOfDevices, are_those_of_the_nic_that_is_asked_for) {
  EXPECT_THAT(
      find_holders(root_, "52:54:00:00:00:01"),
      ElementsAre(testing::AllOf(Field(&Holder::process, 20U), Field(&Holder::program, "rank"),
                                 Field(&Holder::path, "/dev/infiniband/uverbs0"))));
  EXPECT_THAT(find_holders(root_, "52:54:00:00:00:02"),
              ElementsAre(Field(&Holder::program, "python3")));
  EXPECT_THAT(find_holders(root_, "52:54:00:00:00:03"), IsEmpty());
}

TEST_F(HoldersOfDevices, are_all_that_have_any_when_none_is_named) {
  EXPECT_THAT(find_holders(root_, ""),
              ElementsAre(Field(&Holder::program, "python3"), Field(&Holder::program, "rank"),
                          Field(&Holder::path, "/sys/devices/pci0/0000:00:07.0/resource2_wc")));
}

TEST_F(HoldersOfDevices, are_none_where_there_is_nothing_to_look_at) {
  EXPECT_THAT(find_holders(root_ / "nowhere", ""), IsEmpty());
}

}  // namespace
}  // namespace ferry::agent
