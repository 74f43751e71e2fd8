// Devices and ports as sysfs shows them, in folders made here.
#include "hw_backend/verbs/device_search.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/scratch_folder.hpp"

namespace ferry::verbs {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr auto no_gid = "0000:0000:0000:0000:0000:0000:0000:0000";
constexpr auto link_local = "fe80:0000:0000:0000:5054:00ff:fe12:3456";
constexpr auto mapped = "0000:0000:0000:0000:0000:ffff:0a4e:0001";
constexpr auto routable = "2001:0db8:0000:0000:0000:0000:0000:0001";

class DeviceSearch : public testing::Test {
 protected:
  DeviceSearch() { fs::create_directories(sysfs_ / "class/infiniband"); }

  void write(const fs::path& path, const std::string& text) {
    fs::create_directories((sysfs_ / path).parent_path());
    std::ofstream(sysfs_ / path) << text << "\n";
  }
  static fs::path folder(const std::string& name) { return fs::path("class/infiniband") / name; }
  fs::path port(const std::string& name) { return folder(name) / "ports/1"; }

  /// A virtual function of an InfiniBand adapter.
  void add_adapter(const std::string& name, const std::string& pci, const std::string& guid) {
    const fs::path function = sysfs_ / "devices/pci0000:00/0000:00:02.0" / pci;
    fs::create_directories(function);
    write(folder(name) / "node_guid", guid);
    fs::create_directory_symlink(function, sysfs_ / folder(name) / "device");
    write(port(name) / "state", "4: ACTIVE");
    write(port(name) / "link_layer", "InfiniBand");
    write(port(name) / "lid", "0x1c");
    write(port(name) / "gids/0", "fe80:0000:0000:0000:" + guid);
    write(port(name) / "pkeys/0", "0x7fff");
    write(port(name) / "pkeys/1", "0xffff");
    write(port(name) / "pkeys/2", "0x8001");
  }
  /// Soft-RoCE on a NIC of virtio.
  void add_rxe(const std::string& name, const std::string& nic, const std::string& mac) {
    const fs::path function = sysfs_ / "devices/pci0000:00/0000:00:03.0/0000:01:00.0/virtio5";
    fs::create_directories(function);
    write(fs::path("class/net") / nic / "address", mac);
    fs::create_directory_symlink(function, sysfs_ / "class/net" / nic / "device");
    write(folder(name) / "parent", nic);
    write(folder(name) / "node_guid", "5054:00ff:fe12:3456");
    write(port(name) / "state", "4: ACTIVE");
    write(port(name) / "link_layer", "Ethernet");
    write(port(name) / "lid", "0x0");
    write(port(name) / "pkeys/0", "0xffff");
  }
  void add_gid(const std::string& name, int index, const std::string& gid,
               const std::string& type) {
    write(port(name) / "gids" / std::to_string(index), gid);
    if (!type.empty()) write(port(name) / "gid_attrs/types" / std::to_string(index), type);
  }
  [[nodiscard]] Result<UsablePort> search(const std::string& choice) const {
    return find_usable_port(parse_device_choice(choice).value(), sysfs_);
  }
  [[nodiscard]] std::string found(const std::string& choice) const {
    const Result<UsablePort> port = search(choice);
    return port ? port->device : port.error().reason;
  }

  ScratchFolder scratch_;
  const fs::path sysfs_ = scratch_.path();
};

TEST_F(DeviceSearch, a_device_is_found_by_what_stays_when_its_name_changes) {
  add_adapter("mlx5_0", "0000:03:00.1", "0011:2233:4455:6677");
  add_adapter("mlx5_1", "0000:03:00.2", "0011:2233:4455:6678");
  add_rxe("rxe0", "eth1", "52:54:00:12:34:56");
  add_gid("rxe0", 1, mapped, "RoCE v2");
  EXPECT_EQ(found("pci=0000:03:00.2"), "mlx5_1");
  EXPECT_EQ(found("guid=0011223344556678"), "mlx5_1");
  EXPECT_EQ(found("guid=0011:2233:4455:6677"), "mlx5_0");
  EXPECT_EQ(found("mac=52:54:00:12:34:56"), "rxe0");
  EXPECT_EQ(found("pci=0000:01:00.0"), "rxe0");
  EXPECT_EQ(found("name=rxe0,mac=52:54:00:12:34:56"), "rxe0");
  EXPECT_EQ(found("any"), "mlx5_0");
}

TEST_F(DeviceSearch, a_refusal_says_of_each_device_why_it_does_not_fit) {
  EXPECT_EQ(found("any"), "there is no RDMA device 'any' here: there is none at all");
  add_adapter("mlx5_0", "0000:03:00.1", "0011:2233:4455:6677");
  add_rxe("rxe0", "eth1", "52:54:00:12:34:56");
  EXPECT_EQ(
      found("pci=0000:04:00.0"),
      "there is no RDMA device 'pci=0000:04:00.0' here: mlx5_0 is at 0000:03:00.1, rxe0 is at "
      "0000:01:00.0");
  EXPECT_EQ(search("mac=52:54:00:12:34:57").error().kind, FailureKind::refused);
  EXPECT_THAT(found("mac=52:54:00:12:34:57"), HasSubstr("rxe0 has other MAC addresses"));
  EXPECT_THAT(found("guid=ffff223344556677"), HasSubstr("mlx5_0 has other GUIDs"));
}

TEST_F(DeviceSearch, a_port_that_cannot_carry_anything_yet_says_what_is_missing) {
  add_adapter("mlx5_0", "0000:03:00.1", "0011:2233:4455:6677");
  write(port("mlx5_0") / "state", "2: INIT");
  EXPECT_EQ(search("any").error().kind, FailureKind::failed);
  EXPECT_EQ(found("any"),
            "port 1 of RDMA device mlx5_0 is not ACTIVE but '2: INIT': look at its link, and on "
            "InfiniBand whether a subnet manager runs");
  write(port("mlx5_0") / "state", "4: ACTIVE");
  write(port("mlx5_0") / "lid", "0x0");
  EXPECT_THAT(found("any"), HasSubstr("has no LID"));
  write(port("mlx5_0") / "lid", "0x1c");
  write(port("mlx5_0") / "gids/0", no_gid);
  EXPECT_THAT(found("any"), HasSubstr("has no GID: its virtual function may have no GUID yet"));
  EXPECT_THAT(found("port=2"), HasSubstr("port 2 of RDMA device mlx5_0 does not exist"));
}

TEST_F(DeviceSearch, the_partition_key_is_the_first_full_one_or_the_one_that_is_asked_for) {
  add_adapter("mlx5_0", "0000:03:00.1", "0011:2233:4455:6677");
  EXPECT_EQ(search("any")->partition_key, 0xffff);
  EXPECT_EQ(search("any")->partition_key_index, 1);
  EXPECT_EQ(search("pkey=0x8001")->partition_key_index, 2);
  EXPECT_THAT(found("pkey=0x8002"),
              HasSubstr("has no partition key 0x8002 (but 0x7fff, 0xffff, 0x8001)"));
}

TEST_F(DeviceSearch, the_gid_is_chosen_by_type_and_address) {
  struct Entry {
    const char* gid;
    const char* type;
  };
  struct Case {
    std::vector<Entry> entries;
    int best;  ///< -1: none is usable
  };
  const std::vector<Case> cases = {
      {{}, -1},
      {{{no_gid, "RoCE v2"}}, -1},
      {{{link_local, "RoCE v2"}, {mapped, "RoCE v2"}}, 1},
      {{{link_local, "IB/RoCE v1"}, {link_local, "RoCE v2"}}, 1},
      {{{mapped, "IB/RoCE v1"}, {link_local, "RoCE v2"}}, 1},
      {{{link_local, "RoCE v2"}, {routable, "RoCE v2"}}, 1},
      {{{routable, "RoCE v2"}, {mapped, "RoCE v2"}, {mapped, "RoCE v2"}}, 1},
      {{{no_gid, ""}, {mapped, ""}, {link_local, "RoCE v2"}}, 2},
      {{{mapped, "IB/RoCE v1"}}, 0},
  };
  for (const Case& c : cases) {
    fs::remove_all(sysfs_ / "class");
    add_rxe("rxe0", "eth" + std::to_string(&c - cases.data()), "52:54:00:12:34:56");
    for (std::size_t i = 0; i < c.entries.size(); ++i) {
      add_gid("rxe0", static_cast<int>(i), c.entries[i].gid, c.entries[i].type);
    }
    const Result<UsablePort> port = search("any");
    EXPECT_EQ(port ? port->gid_index : -1, c.best) << &c - cases.data();
    if (port) continue;
    EXPECT_THAT(port.error().reason, HasSubstr("has no GID: give its NIC an address"));
  }
}

TEST(DeviceChoiceText, is_read_and_written) {
  for (const std::string text : {"any", "name=rxe0", "pci=0000:03:00.1,port=2",
                                 "guid=0011223344556677,pkey=0x8001", "mac=52:54:00:12:34:56"}) {
    const Result<DeviceChoice> choice = parse_device_choice(text);
    ASSERT_TRUE(choice) << text;
    EXPECT_EQ(to_text(*choice), text);
  }
}

TEST(DeviceChoiceText, that_is_wrong_is_refused_with_what_would_be_right) {
  EXPECT_EQ(parse_device_choice("pic=0000:03:00.1").error().reason,
            "RDMA device 'pic=0000:03:00.1': 'pic=0000:03:00.1' is not known; right are 'any', or "
            "name=, pci=, guid=, mac=, port= and pkey= joined by commas");
  for (const auto* const text : {"", "name", "name=", "port=0", "port=256", "pkey=0x10000",
                                 "guid=1234", "mac=52:54", "name=rxe0,,"}) {
    EXPECT_FALSE(parse_device_choice(text)) << text;
  }
}

}  // namespace
}  // namespace ferry::verbs
