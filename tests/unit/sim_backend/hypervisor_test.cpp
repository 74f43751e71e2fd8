// Closed forms of the simulated hypervisor: what a reader can work out by hand from the constants.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "sim_backend/sim_hypervisor.hpp"
#include "tests/unit/sim_backend/one_move.hpp"

namespace ferry {
namespace {

TEST(HypervisorModelTest, an_idle_vm_takes_fixed_costs_and_its_memory_over_the_bandwidth) {
  PlainWorld plain(2);
  plain.platform.hypervisor.prepare = ms(1800);
  plain.platform.hypervisor.finish = ms(40);
  plain.platform.hypervisor.clean_up = ms(60);
  plain.instance.networks[0].link.latency = Duration::microseconds(500);
  plain.add_vm(host(0), Bytes::gibi(4));
  in_world(plain, [](World& world) {
    const Moved moved = move(world, vm(0), host(1));
    // The path is two links, and is crossed once before and once after the memory.
    EXPECT_NEAR(moved.seconds, 1.8 + 4 * gib / link + 0.04 + 0.06 + 2 * 2 * 500e-6, 1e-6);
    EXPECT_NEAR(moved.downtime, 0.99 * 0.3 + 0.04 + 2 * 500e-6, 1e-6);
    EXPECT_EQ(moved.bytes, 4 * gib);
    EXPECT_EQ(moved.rounds, 2);
    EXPECT_EQ(world.hypervisor.inspect(vm(0)).host, host(1));
    EXPECT_TRUE(world.hypervisor.inspect(vm(0)).running);
  });
}

TEST(HypervisorModelTest, zero_pages_cost_next_to_nothing_but_are_sent_in_full_if_all_is_pinned) {
  PlainWorld plain(2);
  plain.platform.hypervisor.pin_per_gib = ms(170);
  plain.add_vm(host(0), Bytes::gibi(2)).zero = Ratio(0.5);
  in_world(plain, [](World& world) {
    const double marks = 9.0 * 262144;
    Moved moved = move(world, vm(0), host(1), {.transport = Transport::tcp});
    EXPECT_NEAR(moved.seconds, (gib + marks) / link, 1e-6);
    moved = move(world, vm(0), host(0), {.transport = Transport::rdma, .pin_all = false});
    EXPECT_NEAR(moved.seconds, (gib + marks) / link, 1e-6);
    moved = move(world, vm(0), host(1), {.transport = Transport::rdma, .pin_all = true});
    EXPECT_NEAR(moved.seconds, 2 * gib / link + 2 * 0.17, 1e-6);
  });
}

TEST(HypervisorModelTest, a_stream_is_no_faster_than_its_transport_and_the_users_limit) {
  PlainWorld plain(2);
  plain.platform.streams[static_cast<std::size_t>(Transport::tcp)].bandwidth =
      Bandwidth::bytes_per_second(4e8);
  plain.add_vm(host(0), Bytes::gibi(1));
  in_world(plain, [](World& world) {
    Moved moved = move(world, vm(0), host(1), {.transport = Transport::tcp});
    EXPECT_NEAR(moved.seconds, gib / 4e8, 1e-6);
    moved =
        move(world, vm(0), host(0),
             {.transport = Transport::tcp, .bandwidth_limit = Bandwidth::bytes_per_second(1e8)});
    const double paused = 0.99 * 0.3 * 1e8;  // without the limit
    EXPECT_NEAR(moved.seconds, (gib - paused) / 1e8 + paused / 4e8, 1e-6);
    moved = move(world, vm(0), host(1), {.transport = Transport::ipoib});
    EXPECT_NEAR(moved.seconds, gib / link, 1e-6);
  });
}

/// What a limit of 0.25 GB/s leaves for a pause of 300 ms.
constexpr double quarter = 2.5e8;
constexpr double left_by_quarter = 0.99 * 0.3 * quarter;

TEST(HypervisorModelTest, the_users_limit_holds_until_the_guest_is_paused) {
  PlainWorld plain(2);
  plain.platform.hypervisor.finish = ms(50);
  plain.add_vm(host(0), Bytes::gibi(1));
  in_world(plain, [](World& world) {
    const Moved moved =
        move(world, vm(0), host(1), {.bandwidth_limit = Bandwidth::bytes_per_second(quarter)});
    EXPECT_NEAR(moved.downtime, left_by_quarter / link + 0.05, 1e-6);
    EXPECT_NEAR(moved.seconds, (gib - left_by_quarter) / quarter + left_by_quarter / link + 0.05,
                1e-6);
    ASSERT_EQ(moved.reports.size(), 2U);
    EXPECT_NEAR(moved.reports[0].time.to_seconds(), (gib - left_by_quarter) / quarter, 1e-6);
    EXPECT_NEAR(moved.reports[1].time.to_seconds(), left_by_quarter / link, 1e-6);
    EXPECT_NEAR(static_cast<double>(moved.reports[1].bytes.count()), left_by_quarter, 10);
  });
}

TEST(HypervisorModelTest, pauses_without_a_limit_share_links_with_what_else_is_on_them) {
  struct Case {
    const char* what;
    Bytes other;      // memory of the other guest
    double share;     // of the first one's pause
    double of_other;  // of the other's
  };
  for (const Case& c : {Case{"both are paused", Bytes::gibi(1), link / 2, link / 2},
                        Case{"the other's round goes on", Bytes::gibi(2), link - quarter, link}}) {
    SCOPED_TRACE(c.what);
    PlainWorld plain(3);
    plain.add_vm(host(0), Bytes::gibi(1));
    plain.add_vm(host(1), c.other);
    in_world(plain, [&](World& world) {
      const TransferOptions options{.bandwidth_limit = Bandwidth::bytes_per_second(quarter)};
      std::vector<Moved> moved(2);
      {
        const auto other =
            world.executor.spawn("other", [&] { moved[1] = move(world, vm(1), host(2), options); });
        moved[0] = move(world, vm(0), host(2), options);
      }
      EXPECT_NEAR(moved[0].downtime, left_by_quarter / c.share, 1e-6);
      EXPECT_NEAR(moved[1].downtime, left_by_quarter / c.of_other, 1e-6);
      EXPECT_NEAR(moved[0].seconds, (gib - left_by_quarter) / quarter + moved[0].downtime, 1e-6);
    });
  }
}

TEST(HypervisorModelTest, the_state_of_a_device_has_no_limit) {
  PlainWorld plain(2);
  plain.platform.hypervisor.vfio = {.state = Bytes(15'000'000), .save = ms(70), .load = ms(130)};
  plain.add_vm(host(0), Bytes::gibi(1));
  in_world(plain, [](World& world) {
    for (const MemoryMode mode : {MemoryMode::precopy, MemoryMode::offline}) {
      const HostId to = host(mode == MemoryMode::precopy ? 1 : 0);
      const TransferOptions options{.device = DeviceStrategy::vfio,
                                    .mode = mode,
                                    .bandwidth_limit = Bandwidth::bytes_per_second(quarter)};
      Rounds rounds;
      const auto moved = world.hypervisor.migrate(vm(0), to, options, rounds, never);
      ASSERT_TRUE(moved);
      const double rest = 0.99 * (0.3 * quarter - 15e6);
      const double first = mode == MemoryMode::offline ? (gib - rest) / quarter : 0;
      EXPECT_NEAR(moved->downtime.to_seconds(), first + 0.2 + (rest + 15e6) / link, 1e-6);
    }
  });
}

TEST(HypervisorModelTest, dirtying_below_the_bandwidth_takes_geometric_rounds) {
  PlainWorld plain(2);
  VmSpec& spec = plain.add_vm(host(0), Bytes::gibi(4));
  spec.working_set = Bytes::gibi(4);
  spec.dirty_rate = Bandwidth::bytes_per_second(3e8);
  spec.idle_dirty_rate = Bandwidth::bytes_per_second(1e8);
  in_world(plain, [](World& world) {
    Moved moved = move(world, vm(0), host(1));
    const auto limit = [](double dirty) { return (4 * gib - 0.3e9) / (link - dirty) + 0.3; };
    EXPECT_NEAR(moved.seconds, limit(4e8), 0.02);
    ASSERT_GE(moved.reports.size(), 4U);
    for (std::size_t i = 1; i + 1 < moved.reports.size(); ++i) {
      EXPECT_NEAR(static_cast<double>(moved.reports[i].bytes.count()),
                  0.4 * static_cast<double>(moved.reports[i - 1].bytes.count()), 10);
      EXPECT_NEAR(static_cast<double>(moved.reports[i].dirty_bytes.count()),
                  4e8 * moved.reports[i].time.to_seconds(), 10);
    }
    EXPECT_EQ(moved.reports.back().dirty_bytes, Bytes(0));  // paused
    EXPECT_LE(moved.downtime, 0.3);

    world.processor.set_ranks_running(vm(0), false);
    moved = move(world, vm(0), host(0));
    EXPECT_NEAR(moved.seconds, limit(1e8), 0.02);
  });
}

TEST(HypervisorModelTest, what_is_dirty_is_never_more_than_the_working_set) {
  PlainWorld plain(2);
  VmSpec& spec = plain.add_vm(host(0), Bytes::gibi(4));
  spec.working_set = Bytes(400'000'000);
  spec.dirty_rate = Bandwidth::bytes_per_second(8e8);
  in_world(plain, [](World& world) {
    const Moved moved = move(world, vm(0), host(1));
    ASSERT_GE(moved.reports.size(), 3U);
    EXPECT_EQ(moved.reports[0].dirty_bytes, Bytes(400'000'000));
    EXPECT_NEAR(static_cast<double>(moved.reports[1].bytes.count()), 4e8, 10);
    EXPECT_NEAR(static_cast<double>(moved.reports[1].dirty_bytes.count()), 0.8 * 4e8, 10);
  });
}

TEST(HypervisorModelTest,
     two_vms_that_share_a_link_take_as_long_as_both_memories_and_end_together) {
  PlainWorld plain(3);
  plain.add_vm(host(0), Bytes::gibi(2));
  plain.add_vm(host(1), Bytes::gibi(2));
  in_world(plain, [](World& world) {
    std::vector<Moved> moved(2);
    {
      const auto other =
          world.executor.spawn("other", [&] { moved[1] = move(world, vm(1), host(2)); });
      moved[0] = move(world, vm(0), host(2));
    }
    for (const Moved& one : moved) {
      EXPECT_NEAR(one.seconds, 4 * gib / link, 1e-6);
      EXPECT_NEAR(one.downtime, 0.99 * 0.3, 1e-6);  // at its share, half of the link
      EXPECT_NEAR(static_cast<double>(one.reports.back().bytes.count()), 0.99 * 0.3 * link / 2, 10);
    }
  });
}

TEST(HypervisorModelTest, a_guest_that_dirties_faster_than_its_share_is_given_up_and_never_paused) {
  PlainWorld plain(2);
  VmSpec& spec = plain.add_vm(host(0), Bytes::gibi(4));
  spec.working_set = Bytes(1'000'000'000);
  spec.dirty_rate = Bandwidth::bytes_per_second(2e9);
  in_world(plain, [](World& world) {
    const Moved moved = move(world, vm(0), host(1), {.max_rounds = 4});
    EXPECT_EQ(
        moved.reason,
        "pre-copy of vm0 has not converged after 4 rounds: in the last one 1000.0 MB/s were sent "
        "and 1000.0 MB/s were dirtied");
    EXPECT_EQ(moved.reports.size(), 4U);
    EXPECT_EQ(world.hypervisor.inspect(vm(0)).host, host(0));
    EXPECT_TRUE(world.hypervisor.inspect(vm(0)).running);
    // Once the ranks wait in the library it converges.
    world.processor.set_ranks_running(vm(0), false);
    EXPECT_EQ(move(world, vm(0), host(1), {.max_rounds = 4}).reason, "");
  });
}

TEST(HypervisorModelTest, an_offline_move_pauses_the_guest_for_all_of_it_and_sends_once) {
  PlainWorld plain(2);
  plain.platform.hypervisor.prepare = ms(500);
  plain.platform.hypervisor.finish = ms(50);
  VmSpec& spec = plain.add_vm(host(0), Bytes::gibi(1));
  spec.working_set = Bytes::gibi(1);
  spec.dirty_rate = Bandwidth::bytes_per_second(2e9);
  in_world(plain, [](World& world) {
    const Moved moved = move(world, vm(0), host(1), {.mode = MemoryMode::offline});
    EXPECT_NEAR(moved.seconds, 0.5 + gib / link + 0.05, 1e-6);
    EXPECT_NEAR(moved.downtime, gib / link + 0.05, 1e-6);
    EXPECT_EQ(moved.rounds, 1);
    EXPECT_EQ(moved.bytes, gib);
  });
}

TEST(HypervisorModelTest, an_offline_move_has_a_limit_until_the_rest_fits_the_pause) {
  PlainWorld plain(2);
  plain.platform.hypervisor.prepare = ms(500);
  plain.platform.hypervisor.finish = ms(50);
  VmSpec& spec = plain.add_vm(host(0), Bytes::gibi(1));
  spec.working_set = Bytes::gibi(1);
  spec.dirty_rate = Bandwidth::bytes_per_second(2e9);
  in_world(plain, [](World& world) {
    const Moved moved = move(
        world, vm(0), host(1),
        {.mode = MemoryMode::offline, .bandwidth_limit = Bandwidth::bytes_per_second(quarter)});
    const double sending = (gib - left_by_quarter) / quarter + left_by_quarter / link;
    EXPECT_NEAR(moved.seconds, 0.5 + sending + 0.05, 1e-6);
    EXPECT_NEAR(moved.downtime, sending + 0.05, 1e-6);
    EXPECT_EQ(moved.bytes, gib);
    ASSERT_EQ(moved.reports.size(), 2U);
    EXPECT_NEAR(static_cast<double>(moved.reports[1].bytes.count()), left_by_quarter, 10);
  });
}

TEST(HypervisorModelTest, the_serial_share_of_operations_on_one_host_is_done_one_at_a_time) {
  PlainWorld plain(2);
  plain.platform.hypervisor.serial = Ratio(0.25);
  plain.platform.hypervisor.set_status = ms(800);
  for (int i = 0; i < 4; ++i) plain.add_vm(host(i == 3 ? 1 : 0), Bytes::gibi(1));
  in_world(plain, [](World& world) {
    std::vector<double> ends(4);
    {
      std::vector<std::unique_ptr<Task>> tasks;
      for (std::uint32_t i = 0; i < 4; ++i) {
        tasks.push_back(world.executor.spawn("status", [&, i] {
          EXPECT_TRUE(world.hypervisor.set_status(vm(i), Phase::set_pre_migration, never));
          ends[i] = seconds_at(world);
        }));
      }
    }
    EXPECT_NEAR(ends[0], 0.8, 1e-9);
    EXPECT_NEAR(ends[1], 1.0, 1e-9);
    EXPECT_NEAR(ends[2], 1.2, 1e-9);
    EXPECT_NEAR(ends[3], 0.8, 1e-9);  // another host
  });
}

TEST(HypervisorModelTest, hosts_of_one_machine_do_their_serial_shares_one_at_a_time) {
  PlainWorld plain(2);
  plain.platform.hypervisor.serial = Ratio(0.25);
  plain.platform.hypervisor.set_status = ms(800);
  plain.platform.processors = {.cores = 2, .shared = true};
  for (std::uint32_t i = 0; i < 2; ++i) plain.add_vm(host(i), Bytes::gibi(1));
  in_world(plain, [](World& world) {
    const auto other = world.executor.spawn("status", [&] {
      EXPECT_TRUE(world.hypervisor.set_status(vm(1), Phase::set_pre_migration, never));
      EXPECT_NEAR(seconds_at(world), 1.0, 1e-9);
    });
    EXPECT_TRUE(world.hypervisor.set_status(vm(0), Phase::set_pre_migration, never));
    EXPECT_NEAR(seconds_at(world), 0.8, 1e-9);
    other->join();
  });
}

TEST(HypervisorModelTest, attaching_a_virtual_function_grows_with_the_guests_memory) {
  PlainWorld plain(1);
  plain.platform.hypervisor.attach_vf = {.fixed = ms(520), .per_gib = ms(548)};
  plain.platform.hypervisor.detach_vf = ms(100);
  plain.add_vm(host(0), Bytes::gibi(4));
  in_world(plain, [](World& world) {
    EXPECT_TRUE(world.hypervisor.detach(vm(0), DeviceKind::virtual_function, never));
    EXPECT_NEAR(seconds_at(world), 0.1, 1e-9);
    EXPECT_FALSE(world.hypervisor.inspect(vm(0)).virtual_function);
    EXPECT_TRUE(world.hypervisor.attach(vm(0), DeviceKind::virtual_function, never));
    EXPECT_NEAR(seconds_at(world), 0.1 + 0.52 + 4 * 0.548, 1e-9);
    EXPECT_TRUE(world.hypervisor.inspect(vm(0)).virtual_function);
  });
}

TEST(HypervisorModelTest, a_detach_that_timed_out_completes_at_its_time) {
  PlainWorld plain(1);
  plain.platform.hypervisor.detach_vf = ms(700);
  plain.add_vm(host(0), Bytes::gibi(1));
  in_world(plain, [](World& world) {
    const auto kind = DeviceKind::virtual_function;
    const TimePoint deadline = TimePoint::at(ms(500));
    const auto late = world.hypervisor.detach(vm(0), kind, deadline);
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().kind, FailureKind::timed_out);
    EXPECT_EQ(late.error().reason, "detach_vf of vm0 on host0 did not end in time");
    EXPECT_TRUE(world.hypervisor.inspect(vm(0)).virtual_function);
    const auto early = world.hypervisor.attach(vm(0), kind, never);
    ASSERT_FALSE(early);
    EXPECT_EQ(early.error().reason, "virtual_function of vm0 is still being unplugged");
    EXPECT_TRUE(world.hypervisor.await_detached(vm(0), kind, never));
    EXPECT_NEAR(seconds_at(world), 0.7, 1e-9);
    EXPECT_FALSE(world.hypervisor.inspect(vm(0)).virtual_function);
  });
}

TEST(HypervisorModelTest, refusals_speak_qemus_and_libvirts_words) {
  PlainWorld plain(2);
  plain.instance.networks[0].carries = {Transport::tcp};
  plain.add_vm(host(0), Bytes::gibi(1)).ivshmem = Bytes::mebi(64);
  in_world(plain, [](World& world) {
    Rounds rounds;
    const auto refusal = [&](HostId to, Transport transport) -> std::string {
      const auto result =
          world.hypervisor.migrate(vm(0), to, {.transport = transport}, rounds, never);
      if (result) return "";
      EXPECT_EQ(result.error().kind, FailureKind::refused);
      return result.error().reason;
    };
    EXPECT_EQ(refusal(host(1), Transport::tcp),
              "virtual_function of vm0 is attached: Requested operation is not valid: domain has "
              "assigned non-USB host devices");
    EXPECT_TRUE(world.hypervisor.detach(vm(0), DeviceKind::virtual_function, never));
    EXPECT_EQ(refusal(host(1), Transport::tcp),
              "ivshmem of vm0 is attached: Migration is disabled when using feature 'peer mode' in "
              "device 'ivshmem'");
    EXPECT_TRUE(world.hypervisor.detach(vm(0), DeviceKind::ivshmem, never));
    EXPECT_EQ(refusal(host(0), Transport::tcp), "vm0 runs on host0 already");
    EXPECT_EQ(refusal(host(1), Transport::rdma), "no network carries rdma");
    EXPECT_EQ(refusal(host(1), Transport::tcp), "");
    EXPECT_FALSE(rounds.rounds.empty());
  });
}

TEST(HypervisorModelTest, devices_need_a_place_on_the_host_where_the_vm_is) {
  PlainWorld plain(2);
  plain.instance.hosts[1].virtual_functions = 1;
  plain.add_vm(host(0), Bytes::gibi(1));
  plain.add_vm(host(1), Bytes::gibi(1));
  in_world(plain, [](World& world) {
    EXPECT_EQ(move(world, vm(0), host(1)).reason, "");
    const auto kind = DeviceKind::virtual_function;
    const auto full = world.hypervisor.attach(vm(0), kind, never);
    ASSERT_FALSE(full);
    EXPECT_EQ(full.error().reason, "all 1 virtual functions of host1 are in use");
    EXPECT_TRUE(world.hypervisor.detach(vm(1), kind, never));
    EXPECT_TRUE(world.hypervisor.attach(vm(0), kind, never));
  });
}

TEST(HypervisorModelTest,
     a_move_interrupted_before_the_switch_over_leaves_the_guest_on_its_source) {
  struct Case {
    double deadline;
    const char* during;
    MemoryMode mode;
  };
  // prepare until 0.5, memory until 2.65 (paused from 2.35 on), finish until 2.75, clean-up
  // until 3.
  for (const Case& c : {Case{0.2, "prepare", MemoryMode::precopy},
                        Case{1.0, "the first round", MemoryMode::precopy},
                        Case{2.5, "stop-and-copy", MemoryMode::precopy},
                        Case{1.0, "the pause of an offline move", MemoryMode::offline}}) {
    SCOPED_TRACE(c.during);
    PlainWorld plain(2);
    plain.platform.hypervisor.prepare = ms(500);
    plain.platform.hypervisor.finish = ms(100);
    plain.platform.hypervisor.clean_up = ms(250);
    plain.add_vm(host(0), Bytes::gibi(2));
    in_world(plain, [&](World& world) {
      const TransferOptions options{.mode = c.mode};
      Moved moved =
          move(world, vm(0), host(1), options, TimePoint::at(Duration::seconds(c.deadline)));
      EXPECT_EQ(moved.reason, "migration of vm0 on host0 did not end in time");
      EXPECT_NEAR(moved.seconds, c.deadline, 1e-9);
      EXPECT_EQ(world.hypervisor.inspect(vm(0)).host, host(0));
      EXPECT_TRUE(world.hypervisor.inspect(vm(0)).running);

      const auto task = world.executor.spawn("to be cancelled",
                                             [&] { moved = move(world, vm(0), host(1), options); });
      world.clock.sleep_until(world.clock.now() + Duration::seconds(c.deadline));
      task->cancel();
      task->join();
      EXPECT_EQ(moved.reason, "migration of vm0 on host0 was cancelled");
      EXPECT_NEAR(moved.seconds, c.deadline, 1e-9);
      EXPECT_TRUE(world.hypervisor.inspect(vm(0)).running);
      // And it can still be moved.
      EXPECT_NEAR(move(world, vm(0), host(1), options).seconds, 0.5 + 2 * gib / link + 0.35, 1e-6);
    });
  }
}

TEST(HypervisorModelTest, a_move_is_completed_once_its_last_byte_is_there) {
  PlainWorld plain(2);
  plain.platform.hypervisor.finish = ms(100);
  plain.platform.hypervisor.clean_up = ms(250);
  plain.add_vm(host(0), Bytes::gibi(1));
  in_world(plain, [&](World& world) {
    Moved moved;
    const auto task = world.executor.spawn("to be cancelled", [&] {
      moved = move(world, vm(0), host(1), {}, TimePoint::at(Duration::seconds(gib / link + 0.05)));
    });
    world.clock.sleep_until(TimePoint::at(Duration::seconds(gib / link + 0.02)));
    EXPECT_FALSE(world.hypervisor.inspect(vm(0)).running);
    task->cancel();
    task->join();
    EXPECT_EQ(moved.reason, "");
    EXPECT_NEAR(moved.seconds, gib / link + 0.35, 1e-6);
    EXPECT_EQ(world.hypervisor.inspect(vm(0)).host, host(1));
  });
}

TEST(HypervisorModelTest, total_and_downtime_hold_under_contention_that_comes_and_goes) {
  PlainWorld plain(4);
  for (std::uint32_t i = 0; i < 3; ++i) {
    VmSpec& spec = plain.add_vm(host(i), Bytes::gibi(1) * (1.0 + 0.37 * i));
    spec.working_set = spec.memory;
    spec.dirty_rate = Bandwidth::bytes_per_second(5e7);
  }
  in_world(plain, [](World& world) {
    std::vector<Moved> moved(3);
    {
      std::vector<std::unique_ptr<Task>> tasks;
      for (std::uint32_t i = 0; i < 3; ++i) {
        tasks.push_back(world.executor.spawn("move", [&, i] {
          world.clock.sleep_until(TimePoint::at(Duration::seconds(0.4 * i)));
          moved[i] = move(world, vm(i), host(3));
        }));
      }
    }
    double sum = 0;
    for (const Moved& one : moved) {
      EXPECT_EQ(one.reason, "");
      EXPECT_LE(one.downtime, 0.31);
      sum += one.bytes;
    }
    // The link is busy from the first byte to the last: nothing is lost to pauses between parts.
    EXPECT_NEAR(seconds_at(world), sum / link, 1e-6);
  });
}

}  // namespace
}  // namespace ferry
