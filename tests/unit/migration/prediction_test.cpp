#include "core/migration/prediction.hpp"

#include <gtest/gtest.h>

#include "tests/contract/small_cluster.hpp"

namespace ferry {
namespace {

constexpr Bandwidth rate(double bytes_per_second) {
  return Bandwidth::bytes_per_second(bytes_per_second);
}

VmSpec vm_of(Bytes memory) {
  VmSpec vm;
  vm.memory = memory;
  vm.working_set = memory;
  return vm;
}

TransferOptions limit(Duration downtime) {
  TransferOptions options;
  options.downtime_limit = downtime;
  return options;
}

TEST(PredictTransfer, of_an_idle_guest_takes_memory_by_bandwidth_and_pauses_for_the_limit) {
  const TransferPrediction got = predict_transfer(
      vm_of(Bytes(1'000'000'000)), limit(Duration::milliseconds(100)), rate(1e9), rate(0));
  EXPECT_EQ(got.time, Duration::seconds(1));
  EXPECT_EQ(got.downtime, Duration::milliseconds(99));
  EXPECT_EQ(got.bytes, Bytes(1'000'000'000));
  EXPECT_EQ(got.rounds, 2);
}

// M = 1 GB, B = 1 GB/s, D = 0.1 GB/s, limit 50 ms = 50 MB. Round 1 sends 950 MB in 0.95 s and
// leaves 50 + 95 = 145 MB; round 2 sends 95 MB in 95 ms and leaves 50 + 9.5 = 59.5; round 3
// sends 9.5 MB in 9.5 ms and leaves 50 + 0.95 = 50.95; and so on: the excess shrinks by D/B a
// round. As each round sends 0.5 MB more than that, which is 1 % of what the pause takes, the
// excess is below it after round 4.
TEST(PredictTransfer, of_a_guest_that_dirties_below_bandwidth_shrinks_by_a_constant_factor) {
  const TransferPrediction got = predict_transfer(
      vm_of(Bytes(1'000'000'000)), limit(Duration::milliseconds(50)), rate(1e9), rate(0.1e9));
  // Without end the rounds would take 0.95 / (1 - 0.1) = 1.0556 s.
  EXPECT_TRUE(got.converges);
  EXPECT_EQ(got.rounds, 5);
  EXPECT_NEAR(got.time.to_seconds(), 0.95 / 0.9 + 0.05, 1e-4);
  EXPECT_NEAR(got.downtime.to_seconds(), 0.05, 0.0005);
}

TEST(PredictTransfer, of_a_small_working_set_ends_after_one_more_round) {
  VmSpec vm = vm_of(Bytes(1'000'000'000));
  vm.working_set = Bytes(20'000'000);
  const TransferPrediction got =
      predict_transfer(vm, limit(Duration::milliseconds(50)), rate(1e9), rate(2e9));
  // 50 MB left + 20 MB dirtied is above 50 MB: 20 MB more are sent while 20 MB are dirtied again.
  EXPECT_FALSE(got.converges);
  const TransferPrediction eased =
      predict_transfer(vm, limit(Duration::milliseconds(50)), rate(1e9), rate(0.01e9));
  EXPECT_TRUE(eased.converges);
}

// A second predictor: the model of mVM, the migration planner of BtrPlace (Kherbache, Madelaine,
// Hermenier, "Scheduling live migration of virtual machines"). A hot set of HDS bytes is dirtied in
// HDD seconds, everything else at CDR; d = memory / b is the time of the first pass. With our
// working set W dirtied at rate r: HDS = W, HDD = W / r, CDR = 0.
double mvm_seconds(double memory, double hot, double rate, double b) {
  const double d = memory / b;
  const double time_to_dirty = hot / rate;
  if (d <= time_to_dirty) return d + rate * d / (b - rate);
  return d + hot / b + hot / b * rate / (b - rate);
}

struct MvmCase {
  const char* name;
  double memory;
  double working_set;
  double rate;
};

// mVM's rounds go on without end, ours stop for a pause of p seconds: what a running guest would
// have dirtied meanwhile is not sent, nor what would be dirtied while that is sent, and so on:
// r p / (b - r). Where the first pass dirties the whole working set, ours ends it K bytes early,
// and the r K / b that are dirtied in that time more fall into later rounds: r K / b / (b - r)
// comes back.
TEST(PredictTransfer, agrees_with_mvm_but_for_the_pause) {
  constexpr double b = 1.25e9;
  constexpr Duration downtime = Duration::milliseconds(300);
  const double kept =
      0.99 * b * downtime.to_seconds();  // K, left for the pause at the end of a round
  const MvmCase cases[] = {
      {"a large working set, slowly dirtied", 4e9, 4e9, 0.1e9},
      {"a large working set, dirtied at half the bandwidth", 4e9, 4e9, 0.6e9},
      {"a large working set of a large guest", 64e9, 64e9, 0.9e9},
      {"a working set that the first pass dirties", 4e9, 0.5e9, 0.4e9},
      {"a working set that the first pass dirties many times", 64e9, 2e9, 0.9e9},
      {"a working set just above what a pause takes", 16e9, 0.4e9, 0.2e9},
  };
  for (const MvmCase& each : cases) {
    SCOPED_TRACE(each.name);
    VmSpec vm = vm_of(Bytes(static_cast<std::uint64_t>(each.memory)));
    vm.working_set = Bytes(static_cast<std::uint64_t>(each.working_set));
    const TransferPrediction got = predict_transfer(vm, limit(downtime), rate(b), rate(each.rate));
    ASSERT_TRUE(got.converges);
    const bool all_dirtied = each.memory / b > each.working_set / each.rate;
    const double not_sent = each.rate * got.downtime.to_seconds() / (b - each.rate);
    const double sent_later = all_dirtied ? each.rate * kept / b / (b - each.rate) : 0;
    const double mvm = mvm_seconds(each.memory, each.working_set, each.rate, b);
    EXPECT_NEAR(got.time.to_seconds(), mvm - not_sent + sent_later, 1e-6 * mvm);
    EXPECT_LT(got.time.to_seconds(), mvm);
  }
}

TEST(PredictTransfer, of_a_guest_that_fits_the_limit_sends_for_100_ms_first) {
  const TransferPrediction got = predict_transfer(
      vm_of(Bytes(204'800'000)), limit(Duration::milliseconds(300)), rate(1e9), rate(0));
  EXPECT_EQ(got.downtime, Duration::microseconds(104'800));
  EXPECT_EQ(got.time, Duration::microseconds(204'800));
  EXPECT_EQ(got.rounds, 2);
}

TEST(PredictTransfer, gives_up_after_max_rounds) {
  TransferOptions options = limit(Duration::milliseconds(50));
  options.max_rounds = 7;
  const TransferPrediction got =
      predict_transfer(vm_of(Bytes(1'000'000'000)), options, rate(1e9), rate(1.5e9));
  EXPECT_FALSE(got.converges);
  EXPECT_EQ(got.rounds, 7);
}

TEST(PredictTransfer, of_a_stopped_guest_pauses_for_the_whole_time) {
  TransferOptions options;
  options.mode = MemoryMode::offline;
  const TransferPrediction got =
      predict_transfer(vm_of(Bytes(500'000'000)), options, rate(1e9), rate(5e9));
  EXPECT_EQ(got.time, Duration::milliseconds(500));
  EXPECT_EQ(got.downtime, got.time);
  EXPECT_EQ(got.rounds, 1);
}

// A limit of 0.25 GB/s on a stream of 1 GB/s: of a pause of 100 ms 24.75 MB are left, which take
// 24.75 ms.
TEST(PredictTransfer, has_a_limit_except_in_the_pause) {
  TransferOptions options = limit(Duration::milliseconds(100));
  options.bandwidth_limit = rate(0.25e9);
  const VmSpec vm = vm_of(Bytes(1'000'000'000));
  const Duration rest = Duration::microseconds(24'750);
  const TransferPrediction live = predict_transfer(vm, options, rate(1e9), rate(0));
  EXPECT_EQ(live.downtime, rest);
  EXPECT_EQ(live.time, Duration::microseconds(3'901'000) + rest);
  EXPECT_EQ(live.rounds, 2);

  // Saved beside memory that is still sent within the limit; 5 MB of state go with the rest.
  const TransferPrediction device =
      predict_transfer(vm, options, rate(1e9), rate(0), {}, Bytes(5'000'000));
  EXPECT_EQ(device.downtime, Duration::microseconds(19'800 + 5'000));

  options.mode = MemoryMode::offline;
  const TransferPrediction stopped = predict_transfer(vm, options, rate(1e9), rate(5e9));
  EXPECT_EQ(stopped.time, live.time);
  EXPECT_EQ(stopped.downtime, stopped.time);
  EXPECT_EQ(stopped.bytes, Bytes(1'000'000'000));
  EXPECT_EQ(stopped.rounds, 2);

  options.mode = MemoryMode::postcopy;
  const TransferPrediction fetched = predict_transfer(vm, options, rate(1e9), rate(5e9));
  EXPECT_EQ(fetched.time, Duration::seconds(4));
  EXPECT_EQ(fetched.rounds, 1);
}

TEST(PredictTransfer, of_post_copy_sends_memory_once_and_switches) {
  TransferOptions options;
  options.mode = MemoryMode::postcopy;
  const TransferPrediction got =
      predict_transfer(vm_of(Bytes(500'000'000)), options, rate(1e9), rate(5e9));
  EXPECT_EQ(got.time, Duration::milliseconds(500));
  EXPECT_EQ(got.downtime, Duration::zero());
  EXPECT_EQ(got.rounds, 1);
  EXPECT_TRUE(got.switched);
}

TEST(PredictTransfer, of_hybrid_adds_what_its_round_lets_be_dirtied) {
  TransferOptions options = limit(Duration::milliseconds(100));
  options.mode = MemoryMode::hybrid;
  const TransferPrediction got =
      predict_transfer(vm_of(Bytes(1'099'000'000)), options, rate(1e9), rate(0.5e9));
  EXPECT_EQ(got.bytes, Bytes(1'000'000'000 + 99'000'000 + 500'000'000));
  EXPECT_EQ(got.rounds, 2);
  EXPECT_TRUE(got.switched);
}

TEST(PredictTransfer, follows_what_happens_to_a_stall) {
  TransferOptions options = limit(Duration::milliseconds(100));
  options.max_rounds = 3;
  options.on_stall = {OnStall::auto_converge, OnStall::postcopy};
  const TransferPrediction got =
      predict_transfer(vm_of(Bytes(1'000'000'000)), options, rate(1e9), rate(5e9));
  EXPECT_EQ(got.rounds, 7);
  EXPECT_TRUE(got.switched);
  EXPECT_TRUE(got.converges);
}

TEST(PredictTransfer, with_auto_converge_comes_to_an_end_that_it_would_not_have) {
  TransferOptions options = limit(Duration::milliseconds(300));
  const VmSpec vm = vm_of(Bytes(8'000'000'000));
  EXPECT_FALSE(predict_transfer(vm, options, rate(1e9), rate(1.2e9)).converges);
  options.auto_converge = true;
  EXPECT_TRUE(predict_transfer(vm, options, rate(1e9), rate(1.2e9)).converges);
}

TEST(PredictTransfer, counts_what_compression_leaves) {
  TransferOptions options;
  options.mode = MemoryMode::offline;
  options.compression = Compression::zstd;
  const TransferPrediction got =
      predict_transfer(vm_of(Bytes(1'000'000'000)), options, rate(1e9), rate(0),
                       {.ratio = Ratio(0.25), .speed = rate(1e9)});
  EXPECT_EQ(got.bytes, Bytes(250'000'000));
  EXPECT_EQ(got.time, Duration::milliseconds(250));
}

TEST(PredictTransfer, counts_the_state_of_a_device_as_pending_and_in_the_pause) {
  const Bytes state(30'000'000);
  const TransferPrediction got =
      predict_transfer(vm_of(Bytes(1'000'000'000)), limit(Duration::milliseconds(100)), rate(1e9),
                       rate(0), {}, state);
  // 70 MB of memory fit beside it; 1 % less is left.
  EXPECT_EQ(got.downtime, Duration::microseconds(69'300 + 30'000));
  EXPECT_EQ(got.time, Duration::milliseconds(1030));
  EXPECT_EQ(got.bytes, Bytes(1'030'000'000));
}

TEST(PredictTransfer, never_pauses_for_a_state_that_does_not_fit_the_limit) {
  const TransferPrediction got =
      predict_transfer(vm_of(Bytes(1'000'000'000)), limit(Duration::milliseconds(100)), rate(1e9),
                       rate(0), {}, Bytes(100'000'000));
  EXPECT_FALSE(got.converges);
}

TEST(CostsOf, a_move_has_what_its_device_strategy_costs) {
  SmallCluster cluster = small_cluster();
  const HypervisorCosts& costs = cluster.platform.hypervisor;
  MoveSpec move;
  const MoveCosts usual = costs_of(cluster.instance, cluster.platform, move);
  EXPECT_GT(usual.suspend, Duration::zero());
  EXPECT_FALSE(usual.ranks_run);

  move.transfer.device = DeviceStrategy::failover;
  const MoveCosts stand_in = costs_of(cluster.instance, cluster.platform, move);
  EXPECT_EQ(stand_in.suspend, Duration::zero());
  EXPECT_TRUE(stand_in.ranks_run);
  EXPECT_EQ(stand_in.detach_vf, usual.detach_vf);
  EXPECT_EQ(stand_in.redirect, costs.failover.redirect);

  move.transfer.device = DeviceStrategy::vfio;
  const MoveCosts state = costs_of(cluster.instance, cluster.platform, move);
  EXPECT_TRUE(state.ranks_run);
  EXPECT_EQ(state.detach_vf, Duration::zero());
  EXPECT_EQ(state.attach_vf, Duration::zero());
  EXPECT_EQ(state.pin, costs.attach_vf.per_gib * (64.0 / 1024));
  EXPECT_EQ(state.device_state, costs.vfio.state);
  EXPECT_EQ(state.save, costs.vfio.save);
  EXPECT_EQ(state.load, costs.vfio.load);
}

TEST(IdleBandwidth, of_several_streams_is_bound_by_the_link_and_by_their_threads) {
  SmallCluster cluster = small_cluster();
  cluster.platform.zstd = {.ratio = Ratio(0.5), .speed = rate(0.4e9)};
  TransferOptions options;
  options.streams = 3;
  EXPECT_EQ(idle_bandwidth(cluster.instance, cluster.platform, options), rate(3e9));
  options.compression = Compression::zstd;
  EXPECT_NEAR(idle_bandwidth(cluster.instance, cluster.platform, options).to_bytes_per_second(),
              3 * 0.2e9, 1);
  options.compression = Compression::none;
  options.streams = 30;
  EXPECT_EQ(idle_bandwidth(cluster.instance, cluster.platform, options), rate(10e9));
}

TEST(IdleBandwidth, is_the_least_of_stream_and_link_whatever_the_limit) {
  SmallCluster cluster = small_cluster();
  TransferOptions options;
  EXPECT_EQ(idle_bandwidth(cluster.instance, cluster.platform, options), rate(1e9));
  options.bandwidth_limit = rate(0.2e9);
  EXPECT_EQ(idle_bandwidth(cluster.instance, cluster.platform, options), rate(1e9));
  cluster.instance.networks[0].link.bandwidth = rate(0.5e9);
  EXPECT_EQ(idle_bandwidth(cluster.instance, cluster.platform, options), rate(0.5e9));
}

}  // namespace
}  // namespace ferry
