// Where ranks are, and which channels follow from that.
#include "hw_backend/ranks/rank_places.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "hw_backend/ranks/machine_address.hpp"
#include "hw_backend/shm/ivshmem_device.hpp"
#include "tests/scratch_folder.hpp"

namespace ferry::ranks {
namespace {

TransportProfile profile(std::int64_t latency_nanoseconds, bool reads) {
  TransportProfile made;
  made.segments = {{Bytes(), Duration::nanoseconds(latency_nanoseconds), Duration::nanoseconds(100),
                    Duration(), Bandwidth::bytes_per_second(5'000'000'000)}};
  made.reads = reads;
  return made;
}

ChannelProfiles every_profile() {
  ChannelProfiles profiles;
  profiles.set(Channel::shm, profile(100, false));
  profiles.set(Channel::cma, profile(200, true));
  profiles.set(Channel::ivshmem, profile(150, false));
  profiles.set(Channel::sriov, profile(2000, true));
  profiles.set(Channel::sriov_loopback, profile(1500, true));
  return profiles;
}

/// Ranks 0 and 1 in one VM, 2 in another of its host, 3 elsewhere.
std::vector<Whereabouts> two_hosts() {
  const auto in = [](const char* vm, const char* host) {
    return Whereabouts{vm, vm, vm, host, true, true, Bytes::mebi(16), ""};
  };
  return {in("vm0", "h0"), in("vm0", "h0"), in("vm1", "h0"), in("vm2", "h1")};
}

ChannelPolicy policy() {
  ChannelPolicy made;
  made.ivshmem_part = Bytes::mebi(1);
  return made;
}

TEST(Whereabouts, of_this_process_are_those_that_it_tells) {
  const Whereabouts here = look_around();
  EXPECT_FALSE(here.machine.empty());
  EXPECT_EQ(parse_whereabouts(to_text(here)), here);
  EXPECT_EQ(here, look_around());
  for (const char* text : {"", "a", "a b c d rd", "a b c d rd 1", "a b c d rd 1x -",
                           "a b c d rd 1 - x", "a b c d r 1 -"}) {
    EXPECT_FALSE(parse_whereabouts(text)) << text;
  }
  EXPECT_EQ(parse_whereabouts("a b c - r- 5 h:1"),
            (Whereabouts{"a", "b", "c", "", true, false, Bytes(5), "h:1"}));
}

TEST(RankPlaces, choose_channels_by_nearness) {
  const RankPlaces places(two_hosts(), policy(), every_profile());
  EXPECT_EQ(places.route(RankId{0}, RankId{1}).control(), Channel::shm);
  EXPECT_EQ(places.route(RankId{0}, RankId{2}).control(), Channel::ivshmem);
  EXPECT_EQ(places.route(RankId{0}, RankId{3}).control(), Channel::sriov);
  EXPECT_EQ(places.hosts(), (std::vector<std::uint32_t>{0, 0, 0, 1}));
  EXPECT_EQ(places.sharing_memory(RankId{1}), (std::vector<RankId>{RankId{0}, RankId{1}}));
}

TEST(RankPlaces, change_when_a_machine_moves_and_its_memory_does_not) {
  RankPlaces places(two_hosts(), policy(), every_profile());
  const std::uint64_t before = places.generation();
  places.moved({RankId{2}}, "h1", true, true);
  EXPECT_NE(places.generation(), before);
  EXPECT_EQ(places.route(RankId{0}, RankId{2}).control(), Channel::sriov);
  EXPECT_EQ(places.route(RankId{3}, RankId{2}).control(), Channel::ivshmem);
  places.moved({RankId{2}}, "h0", true, true);
  EXPECT_EQ(places.route(RankId{0}, RankId{2}).control(), Channel::ivshmem);
  EXPECT_FALSE(places.share_memory(RankId{0}, RankId{2}));
}

TEST(RankPlaces, without_devices_reach_only_their_own_memory) {
  std::vector<Whereabouts> ranks = two_hosts();
  for (Whereabouts& rank : ranks) {
    rank.device = false;
    rank.ivshmem = Bytes();
  }
  const RankPlaces places(ranks, policy(), every_profile());
  EXPECT_TRUE(places.route(RankId{0}, RankId{1}).reaches());
  EXPECT_FALSE(places.route(RankId{0}, RankId{3}).reaches());
  EXPECT_FALSE(places.route(RankId{0}, RankId{3}).unreachable().empty());
}

constexpr PacketLimits limits{Bytes::kibi(64), Bytes::kibi(8)};

TEST(UsableProfiles, have_no_larger_packets_than_what_carries_them) {
  const ChannelProfiles usable = usable_profiles(every_profile(), two_hosts(), limits);
  EXPECT_EQ(usable.find(Channel::shm, true)->largest_packet, Bytes::kibi(64));
  EXPECT_EQ(usable.find(Channel::sriov, true)->largest_packet, Bytes::kibi(8));
}

TEST(UsableProfiles, are_without_reading_where_somebody_may_not_or_cannot_name_the_other) {
  EXPECT_NE(usable_profiles(every_profile(), two_hosts(), limits).find(Channel::cma, true),
            nullptr);
  std::vector<Whereabouts> ranks = two_hosts();
  ranks[3].reads = false;
  EXPECT_EQ(usable_profiles(every_profile(), ranks, limits).find(Channel::cma, true), nullptr);
  ranks = two_hosts();
  ranks[1].processes = "another container";
  EXPECT_EQ(usable_profiles(every_profile(), ranks, limits).find(Channel::cma, true), nullptr);
  EXPECT_NE(usable_profiles(every_profile(), ranks, limits).find(Channel::sriov, true), nullptr);
}

TEST(MachineAddress, is_numeric_whatever_there_is) {
  EXPECT_NE(machine_address().find_first_of("0123456789"), std::string::npos);
  EXPECT_EQ(machine_address().find_first_not_of("0123456789."), std::string::npos);
  EXPECT_FALSE(machine_address("/nowhere").empty());
}

/// A folder like sysfs's of PCI devices.
class PciTree : public testing::Test {
 protected:
  void add(const std::string& address, const std::string& vendor, const std::string& device,
           const std::vector<std::string>& files) const {
    std::filesystem::create_directories(root_ / address);
    std::ofstream(root_ / address / "vendor") << vendor << '\n';
    std::ofstream(root_ / address / "device") << device << '\n';
    for (const std::string& file : files) std::ofstream(root_ / address / file) << "";
  }
  ScratchFolder scratch_;
  const std::filesystem::path root_ = scratch_.path();
};

TEST_F(PciTree, has_the_device_that_is_ivshmem) {
  EXPECT_EQ(shm::find_ivshmem_memory(root_).value(), "");
  EXPECT_EQ(shm::find_ivshmem_memory(root_ / "none").value(), "");
  add("0000:00:01.0", "0x1af4", "0x1041", {"resource2"});
  add("0000:00:02.0", "0x1af4", "0x1110", {"resource2", "resource2_wc"});
  EXPECT_EQ(shm::find_ivshmem_memory(root_).value(),
            (root_ / "0000:00:02.0/resource2_wc").string());
  std::filesystem::remove(root_ / "0000:00:02.0/resource2_wc");
  EXPECT_EQ(shm::find_ivshmem_memory(root_).value(), (root_ / "0000:00:02.0/resource2").string());
  std::filesystem::remove(root_ / "0000:00:02.0/resource2");
  EXPECT_EQ(shm::find_ivshmem_memory(root_).error().reason,
            "the IVShmem device 0000:00:02.0 has no memory (BAR 2) that can be mapped");
}

TEST_F(PciTree, with_two_such_devices_leaves_the_choice_to_the_user) {
  add("0000:00:02.0", "0x1af4", "0x1110", {"resource2"});
  add("0000:00:03.0", "0x1af4", "0x1110", {"resource2"});
  EXPECT_EQ(
      shm::find_ivshmem_memory(root_).error().reason,
      "this machine has several IVShmem devices (0000:00:02.0, 0000:00:03.0); name the memory "
      "of one: " +
          (root_ / "0000:00:02.0/resource2").string());
}

}  // namespace
}  // namespace ferry::ranks
