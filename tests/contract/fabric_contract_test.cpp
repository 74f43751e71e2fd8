// What `Fabric` and its endpoints promise.
#include "tests/contract/contract.hpp"

namespace ferry {
namespace {

constexpr TimePoint never = TimePoint::never();

class FabricContract : public Contract {};
FERRY_FOR_EVERY_WORLD(FabricContract);

/// `size` bytes that differ from message to message.
std::vector<std::byte> pattern(std::size_t size, std::size_t seed) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>((i * 31 + seed) & 0xffU);
  return bytes;
}

TEST_P(FabricContract, endpoints_have_different_addresses) {
  run([](World& world) {
    const auto a = world.fabric.open(HostId{0}, fast_profile());
    const auto b = world.fabric.open(HostId{0}, fast_profile());
    const auto c = world.fabric.open(HostId{1}, fast_profile());
    EXPECT_NE(a->address(), b->address());
    EXPECT_NE(a->address(), c->address());
    EXPECT_NE(b->address(), c->address());
  });
}

TEST_P(FabricContract, messages_of_a_pair_arrive_in_order_and_intact) {
  run([](World& world) {
    const auto sender = world.fabric.open(HostId{0}, fast_profile());
    const auto receiver = world.fabric.open(HostId{1}, fast_profile());
    constexpr std::size_t count = 1000;
    const auto size_of = [](std::size_t i) { return i % 7 * (i % 11) * 97; };  // zero among them
    ScopedTask sending(world, "sender", [&] {
      for (std::size_t i = 0; i < count; ++i) {
        ASSERT_TRUE(succeeded(
            sender->post(receiver->address(), Bytes(size_of(i)), pattern(size_of(i), i), never)));
      }
    });
    for (std::size_t i = 0; i < count; ++i) {
      const Result<Message> message = receiver->receive(never);
      ASSERT_TRUE(succeeded(message));
      EXPECT_EQ(message->from, sender->address());
      EXPECT_EQ(message->sequence, i);
      EXPECT_EQ(message->size, Bytes(size_of(i)));
      ASSERT_EQ(message->payload, pattern(size_of(i), i));
    }
    sending.join();
  });
}

TEST_P(FabricContract, a_large_message_does_not_let_a_small_one_pass) {
  run([](World& world) {
    const auto sender = world.fabric.open(HostId{0}, fast_profile());
    const auto receiver = world.fabric.open(HostId{1}, fast_profile());
    ASSERT_TRUE(succeeded(sender->post(receiver->address(), Bytes::mebi(64), {}, never)));
    ASSERT_TRUE(succeeded(sender->post(receiver->address(), Bytes(1), {}, never)));
    EXPECT_EQ(receiver->receive(never)->size, Bytes::mebi(64));
    EXPECT_EQ(receiver->receive(never)->size, Bytes(1));
  });
}

TEST_P(FabricContract, every_pair_counts_its_own_messages) {
  run([](World& world) {
    const auto a = world.fabric.open(HostId{0}, fast_profile());
    const auto b = world.fabric.open(HostId{1}, fast_profile());
    const auto receiver = world.fabric.open(HostId{2}, fast_profile());
    for (std::uint64_t i = 0; i < 5; ++i) {
      ASSERT_TRUE(succeeded(a->post(receiver->address(), Bytes(8), {}, never)));
      ASSERT_TRUE(succeeded(a->post(b->address(), Bytes(8), {}, never)));
      ASSERT_TRUE(succeeded(b->post(receiver->address(), Bytes(8), {}, never)));
    }
    std::uint64_t from_a = 0;
    std::uint64_t from_b = 0;
    for (int i = 0; i < 10; ++i) {
      const auto message = receiver->receive(never);
      ASSERT_TRUE(succeeded(message));
      EXPECT_EQ(message->sequence, message->from == a->address() ? from_a++ : from_b++);
    }
    for (std::uint64_t i = 0; i < 5; ++i) EXPECT_EQ(b->receive(never)->sequence, i);
  });
}

TEST_P(FabricContract, a_phantom_message_has_a_size_and_no_bytes) {
  run([](World& world) {
    const auto sender = world.fabric.open(HostId{0}, fast_profile());
    const auto receiver = world.fabric.open(HostId{1}, fast_profile());
    ASSERT_TRUE(succeeded(sender->post(receiver->address(), Bytes::gibi(1), {}, never)));
    const auto message = receiver->receive(never);
    ASSERT_TRUE(succeeded(message));
    EXPECT_EQ(message->size, Bytes::gibi(1));
    EXPECT_TRUE(message->payload.empty());
  });
}

TEST_P(FabricContract, an_endpoint_sends_to_itself) {
  run([](World& world) {
    const auto self = world.fabric.open(HostId{0}, fast_profile());
    ASSERT_TRUE(succeeded(self->post(self->address(), Bytes(3), pattern(3, 1), never)));
    const auto message = self->receive(never);
    ASSERT_TRUE(succeeded(message));
    EXPECT_EQ(message->from, self->address());
    EXPECT_EQ(message->payload, pattern(3, 1));
  });
}

TEST_P(FabricContract, a_receive_waits_for_a_later_message) {
  run([](World& world) {
    const auto sender = world.fabric.open(HostId{0}, fast_profile());
    const auto receiver = world.fabric.open(HostId{1}, fast_profile());
    const TimePoint start = world.clock.now();
    ScopedTask sending(world, "sender", [&] {
      sleep(world, ms(30));
      ASSERT_TRUE(succeeded(sender->post(receiver->address(), Bytes(1), {}, never)));
    });
    EXPECT_TRUE(succeeded(receiver->receive(never)));
    EXPECT_GE(world.clock.now() - start, ms(30));
  });
}

TEST_P(FabricContract, a_receive_without_a_message_times_out) {
  run([](World& world) {
    const auto endpoint = world.fabric.open(HostId{0}, fast_profile());
    const TimePoint deadline = after(world, ms(20));
    EXPECT_TRUE(failed_as(FailureKind::timed_out, endpoint->receive(deadline)));
    EXPECT_GE(world.clock.now(), deadline);
    EXPECT_TRUE(failed_as(FailureKind::timed_out, endpoint->receive(TimePoint::start())));
  });
}

TEST_P(FabricContract, a_full_queue_blocks_its_senders_until_their_deadline_or_a_receive) {
  run([](World& world) {
    const auto sender = world.fabric.open(HostId{0}, fast_profile());
    const auto receiver = world.fabric.open(HostId{1}, fast_profile());
    const auto post = [&](TimePoint deadline) {
      return sender->post(receiver->address(), Bytes(1), {}, deadline);
    };
    std::uint64_t accepted = 0;
    for (;;) {
      const TimePoint deadline = after(world, ms(100));
      const Result<> posted = post(deadline);
      if (!posted) {
        EXPECT_TRUE(failed_as(FailureKind::timed_out, posted));
        EXPECT_GE(world.clock.now(), deadline);
        break;
      }
      ++accepted;
      ASSERT_LT(accepted, 1'000'000U) << "the queue has no bound";
    }
    EXPECT_GE(accepted, 1U);

    bool received = false;
    ScopedTask receiving(world, "receiver", [&] {
      sleep(world, ms(50));
      received = true;
      EXPECT_EQ(receiver->receive(never)->sequence, 0U);
    });
    EXPECT_TRUE(succeeded(post(never)));
    receiving.join();
    EXPECT_TRUE(received);
    // What was refused for want of room has taken no number, and nothing was lost.
    for (std::uint64_t i = 1; i <= accepted; ++i) EXPECT_EQ(receiver->receive(never)->sequence, i);
  });
}

TEST_P(FabricContract, an_unknown_address_is_refused) {
  run([](World& world) {
    const auto sender = world.fabric.open(HostId{0}, fast_profile());
    EXPECT_TRUE(failed_as(FailureKind::refused,
                          sender->post(EndpointAddress{987654}, Bytes(1), {}, never)));
  });
}

TEST_P(FabricContract, a_closed_endpoint_is_refused_and_its_address_is_not_given_again) {
  run([](World& world) {
    const auto sender = world.fabric.open(HostId{0}, fast_profile());
    auto receiver = world.fabric.open(HostId{1}, fast_profile());
    const EndpointAddress address = receiver->address();
    ASSERT_TRUE(succeeded(sender->post(address, Bytes(1), {}, never)));  // goes with it
    receiver.reset();
    EXPECT_TRUE(failed_as(FailureKind::refused, sender->post(address, Bytes(1), {}, never)));
    receiver = world.fabric.open(HostId{1}, fast_profile());
    EXPECT_NE(receiver->address(), address);
    EXPECT_TRUE(failed_as(FailureKind::refused, sender->post(address, Bytes(1), {}, never)));
  });
}

TEST_P(FabricContract, closing_an_endpoint_refuses_the_senders_that_wait_for_room) {
  run([](World& world) {
    const auto sender = world.fabric.open(HostId{0}, fast_profile());
    auto receiver = world.fabric.open(HostId{1}, fast_profile());
    const EndpointAddress address = receiver->address();
    ScopedTask sending(world, "sender", [&] {
      Result<> posted;
      for (int i = 0; posted && i < 1'000'000; ++i) {
        posted = sender->post(address, Bytes(1), {}, never);
      }
      EXPECT_TRUE(failed_as(FailureKind::refused, posted));
    });
    sleep(world, ms(200));
    receiver.reset();
    sending.join();  // hangs if the sender still waits
  });
}

}  // namespace
}  // namespace ferry
