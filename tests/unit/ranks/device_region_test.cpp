// Regions over the memory of a device, which a file plays: who lays it out, ranks that come back,
// and memory that others have spoilt.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "core/ports/world_error.hpp"
#include "hw_backend/shm/shm_endpoint.hpp"
#include "hw_backend/shm/shm_fabric.hpp"
#include "hw_backend/shm/shm_wait_set.hpp"
#include "tests/device_file.hpp"

namespace ferry::shm {
namespace {

using testing::HasSubstr;

constexpr Duration patience = Duration::milliseconds(60'000);
constexpr Channel channel = Channel::ivshmem;

class Device {
 public:
  explicit Device(Bytes size) : memory_(size), file_(open(name().c_str(), O_RDWR | O_CLOEXEC)) {
    if (file_ < 0) std::abort();
  }
  ~Device() { close(file_); }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  [[nodiscard]] const std::string& name() const { return memory_.name(); }
  [[nodiscard]] int file() const { return file_; }
  [[nodiscard]] std::shared_ptr<Region> map(const std::string& job = "job",
                                            std::uint32_t ranks = 4) const {
    auto region = Region::map_device({name()}, job, ranks, patience);
    EXPECT_TRUE(region) << region.error().reason;
    return region ? *region : nullptr;
  }

 private:
  DeviceFile memory_;
  int file_;
};

/// A machine: memory of its own to wait in, and its mapping of the device.
class Machine {
 public:
  explicit Machine(const Device& device, const std::string& job = "job")
      : fabric_(Region::make_anonymous({.endpoints = 4, .ranks = 4}), clock_, {}),
        wait_set_(fabric_.make_shm_wait_set()),
        region_(device.map(job)) {}
  [[nodiscard]] std::unique_ptr<ShmEndpoint> open(std::uint32_t rank) {
    return std::make_unique<ShmEndpoint>(region_, *wait_set_, false, RankId{rank});
  }
  [[nodiscard]] WaitSet& wait_set() { return *wait_set_; }
  [[nodiscard]] Region& region() { return *region_; }

 private:
  ThreadClock clock_{1.0};
  ShmFabric fabric_;
  std::unique_ptr<ShmWaitSet> wait_set_;
  std::shared_ptr<Region> region_;
};

PacketHeader tagged(std::int32_t tag) {
  PacketHeader header;
  header.tag = tag;
  return header;
}

const Arrival* next(Machine& machine, Endpoint& endpoint) {
  const Arrival* got = endpoint.poll();
  while (got == nullptr) {
    machine.wait_set().wait(TimePoint::never());
    got = endpoint.poll();
  }
  return got;
}

TEST(DeviceRegion, carries_packets_between_machines_that_cannot_wake_each_other) {
  const Device device(Bytes::mebi(4));
  Machine one(device);
  Machine other(device);
  const auto sender = one.open(0);
  const auto receiver = other.open(3);
  EXPECT_EQ(sender->address(), EndpointAddress{0});
  std::vector<std::byte> body(sender->largest_body(channel), std::byte{42});
  const ConstSlice slice{body.data(), body.size()};
  std::thread sending([&] {
    for (int i = 0; i < 100; ++i) {
      while (!sender->post({3}, channel, tagged(i), {&slice, 1}))
        one.wait_set().wait(TimePoint::never());
    }
  });
  for (int i = 0; i < 100; ++i) {
    const Arrival* const got = next(other, *receiver);
    ASSERT_EQ(got->header.tag, i);
    EXPECT_EQ(got->from, EndpointAddress{0});
    EXPECT_EQ(got->channel, channel);
    ASSERT_EQ(got->body.size(), body.size());
    EXPECT_EQ(got->body.back(), std::byte{42});
  }
  sending.join();
}

TEST(DeviceRegion, lets_packets_wait_for_a_rank_that_has_not_come_yet) {
  const Device device(Bytes::mebi(4));
  Machine one(device);
  Machine other(device);
  const auto sender = one.open(0);
  EXPECT_FALSE(sender->post({1}, channel, tagged(7), {}));
  std::unique_ptr<ShmEndpoint> receiver;
  std::thread coming([&] { receiver = other.open(1); });
  while (!sender->post({1}, channel, tagged(7), {})) one.wait_set().wait(TimePoint::never());
  coming.join();
  EXPECT_EQ(next(other, *receiver)->header.tag, 7);
}

TEST(DeviceRegion, never_takes_a_rank_that_came_back_for_the_one_that_left) {
  const Device device(Bytes::mebi(4));
  Machine one(device);
  Machine other(device);
  const auto sender = one.open(0);
  auto receiver = other.open(1);
  ASSERT_TRUE(sender->post({1}, channel, tagged(1), {}));  // it will not be read
  receiver->leave_for_now();
  receiver.reset();
  EXPECT_FALSE(sender->post({1}, channel, tagged(2), {}));
  receiver = other.open(1);
  ASSERT_TRUE(sender->post({1}, channel, tagged(3), {}));
  EXPECT_EQ(next(other, *receiver)->header.tag, 3);
  EXPECT_EQ(receiver->poll(), nullptr);
}

TEST(DeviceRegion, loses_what_is_sent_to_a_rank_that_is_gone_for_good) {
  const Device device(Bytes::mebi(4));
  Machine one(device);
  const auto sender = one.open(0);
  { const auto receiver = one.open(1); }
  for (int i = 0; i < 5000; ++i) ASSERT_TRUE(sender->post({1}, channel, tagged(i), {}));
  EXPECT_TRUE(sender->post({12345}, channel, tagged(1), {}));  // nobody is called so
}

TEST(DeviceRegion, gives_a_rank_its_old_place_if_its_machine_left_without_a_word) {
  const Device device(Bytes::mebi(4));
  Machine other(device);
  const auto peer = other.open(1);
  for (int i = 0; i < 100; ++i) {
    Machine lost(device);
    const auto leaked = lost.open(0);  // closed when another one is here: of no effect
    ASSERT_TRUE(leaked->post({1}, channel, tagged(i), {}));
    EXPECT_EQ(next(other, *peer)->header.tag, i);
    ASSERT_TRUE(peer->post({0}, channel, tagged(i), {}));
    EXPECT_EQ(next(lost, *leaked)->header.tag, i);
    const EndpointAddress before = lost.region().address_now(0);
    {
      Machine again(device);
      const auto back = again.open(0);
      EXPECT_NE(again.region().address_now(0), before);
      EXPECT_EQ(slot_of(again.region().address_now(0)), slot_of(before));
    }
  }
}

TEST(DeviceRegion, of_another_job_is_laid_out_anew) {
  const Device device(Bytes::mebi(4));
  {
    Machine past(device, "yesterday");
    const auto sender = past.open(0);
    const auto receiver = past.open(1);
    for (int i = 0; i < 50; ++i) ASSERT_TRUE(sender->post({1}, channel, tagged(i), {}));
  }
  Machine forgotten(device, "yesterday");
  const auto never_closed = forgotten.open(2);
  Machine one(device, "today");
  const auto receiver = one.open(1);
  const auto sender = one.open(0);
  EXPECT_EQ(receiver->poll(), nullptr);
  ASSERT_TRUE(sender->post({1}, channel, tagged(8), {}));
  EXPECT_EQ(next(one, *receiver)->header.tag, 8);
  EXPECT_EQ(one.region().address_now(2), Region::nowhere);
}

TEST(DeviceRegion, is_laid_out_once_by_many_machines_that_come_at_once) {
  const Device device(Bytes::mebi(16));
  for (int run = 0; run < 5; ++run) {
    const std::string job = "job " + std::to_string(run);
    std::vector<std::thread> machines;
    std::vector<std::unique_ptr<Machine>> made(6);
    for (auto& machine : made) {
      machines.emplace_back([&] { machine = std::make_unique<Machine>(device, job); });
    }
    for (std::thread& machine : machines) machine.join();
    const auto receiver = made[0]->open(0);
    const auto sender = made[5]->open(3);
    ASSERT_TRUE(sender->post({0}, channel, tagged(run), {}));
    EXPECT_EQ(next(*made[0], *receiver)->header.tag, run);
  }
}

TEST(DeviceRegion, parts_of_one_device_are_apart) {
  const Device device(Bytes::mebi(8));
  const auto first = Region::map_device({device.name(), 0, 3}, "a", 4, patience);
  const auto third = Region::map_device({device.name(), 2, 3}, "b", 4, patience);
  ASSERT_TRUE(first && third);
  (*first)->announce(1, EndpointAddress{77});
  EXPECT_EQ((*third)->address_now(1), Region::nowhere);
  const auto again = Region::map_device({device.name(), 0, 3}, "a", 4, patience);
  ASSERT_TRUE(again);
  EXPECT_EQ((*again)->address_now(1), EndpointAddress{77});
}

TEST(DeviceRegion, refuses_what_cannot_be_one_and_says_what_would) {
  const Device small(Bytes::kibi(8));
  EXPECT_EQ(
      Region::map_device({small.name()}, "job", 4, patience).error().reason,
      small.name() +
          " has 8192 bytes for each of 1 jobs, which is too little for 4 ranks; 1MiB and more "
          "would be right");
  EXPECT_THAT(Region::map_device({"/nowhere"}, "job", 4, patience).error().reason,
              HasSubstr("/nowhere cannot be opened"));
  const Device device(Bytes::mebi(4));
  const auto mine = device.map("job", 4);
  EXPECT_EQ(Region::map_device({device.name()}, "job", 5, patience).error().reason,
            device.name() +
                " was laid out for this job by another version of Ferry, or for another number of "
                "ranks; all machines of a job need the same");
}

TEST(DeviceRegion, says_who_is_waited_for_if_its_layout_does_not_come_to_an_end) {
  const Device device(Bytes::mebi(4));
  const auto region = device.map();
  region->header().owner.fetch_xor(3);  // from laid out to being laid out
  const auto second = Region::map_device({device.name()}, "job", 4, Duration::milliseconds(20));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, FailureKind::timed_out);
  EXPECT_THAT(second.error().reason,
              HasSubstr("is being laid out for this job by another machine"));
}

TEST(DeviceRegion, with_any_bytes_in_it_is_never_read_beyond_its_end) {
  const Device device(Bytes::mebi(1));
  std::mt19937_64 random(7);
  for (int run = 0; run < 200; ++run) {
    Machine one(device, "job " + std::to_string(run));
    const auto endpoint = one.open(0);
    const auto other = one.open(1);
    ASSERT_TRUE(other->post({0}, channel, tagged(1), {}));
    static_cast<void>(endpoint->poll());
    // All but who it belongs to is spoilt, in spots.
    for (int spot = 0; spot < 2000; ++spot) {
      const std::uint64_t bytes = random() & (spot % 2 == 0 ? ~std::uint64_t{0} : 0xff);
      const auto at = static_cast<off_t>(random() % Bytes::mebi(1).count() / 8 * 8);
      ASSERT_EQ(pwrite(device.file(), &bytes, sizeof(bytes), spot % 4 == 0 ? at % 8192 : at), 8);
    }
    try {
      for (int i = 0; i < 20; ++i) {
        if (const Arrival* const got = endpoint->poll()) {
          volatile std::byte last{};
          for (const std::byte byte : got->body) last = byte;
          static_cast<void>(last);
        }
        static_cast<void>(endpoint->post({1}, channel, tagged(i), {}));
        static_cast<void>(other->post({0}, channel, tagged(i), {}));
      }
      static_cast<void>(one.region().verdict());
    } catch (const WorldError&) {
      // that there is no room for another pair is an answer
    }
  }
}

}  // namespace
}  // namespace ferry::shm
