// What `Fabric`, its endpoints and wait sets promise.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "tests/contract/contract.hpp"
#include "tests/contract/rank_end.hpp"

namespace ferry {
namespace {

constexpr TimePoint never = TimePoint::never();

class FabricContract : public Contract {};
FERRY_FOR_EVERY_FABRIC(FabricContract);

// --- Packets ---

TEST_P(FabricContract, endpoints_have_different_addresses) {
  run([](World& world) {
    const RankEnd a(world, native_on(0));
    const RankEnd b(world, native_on(0));
    const RankEnd c(world, native_on(1));
    EXPECT_NE(a.address(), b.address());
    EXPECT_NE(a.address(), c.address());
    EXPECT_NE(b.address(), c.address());
  });
}

TEST_P(FabricContract, packets_of_a_pair_and_channel_arrive_in_order_and_intact) {
  run([](World& world) {
    const RankEnd sender(world, native_on(0));
    const RankEnd receiver(world, native_on(1));
    constexpr std::size_t count = 1000;
    // Zero bytes among them, and more than a packet's own place or a cache line holds.
    const auto size_of = [](std::size_t i) { return i % 7 * (i % 11) * 97; };
    ScopedTask sending(world, "sender", [&] {
      for (std::size_t i = 0; i < count; ++i) {
        sender.post(receiver.address(), Channel::native, static_cast<std::int32_t>(i),
                    pattern(size_of(i), i));
      }
    });
    for (std::size_t i = 0; i < count; ++i) {
      const Arrival* const got = receiver.receive();
      ASSERT_NE(got, nullptr);
      EXPECT_EQ(got->kind, Arrival::Kind::packet);
      EXPECT_EQ(got->channel, Channel::native);
      EXPECT_EQ(got->from, sender.address());
      EXPECT_EQ(got->header.tag, static_cast<std::int32_t>(i));
      EXPECT_EQ(got->body_size, size_of(i));
      ASSERT_EQ(body_of(*got), pattern(size_of(i), i));
    }
    sending.join();
  });
}

TEST_P(FabricContract, a_large_packet_does_not_let_a_small_one_of_its_channel_pass) {
  run([](World& world) {
    const RankEnd sender(world, native_on(0));
    const RankEnd receiver(world, native_on(1));
    ASSERT_TRUE(sender.post_phantom(receiver.address(), Channel::native, 1U << 20U));
    ASSERT_TRUE(sender.post_phantom(receiver.address(), Channel::native, 1));
    ASSERT_TRUE(sender.post_phantom(receiver.address(), Channel::native, 1U << 19U));
    EXPECT_EQ(receiver.receive()->body_size, 1U << 20U);
    EXPECT_EQ(receiver.receive()->body_size, 1U);
    EXPECT_EQ(receiver.receive()->body_size, 1U << 19U);
  });
}

TEST_P(FabricContract, a_body_of_several_pieces_arrives_as_one) {
  run([](World& world) {
    const RankEnd sender(world, native_on(0));
    const RankEnd receiver(world, native_on(1));
    const std::vector<std::byte> all = pattern(1000, 3);
    const std::vector<ConstSlice> pieces = {
        {all.data(), 1}, {nullptr, 0}, {all.data() + 1, 600}, {all.data() + 601, 399}};
    ASSERT_TRUE(sender.end->post(receiver.address(), Channel::native, PacketHeader{}, pieces));
    EXPECT_EQ(body_of(*receiver.receive()), all);
  });
}

TEST_P(FabricContract, header_and_body_may_be_reused_at_once) {
  run([](World& world) {
    const RankEnd sender(world, native_on(0));
    const RankEnd receiver(world, native_on(1));
    PacketHeader header;
    std::vector<std::byte> body;
    for (std::int32_t i = 0; i < 3; ++i) {
      header.tag = i;
      header.sequence = static_cast<std::uint64_t>(i) << 40U;
      body = pattern(300, static_cast<std::size_t>(i));
      const ConstSlice slice{body.data(), body.size()};
      ASSERT_TRUE(sender.end->post(receiver.address(), Channel::native, header, {&slice, 1}));
      std::ranges::fill(body, std::byte{0xee});
    }
    header = {};
    for (std::int32_t i = 0; i < 3; ++i) {
      const Arrival* const got = receiver.receive();
      EXPECT_EQ(got->header.tag, i);
      EXPECT_EQ(got->header.sequence, static_cast<std::uint64_t>(i) << 40U);
      EXPECT_EQ(body_of(*got), pattern(300, static_cast<std::size_t>(i)));
    }
  });
}

/// Many in a row that differ as those of one kind do, then another kind.
TEST_P(FabricContract, a_header_arrives_as_it_left_but_for_bits_of_its_checksum) {
  run([](World& world) {
    const RankEnd sender(world, native_on(0));
    const RankEnd receiver(world, native_on(1));
    constexpr std::uint32_t count = 200;
    const auto header_of = [](std::uint32_t i) {
      const std::uint32_t kind = i / 8;
      PacketHeader header;
      header.kind = static_cast<std::uint16_t>(kind % 3);
      header.flags = static_cast<std::uint16_t>(kind % 5 * 7);
      header.epoch = kind;
      header.source = kind / 2 * 0x1234'5678;
      header.context = ~kind;
      header.tag = static_cast<std::int32_t>(i * (kind % 3) - 5);
      header.credits = i * (kind % 4) - 3;
      header.sequence = i + kind * 0x1'0000'0000U;
      header.size = kind % 2 == 0 ? i % 5 * 100 : 1U << 20U;
      header.checksum = ~std::uint64_t{i} * 0x9e37'79b9'7f4a'7c15U;
      header.more = kind % 4 == 0 ? 0 : ~std::uint64_t{kind};
      return header;
    };
    ScopedTask sending(world, "sender", [&] {
      for (std::uint32_t i = 0; i < count; ++i) {
        sender.post(receiver.address(), Channel::native, header_of(i), pattern(i % 5 * 100, i));
      }
    });
    for (std::uint32_t i = 0; i < count; ++i) {
      const Arrival* const got = receiver.receive();
      ASSERT_NE(got, nullptr);
      PacketHeader left = header_of(i);
      ASSERT_EQ(got->checksum_bits & 0xffff'ffffU, 0xffff'ffffU);
      if (got->body.empty()) {
        ASSERT_EQ(got->checksum_bits, ~std::uint64_t{});
      }
      left.checksum &= got->checksum_bits;
      ASSERT_EQ(std::memcmp(&got->header, &left, sizeof left), 0) << "packet " << i;
      ASSERT_EQ(body_of(*got), pattern(i % 5 * 100, i));
    }
    sending.join();
  });
}

TEST_P(FabricContract, a_phantom_body_has_a_size_and_no_bytes) {
  run([](World& world) {
    const RankEnd sender(world, native_on(0));
    const RankEnd receiver(world, native_on(1));
    for (const std::size_t size : {std::size_t{8}, std::size_t{1} << 20U}) {
      ASSERT_TRUE(sender.post_phantom(receiver.address(), Channel::native, size));
      const Arrival* const got = receiver.receive();
      EXPECT_EQ(got->body_size, size);
      EXPECT_TRUE(got->body.empty());
      EXPECT_EQ(got->body.data(), nullptr);
    }
  });
}

TEST_P(FabricContract, an_endpoint_sends_to_itself) {
  run([](World& world) {
    const RankEnd self(world, native_on(0));
    self.post(self.address(), Channel::shm, 7, pattern(3, 1));
    const Arrival* const got = self.receive();
    EXPECT_EQ(got->from, self.address());
    EXPECT_EQ(body_of(*got), pattern(3, 1));
  });
}

TEST_P(FabricContract, channels_of_a_pair_are_told_apart) {
  run([](World& world) {
    const RankEnd sender(world, native_on(0));
    const RankEnd receiver(world, native_on(0));
    sender.post(receiver.address(), Channel::shm, 1);
    sender.post(receiver.address(), Channel::native, 2);
    for (int i = 0; i < 2; ++i) {
      const Arrival* const got = receiver.receive();
      EXPECT_EQ(got->channel, got->header.tag == 1 ? Channel::shm : Channel::native);
    }
  });
}

TEST_P(FabricContract, a_full_connection_takes_nothing_and_wakes_its_sender_when_there_is_room) {
  run([](World& world) {
    const RankEnd sender(world, native_on(0));
    const RankEnd receiver(world, native_on(1));
    const RankEnd other(world, native_on(1));
    std::int32_t accepted = 0;
    while (sender.try_post(receiver.address(), Channel::native, accepted)) {
      ASSERT_LT(++accepted, 1'000'000) << "there is no bound";
    }
    EXPECT_GE(accepted, 1);
    EXPECT_FALSE(sender.try_post(receiver.address(), Channel::native, accepted));
    sender.post(other.address(), Channel::native, 0);  // the others are not full

    std::atomic<bool> polled = false;
    ScopedTask receiving(world, "receiver", [&] {
      sleep(world, ms(50));
      polled = true;
      EXPECT_EQ(receiver.receive()->header.tag, 0);
    });
    sender.post(receiver.address(), Channel::native, accepted);
    EXPECT_TRUE(polled);
    receiving.join();
    for (std::int32_t i = 1; i <= accepted; ++i) EXPECT_EQ(receiver.receive()->header.tag, i);
  });
}

TEST_P(FabricContract, a_refusal_is_followed_by_a_wake_even_if_a_packet_went_meanwhile) {
  run([](World& world) {
    const RankEnd sender(world, native_on(0));
    const RankEnd receiver(world, native_on(1));
    std::int32_t accepted = 0;
    while (sender.try_post(receiver.address(), Channel::native, accepted)) ++accepted;
    for (std::int32_t i = 0; i < accepted; ++i) EXPECT_EQ(receiver.receive()->header.tag, i);
    EXPECT_EQ(receiver.end->poll(), nullptr);
    sender.post(receiver.address(), Channel::native, accepted);
    EXPECT_EQ(sender.set->wait(after(world, ms(200))), Wake::ready);
    EXPECT_EQ(sender.set->wait(after(world, ms(20))), Wake::timed_out);  // and only once
  });
}

TEST_P(FabricContract, what_goes_to_nobody_is_lost_without_a_word) {
  run([](World& world) {
    const RankEnd sender(world, native_on(0));
    EXPECT_TRUE(sender.try_post(EndpointAddress{987654}, Channel::native, 1));
  });
}

TEST_P(FabricContract, a_closed_endpoint_takes_what_is_under_way_with_it_and_its_address) {
  run([](World& world) {
    const RankEnd sender(world, native_on(0));
    auto receiver = std::make_unique<RankEnd>(world, native_on(1));
    const EndpointAddress address = receiver->address();
    sender.post(address, Channel::native, 1);
    receiver.reset();
    sender.post(address, Channel::native, 2);
    receiver = std::make_unique<RankEnd>(world, native_on(1));
    EXPECT_NE(receiver->address(), address);
    sender.post(receiver->address(), Channel::native, 3);
    EXPECT_EQ(receiver->receive()->header.tag, 3);
  });
}

TEST_P(FabricContract, closing_an_endpoint_wakes_the_senders_that_wait_for_room) {
  run([](World& world) {
    const RankEnd sender(world, native_on(0));
    auto receiver = std::make_unique<RankEnd>(world, native_on(1));
    const EndpointAddress address = receiver->address();
    std::atomic<bool> full = false;
    ScopedTask sending(world, "sender", [&] {
      int posted = 0;
      while (sender.try_post(address, Channel::native, posted)) ++posted;
      full = true;
      sender.post(address, Channel::native, posted);  // hangs if it is not woken
    });
    ASSERT_TRUE(comes_true(world, [&] { return full.load(); }));
    sleep(world, ms(20));
    receiver.reset();
    sending.join();
  });
}

// --- Reads of memory ---

TEST_P(FabricContract, a_read_brings_the_bytes_from_an_offset_on_in_any_pieces) {
  run([](World& world) {
    const RankEnd owner(world, native_on(0));
    const RankEnd reader(world, native_on(1));
    const std::vector<std::byte> memory = pattern(200'000, 5);
    const std::vector<ConstSlice> exposed = {{memory.data(), 70'000},
                                             {memory.data() + 70'000, 130'000}};
    const MemoryKey key = owner.end->expose(Channel::native, exposed);
    struct Case {
      std::size_t offset;
      std::size_t size;
    };
    for (const Case& c : {Case{0, 200'000}, Case{69'999, 2}, Case{70'000, 1}, Case{100, 0},
                          Case{199'999, 1}, Case{1, 150'000}}) {
      std::vector<std::byte> into(c.size);
      const std::size_t half = c.size / 2;
      const std::vector<Slice> pieces = {{into.data(), half}, {into.data() + half, c.size - half}};
      reader.end->read(owner.address(), Channel::native, key, c.offset, pieces, 77);
      const Arrival* const end = reader.receive();
      ASSERT_NE(end, nullptr);
      EXPECT_EQ(end->kind, Arrival::Kind::read_done);
      EXPECT_EQ(end->cookie, 77U);
      EXPECT_TRUE(std::equal(into.begin(), into.end(), memory.begin() + c.offset));
    }
    owner.end->withdraw(key);
  });
}

TEST_P(FabricContract, several_reads_are_under_way_at_once) {
  run([](World& world) {
    const RankEnd owner(world, native_on(0));
    const RankEnd reader(world, native_on(1));
    const std::vector<std::byte> memory = pattern(10'000, 9);
    const ConstSlice exposed{memory.data(), memory.size()};
    const MemoryKey key = owner.end->expose(Channel::native, {&exposed, 1});
    std::vector<std::byte> into(memory.size());
    constexpr std::size_t part = 100;
    for (std::size_t i = 0; i < part; ++i) {
      const Slice slice{into.data() + i * part, part};
      reader.end->read(owner.address(), Channel::native, key, i * part, {&slice, 1}, i);
    }
    std::vector<bool> seen(part);
    for (std::size_t i = 0; i < part; ++i) {
      const Arrival* const end = reader.receive();
      EXPECT_EQ(end->kind, Arrival::Kind::read_done);
      EXPECT_FALSE(seen[end->cookie]);
      seen[end->cookie] = true;
    }
    EXPECT_EQ(into, memory);
  });
}

TEST_P(FabricContract, a_phantom_read_has_its_end_and_no_bytes) {
  run([](World& world) {
    const RankEnd owner(world, native_on(0));
    const RankEnd reader(world, native_on(1));
    const ConstSlice exposed{nullptr, 1U << 22U};
    const MemoryKey key = owner.end->expose(Channel::native, {&exposed, 1});
    const Slice into{nullptr, 1U << 22U};
    reader.end->read(owner.address(), Channel::native, key, 0, {&into, 1}, 4);
    EXPECT_EQ(reader.receive()->kind, Arrival::Kind::read_done);
  });
}

TEST_P(FabricContract, a_read_fails_after_withdrawal_and_beyond_the_end_and_of_the_gone) {
  run([](World& world) {
    auto owner = std::make_unique<RankEnd>(world, native_on(0));
    const RankEnd reader(world, native_on(1));
    const std::vector<std::byte> memory(100);
    const ConstSlice exposed{memory.data(), memory.size()};
    std::vector<std::byte> bytes(60);
    const Slice into{bytes.data(), bytes.size()};
    const auto ends = [&](MemoryKey key, std::size_t offset) {
      reader.end->read(owner->address(), Channel::native, key, offset, {&into, 1}, 1);
      return reader.receive()->kind;
    };
    const MemoryKey first = owner->end->expose(Channel::native, {&exposed, 1});
    EXPECT_EQ(ends(first, 40), Arrival::Kind::read_done);
    EXPECT_EQ(ends(first, 41), Arrival::Kind::read_failed);
    owner->end->withdraw(first);
    EXPECT_EQ(ends(first, 0), Arrival::Kind::read_failed);
    // A later key is another one.
    const MemoryKey second = owner->end->expose(Channel::native, {&exposed, 1});
    EXPECT_EQ(ends(first, 0), Arrival::Kind::read_failed);
    EXPECT_EQ(ends(second, 0), Arrival::Kind::read_done);
    EXPECT_EQ(ends(MemoryKey{0}, 0), Arrival::Kind::read_failed);
    const EndpointAddress gone = owner->address();
    owner.reset();
    reader.end->read(gone, Channel::native, second, 0, {&into, 1}, 1);
    EXPECT_EQ(reader.receive()->kind, Arrival::Kind::read_failed);
  });
}

// --- Connections and devices ---

TEST_P(FabricContract, a_disconnect_drops_what_came_from_there_by_that_channel) {
  run([](World& world) {
    const RankEnd sender(world, native_on(0));
    const RankEnd other(world, native_on(0));
    const RankEnd receiver(world, native_on(0));
    sender.post(receiver.address(), Channel::native, 1);
    sender.post(receiver.address(), Channel::shm, 2);
    other.post(receiver.address(), Channel::native, 3);
    receiver.end->disconnect(sender.address(), Channel::native);
    sender.post(receiver.address(), Channel::native, 4);  // opens it again
    std::vector<std::int32_t> tags;
    for (int i = 0; i < 3; ++i) tags.push_back(receiver.receive()->header.tag);
    std::ranges::sort(tags);
    EXPECT_EQ(tags, (std::vector<std::int32_t>{2, 3, 4}));
    receiver.end->connect(sender.address(), Channel::native);
    receiver.post(sender.address(), Channel::native, 5);
    EXPECT_EQ(sender.receive()->header.tag, 5);
  });
}

TEST_P(FabricContract, a_disconnect_makes_room_for_the_sender) {
  run([](World& world) {
    const RankEnd sender(world, native_on(0));
    const RankEnd receiver(world, native_on(1));
    std::int32_t posted = 0;
    while (sender.try_post(receiver.address(), Channel::native, posted)) ++posted;
    receiver.end->disconnect(sender.address(), Channel::native);
    sender.post(receiver.address(), Channel::native, -5);
    EXPECT_EQ(receiver.receive()->header.tag, -5);
  });
}

TEST_P(FabricContract, a_device_that_is_gone_carries_nothing_and_says_nothing) {
  if (!GetParam()->has_devices()) GTEST_SKIP() << "this fabric has no devices";
  struct Case {
    Channel channel;
    DeviceKind device;
    VmId peer;
  };
  for (const Case& c : {Case{Channel::sriov, DeviceKind::virtual_function, VmId{2}},
                        Case{Channel::sriov_loopback, DeviceKind::virtual_function, VmId{1}},
                        Case{Channel::ivshmem, DeviceKind::ivshmem, VmId{1}}}) {
    run([&c](World& world) {
      const VmId vm{0};
      const RankEnd a(world, inside(vm));
      const RankEnd b(world, inside(c.peer));
      a.post(b.address(), c.channel, 1);
      b.post(a.address(), c.channel, 2);
      EXPECT_EQ(b.receive()->header.tag, 1);
      EXPECT_EQ(a.receive()->header.tag, 2);

      ASSERT_TRUE(succeeded(world.hypervisor.detach(vm, c.device, never)));
      a.post(b.address(), c.channel, 3);
      b.post(a.address(), c.channel, 4);
      EXPECT_EQ(a.receive(after(world, ms(20))), nullptr);
      EXPECT_EQ(b.receive(after(world, ms(20))), nullptr);

      ASSERT_TRUE(succeeded(world.hypervisor.attach(vm, c.device, never)));
      a.post(b.address(), c.channel, 5);
      b.post(a.address(), c.channel, 6);
      EXPECT_EQ(b.receive()->header.tag, 5);
      EXPECT_EQ(a.receive()->header.tag, 6);
    });
  }
}

TEST_P(FabricContract, ranks_of_one_vm_talk_without_its_devices) {
  run([](World& world) {
    const VmId vm{0};
    const RankEnd a(world, inside(vm));
    const RankEnd b(world, inside(vm));
    ASSERT_TRUE(succeeded(world.hypervisor.detach(vm, DeviceKind::virtual_function, never)));
    ASSERT_TRUE(succeeded(world.hypervisor.detach(vm, DeviceKind::ivshmem, never)));
    a.post(b.address(), Channel::shm, 1);
    a.post(b.address(), Channel::cma, 2);
    std::int32_t sum = 0;
    for (int i = 0; i < 2; ++i) sum += b.receive()->header.tag;
    EXPECT_EQ(sum, 3);
  });
}

TEST_P(FabricContract, a_world_tells_the_profiles_that_its_platform_has) {
  if (!GetParam()->has_devices()) GTEST_SKIP() << "this fabric has no devices";
  platform.channels = {};
  TransportProfile near;
  near.segments = {{Bytes(), ms(1), ms(2), ms(3), Bandwidth::bytes_per_second(1e9)}};
  TransportProfile far = near;
  far.segments[0].latency = ms(4);
  platform.channels.set(Channel::ivshmem, true, near);
  platform.channels.set(Channel::ivshmem, false, far);
  run([](World& world) {
    EXPECT_EQ(world.fabric.profile(Channel::sriov, false), nullptr);
    EXPECT_EQ(world.fabric.profile(Channel::ivshmem, true)->segments[0].latency, ms(1));
    EXPECT_EQ(world.fabric.profile(Channel::ivshmem, false)->segments[0].latency, ms(4));
  });
}

// --- Wait sets ---

TEST_P(FabricContract, a_wait_ends_with_an_arrival) {
  run([](World& world) {
    const RankEnd sender(world, native_on(0));
    const RankEnd receiver(world, native_on(1));
    const TimePoint start = world.clock.now();
    ScopedTask sending(world, "sender", [&] {
      sleep(world, ms(30));
      sender.post(receiver.address(), Channel::native, 1);
    });
    EXPECT_NE(receiver.receive(), nullptr);
    EXPECT_GE(world.clock.now() - start, ms(30));
  });
}

TEST_P(FabricContract, a_wait_returns_at_once_while_there_is_something_to_poll) {
  run([](World& world) {
    const RankEnd self(world, native_on(0));
    for (int i = 0; i < 3; ++i) self.post(self.address(), Channel::shm, i);
    for (int i = 0; i < 3; ++i) {
      ASSERT_EQ(self.set->wait(never), Wake::ready);
      ASSERT_NE(self.end->poll(), nullptr);
    }
  });
}

TEST_P(FabricContract, a_wait_for_nothing_times_out) {
  run([](World& world) {
    const RankEnd rank(world, native_on(0));
    const TimePoint deadline = after(world, ms(20));
    EXPECT_EQ(rank.set->wait(deadline), Wake::timed_out);
    EXPECT_GE(world.clock.now(), deadline);
    EXPECT_EQ(rank.set->wait(TimePoint::start()), Wake::timed_out);
  });
}

TEST_P(FabricContract, a_notification_ends_a_wait_or_the_next_one_and_only_that) {
  run([](World& world) {
    const auto set = world.fabric.make_wait_set();
    set->notify();
    set->notify();
    EXPECT_EQ(set->wait(never), Wake::ready);
    EXPECT_EQ(set->wait(after(world, ms(5))), Wake::timed_out);
    std::atomic<bool> notified = false;
    ScopedTask notifying(world, "other", [&] {
      sleep(world, ms(20));
      notified = true;
      set->notify();
    });
    EXPECT_EQ(set->wait(never), Wake::ready);
    EXPECT_TRUE(notified);
    notifying.join();
  });
}

TEST_P(FabricContract, all_tasks_that_wait_on_a_set_are_woken) {
  run([](World& world) {
    const auto set = world.fabric.make_wait_set();
    std::atomic<int> woken = 0;
    std::vector<std::unique_ptr<ScopedTask>> tasks;
    for (int i = 0; i < 3; ++i) {
      tasks.push_back(std::make_unique<ScopedTask>(world, "waits", [&] {
        EXPECT_EQ(set->wait(never), Wake::ready);
        ++woken;
      }));
    }
    // Some may begin to wait after a notification that another one has taken.
    ASSERT_TRUE(comes_true(world, [&] {
      set->notify();
      return woken == 3;
    }));
  });
}

TEST_P(FabricContract, an_endpoint_wakes_only_its_own_set) {
  run([](World& world) {
    const RankEnd a(world, native_on(0));
    const RankEnd b(world, native_on(0));
    a.post(a.address(), Channel::shm, 1);
    EXPECT_EQ(b.set->wait(after(world, ms(20))), Wake::timed_out);
    EXPECT_EQ(a.set->wait(never), Wake::ready);
  });
}

TEST_P(FabricContract, polling_with_pauses_comes_to_an_end) {
  run([](World& world) {
    const RankEnd sender(world, native_on(0));
    const RankEnd receiver(world, native_on(1));
    ScopedTask sending(world, "sender", [&] {
      sleep(world, ms(1));
      sender.post(receiver.address(), Channel::native, 1);
    });
    const Arrival* got = nullptr;
    while ((got = receiver.end->poll()) == nullptr) receiver.set->pause();
    EXPECT_EQ(got->header.tag, 1);
  });
}

// --- Computing ---

TEST_P(FabricContract, computing_takes_its_time) {
  run([](World& world) {
    for (const std::optional<VmId> vm : {std::optional<VmId>(), std::optional(VmId{0})}) {
      const TimePoint start = world.clock.now();
      world.processor.spend(Duration::nanoseconds(50));
      EXPECT_EQ(world.processor.compute(vm, ms(30)), Wake::timed_out);
      EXPECT_GE(world.clock.now() - start, ms(30));
    }
  });
}

TEST_P(FabricContract, a_rank_does_not_compute_while_its_guest_is_paused) {
  instance.vms[0].virtual_function = false;
  instance.vms[0].ivshmem = Bytes();
  run([](World& world) {
    RoundLog rounds;
    const TimePoint start = world.clock.now();
    TimePoint end;
    ScopedTask rank(world, "rank", [&] {
      EXPECT_EQ(world.processor.compute(VmId{0}, ms(1000)), Wake::timed_out);
      end = world.clock.now();
    });
    const auto moved =
        world.hypervisor.migrate(VmId{0}, HostId{3}, {.mode = MemoryMode::offline}, rounds, never);
    ASSERT_TRUE(succeeded(moved));
    rank.join();
    // Paused for most of the move: at least the memory's time, 64 MiB at 1 GB/s less zero pages.
    EXPECT_GE(end - start, ms(1000) + ms(40));
  });
}

}  // namespace
}  // namespace ferry
