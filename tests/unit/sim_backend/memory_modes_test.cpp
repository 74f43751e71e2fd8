// Closed forms of the simulated memory modes.
#include <gtest/gtest.h>

#include <algorithm>

#include "core/memory/throttling.hpp"
#include "core/migration/prediction.hpp"
#include "tests/unit/sim_backend/one_move.hpp"

namespace ferry {
namespace {

/// What pre-copy leaves for a pause of 300 ms.
constexpr double left = 0.99 * 0.3 * link;

Bandwidth speed(double bytes_per_second) { return Bandwidth::bytes_per_second(bytes_per_second); }
double count(Bytes bytes) { return static_cast<double>(bytes.count()); }

/// Two hosts and a VM of `memory` that dirties all of `working_set` at `rate`.
struct Busy : PlainWorld {
  Busy(Bytes memory, Bytes working_set, double rate) : PlainWorld(2) {
    VmSpec& spec = add_vm(host(0), memory);
    spec.working_set = working_set;
    spec.dirty_rate = speed(rate);
    platform.hypervisor.postcopy_switch = ms(12);
    platform.xbzrle = {.ratio = Ratio(0.25), .speed = speed(2e9)};
    platform.zstd = {.ratio = Ratio(0.25), .speed = speed(3e8)};
  }
};

TEST(PostCopyModelTest, takes_the_switch_and_the_memory_whatever_the_guest_dirties) {
  Busy plain(Bytes::gibi(4), Bytes::gibi(4), 5e9);
  plain.platform.hypervisor.finish = ms(50);  // not for post-copy
  plain.platform.hypervisor.clean_up = ms(60);
  plain.instance.networks[0].link.latency = Duration::microseconds(500);
  in_world(plain, [](World& world) {
    const Moved moved = move(world, vm(0), host(1), {.mode = MemoryMode::postcopy});
    // The path of two links is crossed before memory flows, and by the device state.
    EXPECT_NEAR(moved.seconds, 4 * gib / link + 0.012 + 0.06 + 2 * 2 * 500e-6, 1e-6);
    EXPECT_NEAR(moved.downtime, 0.012 + 2 * 500e-6, 1e-9);
    EXPECT_EQ(moved.bytes, 4 * gib);
    EXPECT_EQ(moved.rounds, 1);
    EXPECT_EQ(moved.note, "");
  });
}

TEST(PostCopyModelTest, zero_pages_are_marks_and_the_limit_counts) {
  Busy plain(Bytes::gibi(2), Bytes(0), 0);
  plain.instance.vms[0].zero = Ratio(0.5);
  in_world(plain, [](World& world) {
    const Moved moved =
        move(world, vm(0), host(1), {.mode = MemoryMode::postcopy, .bandwidth_limit = speed(1e8)});
    EXPECT_NEAR(moved.seconds, (gib + 9.0 * 262144) / 1e8 + 0.012, 1e-6);
  });
}

TEST(PostCopyModelTest, the_guest_runs_on_its_destination_from_the_switch_on_and_nothing_stops_it) {
  Busy plain(Bytes::gibi(1), Bytes(0), 0);
  plain.platform.hypervisor.prepare = ms(500);
  in_world(plain, [](World& world) {
    Moved moved;
    const auto task = world.executor.spawn("to be cancelled", [&] {
      moved = move(world, vm(0), host(1), {.mode = MemoryMode::postcopy},
                   TimePoint::at(Duration::seconds(0.7)));
    });
    world.clock.sleep_until(TimePoint::at(Duration::seconds(0.505)));
    EXPECT_FALSE(world.hypervisor.inspect(vm(0)).running);
    world.clock.sleep_until(TimePoint::at(Duration::seconds(0.6)));
    EXPECT_TRUE(world.hypervisor.inspect(vm(0)).running);
    EXPECT_TRUE(world.hypervisor.inspect(vm(0)).moving);
    EXPECT_EQ(world.hypervisor.inspect(vm(0)).host, host(1));
    EXPECT_FALSE(world.hypervisor.cancel_migration(vm(0)));
    task->cancel();
    task->join();
    EXPECT_EQ(moved.reason, "");
    EXPECT_NEAR(moved.seconds, 0.5 + 0.012 + gib / link, 1e-6);
  });
}

TEST(HybridModelTest, does_one_round_and_then_sends_the_rest_after_the_guest) {
  const Busy plain(Bytes::gibi(4), Bytes::gibi(4), 4e8);
  in_world(plain, [](World& world) {
    const Moved moved = move(world, vm(0), host(1), {.mode = MemoryMode::hybrid});
    const double first = 4 * gib - left;
    const double rest = left + 0.4 * first;
    EXPECT_EQ(moved.rounds, 2);
    EXPECT_NEAR(count(moved.reports[0].bytes), first, 10);
    EXPECT_NEAR(count(moved.reports[1].bytes), rest, 10);
    EXPECT_EQ(moved.reports[1].dirty_bytes, Bytes(0));
    EXPECT_NEAR(moved.seconds, (first + rest) / link + 0.012, 1e-6);
    EXPECT_NEAR(moved.downtime, 0.012, 1e-9);
    EXPECT_EQ(moved.note, "");
  });
}

TEST(HybridModelTest, that_has_converged_after_its_round_ends_as_pre_copy_does) {
  const Busy plain(Bytes::gibi(1), Bytes(0), 0);
  in_world(plain, [](World& world) {
    const Moved moved = move(world, vm(0), host(1), {.mode = MemoryMode::hybrid});
    EXPECT_NEAR(moved.seconds, gib / link, 1e-6);
    EXPECT_NEAR(moved.downtime, left / link, 1e-6);
  });
}

TEST(LimitModelTest, moves_take_what_is_predicted_of_them) {
  const Busy plain(Bytes::gibi(1), Bytes::gibi(1), 1e8);
  const VmSpec& spec = plain.instance.vms[0];
  in_world(plain, [&](World& world) {
    HostId to = host(1);
    for (const MemoryMode mode :
         {MemoryMode::precopy, MemoryMode::hybrid, MemoryMode::postcopy, MemoryMode::offline}) {
      SCOPED_TRACE(to_name(mode));
      const TransferOptions options{.mode = mode, .bandwidth_limit = speed(4e8)};
      const TransferPrediction predicted = predict_transfer(spec, options, speed(link), speed(1e8));
      const Moved moved = move(world, vm(0), to, options);
      const double extra = predicted.switched ? 0.012 : 0;
      EXPECT_NEAR(moved.seconds, predicted.time.to_seconds() + extra, 1e-6);
      EXPECT_NEAR(moved.downtime, predicted.downtime.to_seconds() + extra, 1e-6);
      EXPECT_EQ(moved.rounds, predicted.rounds);
      to = host(1 - to.index);
    }
  });
}

TEST(LimitModelTest, holds_after_the_switch_to_post_copy) {
  const Busy plain(Bytes::gibi(1), Bytes::gibi(1), 4e8);
  in_world(plain, [](World& world) {
    const Moved moved =
        move(world, vm(0), host(1), {.mode = MemoryMode::hybrid, .bandwidth_limit = speed(2e8)});
    // All memory is dirtied in the round, and what was left of it is sent but once.
    EXPECT_EQ(moved.rounds, 2);
    EXPECT_NEAR(moved.seconds, moved.bytes / 2e8 + 0.012, 1e-6);
    EXPECT_NEAR(moved.downtime, 0.012, 1e-9);
  });
}

TEST(StallModelTest, of_post_copy_sends_what_is_pending_after_the_last_round) {
  const Busy plain(Bytes::gibi(4), Bytes(1'000'000'000), 2e9);
  in_world(plain, [](World& world) {
    const Moved moved =
        move(world, vm(0), host(1), {.max_rounds = 4, .on_stall = {OnStall::postcopy}});
    // Each further round sends the working set, and leaves what the pause could take and the set.
    EXPECT_EQ(moved.rounds, 5);
    EXPECT_NEAR(count(moved.reports[4].bytes), left + 1e9, 10);
    EXPECT_NEAR(moved.seconds, (4 * gib + 4e9) / link + 0.012, 1e-6);
    EXPECT_NEAR(moved.downtime, 0.012, 1e-9);
    EXPECT_EQ(moved.note, "did not converge in 4 rounds: post-copy");
  });
}

// 1.2 times the bandwidth is dirtied. Every round of more than a second counts, so the guest loses
// 20 % after the second, and 10 % more after every other one.
TEST(AutoConvergeModelTest, slows_dirtying_step_by_step_until_it_converges) {
  const Busy plain(Bytes::gibi(4), Bytes::gibi(4), 1.2e9);
  in_world(plain, [](World& world) {
    const Moved moved = move(world, vm(0), host(1), {.auto_converge = true});
    ASSERT_EQ(moved.reason, "");
    ASSERT_GE(moved.reports.size(), 10U);
    const double throttle[] = {0, 0, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5};
    double sent = 4 * gib - left;
    for (std::size_t i = 0; i < 9; ++i) {
      SCOPED_TRACE(i + 1);
      const double dirtied = std::min(1.2 * (1 - throttle[i]) * sent, 4 * gib);
      EXPECT_NEAR(count(moved.reports[i].bytes), sent, 20);
      EXPECT_NEAR(count(moved.reports[i].dirty_bytes), dirtied, 20);
      ASSERT_GT(moved.reports[i].time, AutoConverge::period);
      sent = std::min(dirtied, 4 * gib - left);
    }
    EXPECT_EQ(moved.note, "");
    // The guest is its own again: as many rounds as the first time until it is throttled.
    const Moved back = move(world, vm(0), host(0), {.max_rounds = 1});
    EXPECT_NEAR(count(back.reports[0].dirty_bytes), 4 * gib, 20);
  });
}

TEST(AutoConvergeModelTest, on_stall_begins_to_look_when_pre_copy_has_stalled) {
  const Busy plain(Bytes::gibi(4), Bytes::gibi(4), 1.2e9);
  in_world(plain, [](World& world) {
    const TransferOptions options{.max_rounds = 3, .on_stall = {OnStall::auto_converge}};
    Moved moved = move(world, vm(0), host(1), options);
    ASSERT_EQ(moved.reports.size(), 6U);
    const auto rate = [&](std::size_t i) {
      return count(moved.reports[i].dirty_bytes) / moved.reports[i].time.to_seconds();
    };
    EXPECT_NEAR(rate(4), 4 * gib / (4 * gib - left) * link, 0.001 * link);  // all of its set
    EXPECT_NEAR(rate(5), 0.96 * link, 0.001 * link);  // after two rounds: 20 % less
    EXPECT_TRUE(
        moved.reason.ends_with("; it did not converge in 3 rounds: throttled "
                               "(auto_converge)"))
        << moved.reason;
    EXPECT_TRUE(world.hypervisor.inspect(vm(0)).running);

    moved = move(world, vm(0), host(1), {.max_rounds = 20, .on_stall = options.on_stall});
    EXPECT_EQ(moved.reason, "");
    EXPECT_EQ(moved.note, "did not converge in 20 rounds: throttled (auto_converge)");
  });
}

TEST(StreamsModelTest, several_streams_reach_as_many_times_one_until_the_link_is_full) {
  Busy plain(Bytes::gibi(1), Bytes(0), 0);
  plain.platform.streams[static_cast<std::size_t>(Transport::tcp)].bandwidth = speed(4e8);
  in_world(plain, [](World& world) {
    EXPECT_NEAR(move(world, vm(0), host(1), {.streams = 1}).seconds, gib / 4e8, 1e-6);
    EXPECT_NEAR(move(world, vm(0), host(0), {.streams = 2}).seconds, gib / 8e8, 1e-6);
    EXPECT_NEAR(move(world, vm(0), host(1), {.streams = 4}).seconds, gib / link, 1e-6);
  });
}

TEST(CompressionModelTest, zstd_is_as_fast_as_its_threads_or_the_network) {
  Busy plain(Bytes::gibi(1), Bytes(0), 0);
  in_world(plain, [](World& world) {
    const auto by = [&](std::uint32_t streams, HostId to) {
      return move(
          world, vm(0), to,
          {.mode = MemoryMode::offline, .compression = Compression::zstd, .streams = streams});
    };
    const Moved two = by(2, host(1));
    EXPECT_NEAR(two.seconds, gib / (2 * 3e8), 1e-6);  // the threads
    EXPECT_EQ(two.bytes, gib / 4);
    EXPECT_NEAR(by(20, host(0)).seconds, gib / 4 / link, 1e-6);  // the network
  });
}

TEST(CompressionModelTest, zstd_counts_guest_memory_where_qemu_does) {
  const Busy plain(Bytes::gibi(4), Bytes::gibi(4), 1e8);
  in_world(plain, [](World& world) {
    // 40 threads: the network is the limit. The pause may take 0.3 s of *uncompressed* memory.
    const Moved moved =
        move(world, vm(0), host(1), {.compression = Compression::zstd, .streams = 40});
    EXPECT_NEAR(count(moved.reports[0].bytes), (4 * gib - left) / 4, 10);
    EXPECT_NEAR(count(moved.reports[0].dirty_bytes), 0.1 * (4 * gib - left) / 4, 10);
    EXPECT_LT(moved.downtime, 0.3 / 4);
  });
}

TEST(CompressionModelTest, xbzrle_sends_differences_from_the_third_round_on_as_fast_as_it_encodes) {
  const Busy plain(Bytes::gibi(1), Bytes::mebi(64), 1e10);
  in_world(plain, [](World& world) {
    const Moved moved =
        move(world, vm(0), host(1),
             {.downtime_limit = ms(10), .max_rounds = 4, .compression = Compression::xbzrle});
    ASSERT_EQ(moved.reports.size(), 4U);
    const double set = 64 * 1024 * 1024;
    const double may_stay = 0.99 * 0.01 * link;
    EXPECT_NEAR(count(moved.reports[0].bytes), gib - may_stay, 10);
    EXPECT_NEAR(count(moved.reports[1].bytes), set, 10);
    // 2 GB/s of memory become 0.5 GB/s on the network, so half as much may stay for the pause.
    EXPECT_NEAR(count(moved.reports[2].bytes), (set + may_stay / 2) / 4, 10);
    EXPECT_NEAR(moved.reports[2].time.to_seconds(), count(moved.reports[2].bytes) / 0.5e9, 1e-6);
    EXPECT_NEAR(count(moved.reports[3].bytes), set / 4, 10);
  });
}

}  // namespace
}  // namespace ferry
