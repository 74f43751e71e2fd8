// A transfer at a steady share of the network, state by state.
#include "core/memory/memory_transfer.hpp"

#include <gtest/gtest.h>

namespace ferry {
namespace {

using State = MemoryTransfer::State;

constexpr Bandwidth gigabyte = Bandwidth::bytes_per_second(1e9);

VmSpec vm_of(Bytes memory) {
  VmSpec vm;
  vm.memory = memory;
  vm.working_set = memory;
  return vm;
}

TEST(FirstPass, sends_a_header_for_a_zero_page) {
  VmSpec vm = vm_of(Bytes::mebi(4));
  vm.zero = Ratio(0.25);
  // 3 MiB of content and 256 headers of 9 bytes.
  EXPECT_EQ(first_pass(vm, {}), Bytes(3 * 1048576 + 256 * 9));
}

TEST(FirstPass, of_rdma_with_pin_all_sends_zero_pages_in_full) {
  VmSpec vm = vm_of(Bytes::mebi(4));
  vm.zero = Ratio(0.25);
  TransferOptions options;
  options.transport = Transport::rdma;
  EXPECT_EQ(first_pass(vm, options), Bytes::mebi(4));
  options.pin_all = false;
  EXPECT_EQ(first_pass(vm, options), Bytes(3 * 1048576 + 256 * 9));
}

TEST(MemoryTransfer, saves_a_device_when_the_guest_is_paused_and_sends_it_last) {
  const TransferOptions options;
  const Bytes device(20'000'000);
  MemoryTransfer memory(vm_of(Bytes(1'000'000'000)), options, {}, device, Bandwidth(), gigabyte,
                        TimePoint());
  // 0.3 s less the device's 20 MB fit the pause; 1 % less is left.
  const Bytes rest(277'200'000);
  EXPECT_EQ(memory.state(), State::sending);
  EXPECT_EQ(memory.part(), Bytes(1'000'000'000) - rest);
  EXPECT_FALSE(memory.paused());
  const TimePoint end = TimePoint::at(memory.part() / gigabyte);
  memory.part_done(gigabyte, end);
  EXPECT_EQ(memory.state(), State::saving);
  EXPECT_EQ(memory.paused(), end);
  memory.saved();
  EXPECT_EQ(memory.state(), State::sending);
  EXPECT_EQ(memory.part(), rest);
  memory.part_done(gigabyte, end);
  EXPECT_EQ(memory.part(), device);
  EXPECT_EQ(memory.state(), State::sending);
  memory.part_done(gigabyte, end);
  EXPECT_EQ(memory.state(), State::arrived);
  EXPECT_EQ(memory.rounds(), 2);
}

TEST(MemoryTransfer, has_a_limit_until_the_guest_is_paused_for_the_rest) {
  TransferOptions options;
  options.bandwidth_limit = gigabyte * 0.1;
  MemoryTransfer memory(vm_of(Bytes(1'000'000'000)), options, {}, Bytes(), Bandwidth(), gigabyte,
                        TimePoint());
  // 0.3 s at the limit fit the pause; 1 % less is left.
  const Bytes rest(29'700'000);
  EXPECT_EQ(memory.most(), gigabyte * 0.1);
  EXPECT_EQ(memory.part(), Bytes(1'000'000'000) - rest);
  memory.part_done(gigabyte * 0.1, TimePoint());
  EXPECT_TRUE(memory.paused());
  EXPECT_EQ(memory.part(), rest);
  EXPECT_TRUE(memory.most().is_unlimited());
  EXPECT_EQ(memory.rounds(), 2);
}

TEST(MemoryTransfer, of_a_stopped_guest_has_a_limit_until_the_rest_fits_the_pause) {
  TransferOptions options;
  options.mode = MemoryMode::offline;
  options.bandwidth_limit = gigabyte * 0.1;
  const Bytes device(20'000'000);
  MemoryTransfer memory(vm_of(Bytes(1'000'000'000)), options, {}, device, gigabyte, gigabyte,
                        TimePoint());
  const Bytes rest(9'900'000);
  EXPECT_EQ(memory.paused(), TimePoint());
  EXPECT_EQ(memory.state(), State::sending);
  EXPECT_EQ(memory.most(), gigabyte * 0.1);
  EXPECT_EQ(memory.part(), Bytes(1'000'000'000) - rest);
  memory.part_done(gigabyte * 0.1, TimePoint::at(Duration::seconds(9)));
  EXPECT_EQ(memory.paused(), TimePoint());
  EXPECT_EQ(memory.state(), State::saving);
  memory.saved();
  EXPECT_EQ(memory.part(), rest);
  EXPECT_TRUE(memory.most().is_unlimited());
  EXPECT_EQ(memory.rounds(), 2);
  memory.part_done(gigabyte, TimePoint::at(Duration::seconds(9)));
  EXPECT_EQ(memory.part(), device);
  EXPECT_TRUE(memory.most().is_unlimited());
  memory.part_done(gigabyte, TimePoint::at(Duration::seconds(9)));
  EXPECT_EQ(memory.state(), State::arrived);
}

TEST(MemoryTransfer, of_post_copy_has_a_limit_to_the_end) {
  TransferOptions options;
  options.mode = MemoryMode::postcopy;
  options.bandwidth_limit = gigabyte * 0.1;
  MemoryTransfer memory(vm_of(Bytes(1'000'000'000)), options, {}, Bytes(), gigabyte, gigabyte,
                        TimePoint());
  memory.switched();
  EXPECT_EQ(memory.part(), Bytes(1'000'000'000));
  EXPECT_EQ(memory.most(), gigabyte * 0.1);
}

TEST(MemoryTransfer, of_a_guest_without_memory_still_sends_its_device) {
  TransferOptions options;
  options.mode = MemoryMode::offline;
  MemoryTransfer memory(vm_of(Bytes(0)), options, {}, Bytes(5), Bandwidth(), gigabyte, TimePoint());
  memory.saved();
  EXPECT_EQ(memory.part(), Bytes(5));
  memory.part_done(gigabyte, TimePoint());
  EXPECT_EQ(memory.state(), State::arrived);
}

TEST(MemoryTransfer, compresses_memory_and_not_a_device) {
  TransferOptions options;
  options.mode = MemoryMode::offline;
  options.compression = Compression::zstd;
  MemoryTransfer memory(vm_of(Bytes(1'000'000)), options, {.ratio = Ratio(0.5), .speed = gigabyte},
                        Bytes(1000), Bandwidth(), gigabyte, TimePoint());
  memory.saved();
  EXPECT_EQ(memory.part(), Bytes(500'000));
  memory.part_done(gigabyte, TimePoint());
  EXPECT_EQ(memory.part(), Bytes(1000));
}

TEST(MemoryTransfer, of_the_third_round_finds_all_of_a_small_working_set_in_the_cache) {
  TransferOptions options;
  options.compression = Compression::xbzrle;
  options.downtime_limit = Duration::milliseconds(10);
  VmSpec vm = vm_of(Bytes(1'000'000'000));
  vm.working_set = Bytes(50'000'000);
  MemoryTransfer memory(vm, options, {.ratio = Ratio(0.25), .speed = gigabyte}, Bytes(), gigabyte,
                        gigabyte, TimePoint());
  const TimePoint later = TimePoint::at(Duration::seconds(1));
  memory.part_done(gigabyte, later);
  EXPECT_EQ(memory.part(), Bytes(50'000'000));
  memory.part_done(gigabyte, later + Duration::seconds(1));
  EXPECT_EQ(memory.part(), Bytes(12'500'000));
  // Of 1 GB/s that its thread compresses a quarter comes out.
  EXPECT_EQ(memory.most(), gigabyte * 0.25);
}

TEST(MemoryTransfer, that_stalls_goes_on_as_post_copy_after_the_switch) {
  TransferOptions options;
  options.max_rounds = 2;
  options.on_stall = {OnStall::postcopy};
  MemoryTransfer memory(vm_of(Bytes(1'000'000'000)), options, {}, Bytes(),
                        Bandwidth::bytes_per_second(5e9), gigabyte, TimePoint());
  TimePoint now;
  while (memory.state() == State::sending) {
    now = now + memory.part() / gigabyte;
    memory.part_done(gigabyte, now);
  }
  EXPECT_EQ(memory.state(), State::switching);
  EXPECT_TRUE(memory.post_copy());
  memory.switched();
  EXPECT_EQ(memory.state(), State::sending);
  EXPECT_EQ(memory.rounds(), 3);
  memory.part_done(gigabyte, now);
  EXPECT_EQ(memory.state(), State::arrived);
}

}  // namespace
}  // namespace ferry
