// Endpoints for different channels as one, and devices that go and come.
#include "hw_backend/ranks/joined_endpoint.hpp"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "hw_backend/shm/shm_endpoint.hpp"
#include "hw_backend/shm/shm_fabric.hpp"
#include "hw_backend/shm/shm_wait_set.hpp"

namespace ferry::ranks {
namespace {

constexpr std::array by_memory = {Channel::shm, Channel::cma};
constexpr std::array by_device = {Channel::sriov};

/// A device that can register no memory.
class Unregistering final : public Endpoint {
 public:
  [[nodiscard]] EndpointAddress address() const override { return {0}; }
  [[nodiscard]] bool post(EndpointAddress, Channel, const PacketHeader&,
                          std::span<const ConstSlice>) override {
    return false;
  }
  [[nodiscard]] std::size_t largest_body(Channel) const override { return 64; }
  [[nodiscard]] const Arrival* poll() override { return nullptr; }
  [[nodiscard]] MemoryKey expose(Channel, std::span<const ConstSlice>) override { return {}; }
  void withdraw(MemoryKey) override { ++withdrawn; }
  void read(EndpointAddress, Channel, MemoryKey, std::size_t, std::span<const Slice>,
            std::uint64_t) override {}
  void connect(EndpointAddress, Channel) override {}
  void disconnect(EndpointAddress, Channel) override {}
  int withdrawn = 0;
};

/// Two parts in two regions, for two ranks in one process.
class Joined : public testing::Test {
 protected:
  struct Rank {
    Rank(RankId rank, shm::ShmFabric& first, const std::shared_ptr<shm::Region>& second)
        : wait_set(first.make_shm_wait_set()),
          memory(first.open_named(rank, *wait_set)),
          device(std::make_unique<shm::ShmEndpoint>(second, *wait_set, false, rank)),
          joined(rank, *wait_set) {
      joined.set_part(by_memory, memory.get());
      joined.set_part(by_device, device.get());
    }
    std::unique_ptr<shm::ShmWaitSet> wait_set;
    std::unique_ptr<shm::ShmEndpoint> memory;
    std::unique_ptr<shm::ShmEndpoint> device;
    JoinedEndpoint joined;
  };
  static PacketHeader tagged(std::int32_t tag) {
    PacketHeader header;
    header.tag = tag;
    return header;
  }
  [[nodiscard]] bool send(std::int32_t tag, Channel channel) {
    return one.joined.post({1}, channel, tagged(tag), {});
  }
  static const Arrival* next(Rank& rank) {
    const Arrival* got = nullptr;
    while ((got = rank.joined.poll()) == nullptr) rank.wait_set->wait(TimePoint::never());
    return got;
  }

  ThreadClock clock{1.0};
  shm::ShmFabric first{shm::Region::make_anonymous({.endpoints = 4, .ranks = 4}), clock, {}};
  std::shared_ptr<shm::Region> second = shm::Region::make_anonymous({.endpoints = 4, .ranks = 4});
  Rank one{RankId{0}, first, second};
  Rank other{RankId{1}, first, second};
};

TEST_F(Joined, packets_go_by_the_part_of_their_channel) {
  ASSERT_TRUE(send(1, Channel::shm));
  ASSERT_TRUE(send(2, Channel::sriov));
  bool seen[3] = {};
  for (int i = 0; i < 2; ++i) {
    const Arrival* const got = next(other);
    EXPECT_EQ(got->channel, got->header.tag == 1 ? Channel::shm : Channel::sriov);
    EXPECT_EQ(got->from, EndpointAddress{0});
    seen[got->header.tag] = true;
  }
  EXPECT_TRUE(seen[1] && seen[2]);
  EXPECT_EQ(first.region().header().rings_made.load(), 1U);
  EXPECT_EQ(second->header().rings_made.load(), 1U);
}

TEST_F(Joined, a_part_that_always_has_something_does_not_starve_another) {
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(send(1, Channel::shm));
  ASSERT_TRUE(send(2, Channel::sriov));
  int before = 0;
  while (next(other)->header.tag != 2) ++before;
  EXPECT_LT(before, 500);
}

TEST_F(Joined, what_has_no_way_now_finds_no_room_until_there_is_one) {
  one.joined.set_part(by_device, nullptr);
  EXPECT_FALSE(send(5, Channel::sriov));
  EXPECT_TRUE(send(6, Channel::shm));
  EXPECT_EQ(one.joined.largest_body(Channel::sriov), one.device->largest_body(Channel::sriov));
  one.joined.set_part(by_device, one.device.get());
  EXPECT_EQ(one.wait_set->wait(TimePoint::never()), Wake::ready);
  EXPECT_TRUE(send(5, Channel::sriov));
}

TEST_F(Joined, a_channel_that_was_never_there_carries_nothing_without_a_word) {
  EXPECT_TRUE(send(1, Channel::native));
  one.joined.connect({1}, Channel::native);
  one.joined.disconnect({1}, Channel::native);
  EXPECT_EQ(other.joined.poll(), nullptr);
}

TEST_F(Joined, packets_are_counted_by_channel_and_moves) {
  ASSERT_TRUE(send(1, Channel::sriov));
  ASSERT_TRUE(send(2, Channel::sriov));
  one.joined.note_move();
  ASSERT_TRUE(send(3, Channel::shm));
  one.joined.note_move();
  one.joined.set_part(by_device, nullptr);
  EXPECT_FALSE(send(4, Channel::sriov));  // found no room
  one.joined.set_part(by_device, one.device.get());
  one.joined.note_move();
  ASSERT_TRUE(send(4, Channel::sriov));
  const std::vector<mpi::ChannelPackets> expected = {
      {Channel::sriov, 0, 2}, {Channel::shm, 1, 1}, {Channel::sriov, 3, 1}};
  EXPECT_EQ(one.joined.packets(), expected);
}

TEST_F(Joined, memory_is_read_by_the_part_that_it_was_exposed_by) {
  std::vector<std::byte> memory(1000, std::byte{9});
  std::vector<std::byte> into(1000);
  const ConstSlice exposed{memory.data(), memory.size()};
  const Slice slice{into.data(), into.size()};
  for (const Channel channel : {Channel::cma, Channel::sriov}) {
    const MemoryKey key = one.joined.expose(channel, {&exposed, 1});
    other.joined.read({0}, channel, key, 0, {&slice, 1}, 33);
    const Arrival* const got = next(other);
    EXPECT_EQ(got->kind, Arrival::Kind::read_done);
    EXPECT_EQ(got->cookie, 33U);
    EXPECT_EQ(into, memory);
    one.joined.withdraw(key);
    other.joined.read({0}, channel, key, 0, {&slice, 1}, 34);
    EXPECT_EQ(next(other)->kind, Arrival::Kind::read_failed);
  }
}

TEST_F(Joined, memory_that_a_part_does_not_expose_has_no_key_whatever_its_channel) {
  Unregistering device;
  one.joined.set_part(by_device, &device);
  const std::array<std::byte, 8> memory = {};
  const ConstSlice slice{memory.data(), memory.size()};
  const MemoryKey none = one.joined.expose(Channel::sriov, {&slice, 1});
  EXPECT_EQ(none.value, 0U);  // so that the sender of a message sees it
  one.joined.withdraw(none);
  EXPECT_EQ(device.withdrawn, 0);
  one.joined.set_part(by_device, one.device.get());
}

TEST_F(Joined, a_read_by_a_device_that_is_closed_fails) {
  std::vector<std::byte> into(8);
  const Slice slice{into.data(), into.size()};
  other.joined.set_part(by_device, nullptr);
  const MemoryKey none = other.joined.expose(Channel::sriov, {});
  other.joined.withdraw(none);
  other.joined.read({0}, Channel::sriov, MemoryKey{7}, 0, {&slice, 1}, 35);
  const Arrival* const got = next(other);
  EXPECT_EQ(got->kind, Arrival::Kind::read_failed);
  EXPECT_EQ(got->channel, Channel::sriov);
  EXPECT_EQ(got->cookie, 35U);
}

}  // namespace
}  // namespace ferry::ranks
