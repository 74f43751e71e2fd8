// Closed forms of migrations and guests that compete for their hosts' cores.
#include "sim_backend/cores.hpp"

#include <gmock/gmock.h>

#include <array>
#include <memory>
#include <tuple>
#include <vector>

#include "tests/unit/sim_backend/one_move.hpp"

namespace ferry {
namespace {

using testing::DoubleNear;
using testing::Pointwise;

TEST(ShareCoresTest, each_thread_gets_the_same_less_those_that_want_less) {
  struct Case {
    double cores;
    std::vector<CoreUse> uses;
    std::vector<double> parts;
  };
  const std::vector<Case> cases = {
      {4, {{1, 1}, {2, 2}}, {1, 2}},      // enough for all
      {1, {{1, 1}, {1, 1}}, {0.5, 0.5}},  // one core, two that want it
      {2, {{1, 1}, {3, 3}}, {0.5, 1.5}},  // by threads, not by users
      {1, {{1, 0.2}, {1, 1}, {1, 1}}, {0.2, 0.4, 0.4}},
      {1, {{1, 1}, {1, 1}, {1, 0.2}}, {0.4, 0.4, 0.2}},
      {2, {}, {}},
      {1, {{0, 0}, {1, 1}}, {0, 1}},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(share_cores(c.cores, c.uses), Pointwise(DoubleNear(1e-12), c.parts));
  }
}

TEST(CorePoolTest, users_hear_of_parts_that_change_and_only_of_those) {
  CorePool pool(1);
  int heard = 0;
  CorePool::User first(
      pool,
      [] {
        return CoreUse{1, 1};
      },
      [&] { ++heard; });
  EXPECT_EQ(first.cores(), 1);
  EXPECT_EQ(heard, 1);
  {
    const CorePool::User second(
        pool,
        [] {
          return CoreUse{1, 0.75};
        },
        [] {});
    EXPECT_EQ(first.cores(), 0.5);
    EXPECT_EQ(second.cores(), 0.5);
    EXPECT_EQ(heard, 2);
    pool.share();
    EXPECT_EQ(heard, 2);
  }
  EXPECT_EQ(first.cores(), 1);
  EXPECT_EQ(heard, 3);
}

constexpr double dirtying = 1e8;  // bytes a second

/// Hosts of `cores`; a core is just enough to send, and to receive, at the speed of a link. VMs of
/// one vCPU on host0, each with a busy rank of its own.
struct BusyHosts : PlainWorld {
  BusyHosts(std::uint32_t cores, std::uint32_t guests, std::uint32_t hosts = 2)
      : PlainWorld(hosts) {
    for (HostSpec& host : instance.hosts) host.cores = cores;
    const Duration core = Bytes::gibi(1) / Bandwidth::bytes_per_second(link);
    for (StreamCosts& stream : platform.streams) stream.cpu = {core, core};
    for (std::uint32_t i = 0; i < guests; ++i) {
      VmSpec& spec = add_vm(host(0), Bytes::gibi(1));
      spec.vcpus = 1;
      spec.working_set = Bytes::gibi(1);
      spec.dirty_rate = Bandwidth::bytes_per_second(dirtying);
      spec.jobs = {JobId{i}};
      instance.jobs.push_back({.name = "job",
                               .vms = {vm(i)},
                               .ranks_per_vm = 1,
                               .strategy = Strategy::none,
                               .suspend = Suspend::peers,
                               .reconnect = Reconnect::lazy,
                               .next_call = {Duration::zero()}});
    }
  }
};

/// What pre-copy leaves for a pause of 300 ms at `speed`, as the model rounds it.
double left(double speed) { return 0.99 * 0.3 * speed; }

TEST(CoreContentionTest, a_core_for_two_gives_half_the_speed_and_half_the_dirtying) {
  in_world(BusyHosts(1, 1), [](World& world) {
    const Moved moved = move(world, vm(0), host(1));
    ASSERT_EQ(moved.reason, "");
    const double speed = link / 2;
    const double first = (gib - left(speed)) / speed;
    EXPECT_NEAR(moved.reports[0].time.to_seconds(), first, 1e-6);
    EXPECT_NEAR(static_cast<double>(moved.reports[0].dirty_bytes.count()), first * dirtying / 2,
                10);
    const double second = first * dirtying / 2 / speed;
    EXPECT_NEAR(moved.reports[1].time.to_seconds(), second, 1e-6);
    const double third = second * dirtying / 2 / speed;
    EXPECT_NEAR(moved.reports[2].time.to_seconds(), third, 1e-6);
    // The paused guest leaves the whole core to the last part.
    EXPECT_NEAR(moved.downtime, (left(speed) + third * dirtying / 2) / link, 1e-6);
  });
}

TEST(CoreContentionTest, two_busy_guests_of_one_core_dirty_half_as_fast_each) {
  BusyHosts plain(1, 2);
  for (StreamCosts& stream : plain.platform.streams) {
    stream.cpu = {Duration::nanoseconds(1), Duration::zero()};  // next to nothing
  }
  in_world(plain, [](World& world) {
    const Moved moved = move(world, vm(0), host(1));
    const double first = (gib - left(link)) / link;
    EXPECT_NEAR(moved.reports[0].time.to_seconds(), first, 1e-6);
    EXPECT_NEAR(static_cast<double>(moved.reports[0].dirty_bytes.count()), first * dirtying / 2,
                10);
  });
}

TEST(CoreContentionTest, with_a_core_for_everybody_nothing_changes) {
  const auto times = [](const BusyHosts& plain) {
    return numbers_from_child([&] {
      std::vector<double> numbers;
      plain.simulate([&](World& world) {
        const Moved moved = move(world, vm(0), host(1));
        numbers = {moved.seconds, moved.downtime, moved.bytes};
      });
      return numbers;
    });
  };
  BusyHosts without(1, 1);
  for (StreamCosts& stream : without.platform.streams) stream.cpu = {};
  EXPECT_EQ(times(BusyHosts(2, 1)), times(without));
  EXPECT_NE(times(BusyHosts(1, 1)), times(without));
}

TEST(CoreContentionTest, ranks_that_stop_give_their_core_to_what_is_under_way) {
  in_world(BusyHosts(1, 1), [](World& world) {
    const auto ranks = world.executor.spawn("ranks", [&] {
      world.clock.sleep_until(TimePoint::at(ms(500)));
      world.processor.set_ranks_running(vm(0), false);
    });
    const Moved moved = move(world, vm(0), host(1));
    ranks->join();
    // Half a second at half the speed, the rest at the whole; the last 297 ms of it with the guest
    // paused.
    EXPECT_NEAR(moved.seconds, 0.5 + (gib + 0.5 * dirtying / 2 - 0.5 * link / 2) / link, 1e-5);
  });
}

TEST(CoreContentionTest, two_streams_of_one_core_share_it_and_the_first_to_end_leaves_it) {
  BusyHosts plain(1, 2);
  for (VmSpec& spec : plain.instance.vms) spec.jobs.clear();  // idle guests
  plain.instance.jobs.clear();
  plain.instance.vms[1].memory = Bytes::gibi(2);
  plain.instance.networks[0].link.bandwidth = Bandwidth::bytes_per_second(4 * link);
  for (VmSpec& spec : plain.instance.vms) spec.dirty_rate = Bandwidth();
  in_world(plain, [](World& world) {
    Moved other;
    const auto task = world.executor.spawn("other", [&] { other = move(world, vm(1), host(1)); });
    const Moved moved = move(world, vm(0), host(1));
    task->join();
    EXPECT_NEAR(moved.seconds, 2 * gib / link, 1e-5);
    EXPECT_NEAR(other.seconds, 3 * gib / link, 1e-5);
  });
}

TEST(CoreContentionTest, a_stream_that_is_left_alone_on_its_link_has_its_receiver_for_all_of_it) {
  BusyHosts plain(4, 2, 3);
  for (VmSpec& spec : plain.instance.vms) spec.jobs.clear();  // idle guests
  plain.instance.jobs.clear();
  plain.instance.vms[1].memory = Bytes::gibi(2);
  for (VmSpec& spec : plain.instance.vms) spec.dirty_rate = Bandwidth();
  in_world(plain, [](World& world) {
    Moved other;
    const auto task = world.executor.spawn("other", [&] { other = move(world, vm(1), host(2)); });
    const Moved moved = move(world, vm(0), host(1));
    task->join();
    EXPECT_NEAR(moved.seconds, 2 * gib / link, 1e-5);
    EXPECT_NEAR(other.seconds, 3 * gib / link, 1e-5);
  });
}

TEST(CoreContentionTest, hosts_of_one_machine_share_its_cores) {
  BusyHosts plain(8, 1);
  plain.platform.processors = {.cores = 1, .shared = true};
  plain.instance.vms[0].jobs.clear();
  plain.instance.jobs.clear();
  plain.instance.vms[0].dirty_rate = Bandwidth();
  in_world(plain, [](World& world) {
    const Moved moved = move(world, vm(0), host(1));
    EXPECT_NEAR(moved.seconds, 2 * gib / link, 1e-5);  // it is sent and received by one core
  });
}

TEST(CoreContentionTest, more_streams_are_more_threads) {
  BusyHosts plain(1, 1);
  in_world(plain, [](World& world) {
    const Moved moved = move(world, vm(0), host(1), {.streams = 3});
    EXPECT_NEAR(moved.reports[0].time.to_seconds(), (gib - left(0.75 * link)) / (0.75 * link),
                1e-5);
  });
}

TEST(CoreContentionTest, a_thread_that_compresses_takes_its_core_too) {
  BusyHosts plain(2, 1);
  plain.platform.zstd = {.ratio = Ratio(0.5), .speed = Bandwidth::bytes_per_second(1e9)};
  for (StreamCosts& stream : plain.platform.streams) {
    stream.cpu = {Duration::nanoseconds(1), Duration::zero()};
  }
  in_world(plain, [](World& world) {
    // Two threads compress 1 GB/s each and the guest keeps a vCPU busy: three on two cores.
    const Moved moved =
        move(world, vm(0), host(1), {.compression = Compression::zstd, .streams = 2});
    const double on_network = 2.0 / 3 * 2 * 1e9 * 0.5;
    EXPECT_NEAR(moved.reports[0].time.to_seconds(),
                (gib - 0.99 * 0.3 * on_network) * 0.5 / on_network, 1e-5);
  });
}

TEST(CoreContentionTest, a_guest_takes_its_part_to_its_new_host) {
  BusyHosts plain(1, 2);
  plain.instance.vms[1].host = host(1);
  for (StreamCosts& stream : plain.platform.streams) {
    stream.cpu = {Duration::nanoseconds(1), Duration::zero()};
  }
  in_world(plain, [](World& world) {
    const Moved there = move(world, vm(0), host(1), {.mode = MemoryMode::offline});
    ASSERT_EQ(there.reason, "");
    const Moved back = move(world, vm(0), host(0));  // two on host1's core until it leaves
    EXPECT_NEAR(static_cast<double>(back.reports[0].dirty_bytes.count()),
                (gib - left(link)) / link * dirtying / 2, 10);
  });
}

/// VMs on one host of two, which take `cpu` of a core while they are plugged and unplugged.
struct PluggedHosts : PlainWorld {
  PluggedHosts(std::uint32_t cores, std::uint32_t guests, double cpu) : PlainWorld(2) {
    for (HostSpec& host : instance.hosts) {
      host.cores = cores;
      host.virtual_functions = 8;
    }
    for (StreamCosts& stream : platform.streams) {
      stream.cpu = {Duration::nanoseconds(1), Duration::zero()};  // next to nothing
    }
    platform.hypervisor.cpu = Ratio(cpu);
    platform.hypervisor.detach_vf = ms(100);
    platform.hypervisor.attach_vf.fixed = ms(300);
    for (std::uint32_t i = 0; i < guests; ++i) {
      add_vm(host(0), Bytes::gibi(1)).virtual_function = true;
    }
  }

  /// When each VM's function was gone, if they are asked for one after the other.
  [[nodiscard]] std::vector<double> gone(Duration between) const {
    return numbers_from_child([&] {
      std::vector<double> ends(instance.vms.size());
      simulate([&](World& world) {
        std::vector<std::unique_ptr<Task>> tasks;
        for (std::uint32_t i = 0; i < ends.size(); ++i) {
          tasks.push_back(world.executor.spawn("detach", [&, i] {
            world.clock.sleep_until(TimePoint::at(between * static_cast<double>(i)));
            EXPECT_TRUE(world.hypervisor.detach(vm(i), DeviceKind::virtual_function, never));
            ends[i] = seconds_at(world);
          }));
        }
        for (const auto& task : tasks) task->join();
      });
      return ends;
    });
  }
};

TEST(ControlContentionTest, operations_take_their_share_of_a_core_and_wait_for_no_other) {
  using testing::ElementsAre;
  const auto near = [](double seconds) { return DoubleNear(seconds, 1e-8); };
  // Enough for all: as if cores did not matter.
  EXPECT_THAT(PluggedHosts(2, 2, 1).gone(ms(0)), ElementsAre(near(0.1), near(0.1)));
  EXPECT_THAT(PluggedHosts(1, 2, 0.5).gone(ms(0)), ElementsAre(near(0.1), near(0.1)));
  EXPECT_THAT(PluggedHosts(1, 4, 0).gone(ms(0)),
              ElementsAre(near(0.1), near(0.1), near(0.1), near(0.1)));
  // Half a core for each: all of their time, or the six tenths of it that need one.
  EXPECT_THAT(PluggedHosts(1, 2, 1).gone(ms(0)), ElementsAre(near(0.2), near(0.2)));
  const double slower = 0.4 + 0.6 * 0.6 / 0.5;
  EXPECT_THAT(PluggedHosts(1, 2, 0.6).gone(ms(0)),
              ElementsAre(near(0.1 * slower), near(0.1 * slower)));
  // The first has 50 ms behind it when the second comes, and 50 ms more take it 100 ms; then the
  // second has the core, with 50 ms to go.
  EXPECT_THAT(PluggedHosts(1, 2, 1).gone(ms(50)), ElementsAre(near(0.15), near(0.2)));
}

TEST(ControlContentionTest, an_operation_that_waits_in_the_end_leaves_its_cores_to_others) {
  using testing::ElementsAre;
  const auto near = [](double seconds) { return DoubleNear(seconds, 1e-8); };
  PluggedHosts plain(1, 2, 1);
  plain.platform.hypervisor.busy = Ratio(0.5);
  // Each computes for 50 ms, which take 100 ms together, and then waits for 50 ms.
  EXPECT_THAT(plain.gone(ms(0)), ElementsAre(near(0.15), near(0.15)));
  // The first computes from 0 to 75 ms, the second from 25 to 100 ms, both at half speed from 25
  // on.
  EXPECT_THAT(plain.gone(ms(25)), ElementsAre(near(0.125), near(0.15)));
  EXPECT_THAT(plain.gone(ms(50)), ElementsAre(near(0.1), near(0.15)));
  // Of 50 ms of computing the six tenths that need the core.
  plain.platform.hypervisor.cpu = Ratio(0.6);
  const double both = 0.05 + 0.05 * (0.4 + 0.6 * 0.6 / 0.5);
  EXPECT_THAT(plain.gone(ms(0)), ElementsAre(near(both), near(both)));
}

TEST(ControlContentionTest, changes_of_a_status_have_cores_of_their_own) {
  for (const auto& [status_cpu, seconds] :
       {std::pair{0.0, 0.06}, std::pair{0.5, 0.06}, std::pair{1.0, 0.12}, std::pair{1.5, 0.18}}) {
    PluggedHosts plain(1, 2, 0.5);
    plain.platform.hypervisor.set_status = ms(60);
    plain.platform.hypervisor.status_cpu = Ratio(status_cpu);
    plain.platform.hypervisor.busy = Ratio(0.1);  // of devices
    in_world(plain, [seconds = seconds](World& world) {
      const auto set = [&](VmId which) {
        EXPECT_TRUE(world.hypervisor.set_status(which, Phase::set_pre_migration, never));
        EXPECT_NEAR(seconds_at(world), seconds, 1e-8);
      };
      const auto other = world.executor.spawn("other", [&] { set(vm(1)); });
      set(vm(0));
      other->join();
    });
  }
}

TEST(ControlContentionTest, operations_of_one_guest_need_no_more_together_than_one_alone) {
  PluggedHosts plain(1, 2, 1);
  plain.platform.hypervisor.remove_ivshmem = ms(60);
  for (VmSpec& each : plain.instance.vms) each.ivshmem = Bytes::mebi(64);
  for (HostSpec& each : plain.instance.hosts) each.ivshmem = Bytes::gibi(1);
  in_world(plain, [](World& world) {
    std::vector<std::unique_ptr<Task>> tasks;
    const auto detach = [&](VmId which, DeviceKind kind, double at) {
      tasks.push_back(world.executor.spawn("detach", [&world, which, kind, at] {
        EXPECT_TRUE(world.hypervisor.detach(which, kind, never));
        EXPECT_NEAR(seconds_at(world), at, 1e-8) << which.index << " " << to_name(kind);
      }));
    };
    // Two guests of one core: each has half of it, for one of its devices or for both.
    detach(vm(0), DeviceKind::ivshmem, 0.12);
    detach(vm(0), DeviceKind::virtual_function, 0.2);
    detach(vm(1), DeviceKind::virtual_function, 0.2);
    tasks.clear();
  });
  plain.instance.vms.pop_back();
  in_world(plain, [](World& world) {
    const auto other = world.executor.spawn("other", [&] {
      EXPECT_TRUE(world.hypervisor.detach(vm(0), DeviceKind::ivshmem, never));
      EXPECT_NEAR(seconds_at(world), 0.06, 1e-8);
    });
    EXPECT_TRUE(world.hypervisor.detach(vm(0), DeviceKind::virtual_function, never));
    EXPECT_NEAR(seconds_at(world), 0.1, 1e-8);
    other->join();
  });
}

TEST(ControlContentionTest, what_waits_for_its_turn_takes_no_core) {
  PluggedHosts plain(1, 2, 1);
  plain.platform.hypervisor.serial = Ratio(1);
  EXPECT_THAT(plain.gone(ms(0)),
              testing::ElementsAre(DoubleNear(0.1, 1e-8), DoubleNear(0.2, 1e-8)));
}

TEST(ControlContentionTest, a_detach_that_timed_out_completes_at_its_time) {
  PluggedHosts plain(1, 2, 1);
  in_world(plain, [](World& world) {
    constexpr DeviceKind kind = DeviceKind::virtual_function;
    const auto other = world.executor.spawn(
        "other", [&] { EXPECT_TRUE(world.hypervisor.detach(vm(1), kind, never)); });
    const auto late = world.hypervisor.detach(vm(0), kind, TimePoint::at(ms(150)));
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().reason, "detach_vf of vm0 on host0 did not end in time");
    EXPECT_NEAR(seconds_at(world), 0.15, 1e-8);
    EXPECT_TRUE(world.hypervisor.inspect(vm(0)).virtual_function);
    EXPECT_TRUE(world.hypervisor.await_detached(vm(0), kind, never));
    EXPECT_NEAR(seconds_at(world), 0.2, 1e-8);
    EXPECT_FALSE(world.hypervisor.inspect(vm(0)).virtual_function);
    other->join();
  });
}

TEST(ControlContentionTest, guests_that_open_their_devices_share_the_cores_too) {
  for (const auto& [cores, cpu, seconds] :
       {std::tuple{1U, 1.0, 0.2}, std::tuple{2U, 1.0, 0.1}, std::tuple{2U, 1.5, 0.15},
        std::tuple{2U, 2.0, 0.2}, std::tuple{1U, 0.0, 0.0}}) {
    const PluggedHosts plain(cores, 2, cpu);
    in_world(plain, [seconds = seconds](World& world) {
      const std::array<VmId, 2> both{vm(0), vm(1)};
      EXPECT_EQ(world.processor.occupy(both, ms(100), never).has_value(), seconds > 0);
      EXPECT_NEAR(seconds_at(world), seconds, 1e-8);
    });
  }
}

/// The host of both VMs goes down 60 ms after they were asked to give up their functions.
TEST(ControlContentionTest, who_waits_for_a_host_that_went_down_hears_of_it_later) {
  for (const double cpu : {0.0, 0.4, 1.0}) {
    PluggedHosts plain(1, 2, cpu);
    plain.platform.hypervisor.keepalive = ms(500);
    // A guest that computes gives its core back when it is lost.
    plain.instance.vms[1].vcpus = 1;
    plain.instance.cluster_faults.push_back({.kind = ClusterFaultSpec::Kind::host_down,
                                             .host = host(0),
                                             .from = TimePoint::at(ms(60)),
                                             .until = TimePoint::never()});
    in_world(plain, [](World& world) {
      const auto detach = [&](VmId vm) {
        const auto gone = world.hypervisor.detach(vm, DeviceKind::virtual_function, never);
        ASSERT_FALSE(gone);
        EXPECT_EQ(gone.error().kind, FailureKind::lost);
        EXPECT_NEAR(seconds_at(world), 0.56, 1e-8);
      };
      const auto other = world.executor.spawn("other", [&] { detach(vm(1)); });
      detach(vm(0));
      other->join();
    });
  }
}

/// Then a destination is prepared, which goes down too.
TEST(ControlContentionTest, a_move_whose_destination_goes_down_fails_when_that_is_heard) {
  for (const double cpu : {0.0, 0.4, 1.0}) {
    PluggedHosts plain(1, 1, cpu);
    plain.platform.hypervisor.keepalive = ms(500);
    plain.platform.hypervisor.prepare = ms(400);
    plain.instance.cluster_faults.push_back({.kind = ClusterFaultSpec::Kind::host_down,
                                             .host = host(1),
                                             .from = TimePoint::at(ms(200)),
                                             .until = TimePoint::never()});
    in_world(plain, [](World& world) {
      const Moved moved = move(world, vm(0), host(1));
      EXPECT_NE(moved.reason, "");
      EXPECT_NEAR(moved.seconds, 0.7, 1e-8);
      EXPECT_EQ(world.hypervisor.inspect(vm(0)).host, host(0));
    });
  }
}

TEST(ControlContentionTest, preparing_a_guest_takes_the_cores_of_migrations) {
  const auto both_moved = [](double migration_cpu) {
    PluggedHosts plain(1, 2, 0.5);
    plain.platform.hypervisor.migration_cpu = Ratio(migration_cpu);
    plain.platform.hypervisor.prepare = ms(400);
    return numbers_from_child([&] {
      std::vector<double> ends(2);
      plain.simulate([&](World& world) {
        std::vector<std::unique_ptr<Task>> tasks;
        for (std::uint32_t i = 0; i < 2; ++i) {
          tasks.push_back(world.executor.spawn("move", [&, i] {
            EXPECT_EQ(move(world, vm(i), host(1)).reason, "");
            ends[i] = seconds_at(world);
          }));
        }
        for (const auto& task : tasks) task->join();
      });
      return ends;
    });
  };
  const double unhindered = both_moved(0).front();  // as `cpu`: half of the core for each
  for (const auto& [cpu, longer] :
       {std::pair{0.5, 0.0}, std::pair{1.0, 0.4}, std::pair{1.5, 0.8}, std::pair{0.25, 0.0}}) {
    EXPECT_THAT(both_moved(cpu), testing::Each(DoubleNear(unhindered + longer, 1e-6))) << cpu;
  }
}

/// The guest's ranks compute.
TEST(ControlContentionTest, a_guest_works_on_a_vcpu_that_its_ranks_go_without) {
  for (const auto& [cores, vcpus, ranks, seconds] :
       {std::tuple{1U, 1U, 1U, 0.1}, std::tuple{1U, 2U, 1U, 0.2}, std::tuple{2U, 2U, 1U, 0.1},
        std::tuple{1U, 2U, 2U, 0.2}, std::tuple{2U, 2U, 2U, 0.1}}) {
    PluggedHosts plain(cores, 1, 1);
    plain.instance.vms[0].vcpus = vcpus;
    plain.instance.vms[0].jobs = {JobId{0}};
    plain.instance.jobs.push_back({.name = "job",
                                   .vms = {vm(0)},
                                   .ranks_per_vm = ranks,
                                   .strategy = Strategy::none,
                                   .suspend = Suspend::peers,
                                   .reconnect = Reconnect::lazy,
                                   .next_call = {Duration::zero()}});
    in_world(plain, [seconds = seconds](World& world) {
      world.processor.set_ranks_running(vm(0), true);
      const VmId works = vm(0);
      EXPECT_TRUE(world.processor.occupy({&works, 1}, ms(100), never));
      EXPECT_NEAR(seconds_at(world), seconds, 1e-8);
    });
  }
}

TEST(ControlContentionTest, nobody_waits_for_guests_beyond_a_deadline) {
  const PluggedHosts plain(1, 1, 1);
  in_world(plain, [](World& world) {
    const VmId works = vm(0);
    EXPECT_TRUE(world.processor.occupy({&works, 1}, ms(100), TimePoint::at(ms(30))));
    EXPECT_NEAR(seconds_at(world), 0.03, 1e-8);
    // What nobody waits for any more takes no core.
    EXPECT_TRUE(world.hypervisor.detach(vm(0), DeviceKind::virtual_function, never));
    EXPECT_NEAR(seconds_at(world), 0.13, 1e-8);
  });
}

TEST(ControlContentionTest, a_guest_that_opens_its_device_slows_the_unplug_of_another) {
  const PluggedHosts plain(1, 2, 1);
  in_world(plain, [](World& world) {
    const auto other = world.executor.spawn("other", [&] {
      const VmId opens = vm(1);
      EXPECT_TRUE(world.processor.occupy({&opens, 1}, ms(40), never));
      EXPECT_NEAR(seconds_at(world), 0.08, 1e-8);
    });
    EXPECT_TRUE(world.hypervisor.detach(vm(0), DeviceKind::virtual_function, never));
    EXPECT_NEAR(seconds_at(world), 0.14, 1e-8);
    other->join();
  });
}

TEST(ControlContentionTest, a_migration_begins_and_ends_later_where_others_take_the_core) {
  const auto seconds = [](double cpu) {
    PluggedHosts plain(1, 2, cpu);
    plain.platform.hypervisor.prepare = ms(400);
    plain.platform.hypervisor.finish = ms(40);
    return numbers_from_child([&] {
      std::vector<double> numbers;
      plain.simulate([&](World& world) {
        std::vector<std::unique_ptr<Task>> tasks;
        std::vector<Moved> moved(2);
        for (std::uint32_t i = 0; i < 2; ++i) {
          tasks.push_back(world.executor.spawn("move", [&, i] {
            moved[i] = move(world, vm(i), host(1));
            EXPECT_EQ(moved[i].reason, "");
          }));
        }
        for (const auto& task : tasks) task->join();
        numbers = {moved[0].seconds, moved[0].downtime};
      });
      return numbers;
    });
  };
  const std::vector<double> alone = seconds(0.5);
  const std::vector<double> both = seconds(1);
  // 100 ms of unplugging and 400 ms of preparing, twice as long, and so is the end of 40 ms.
  EXPECT_NEAR(both[0] - alone[0], 0.1 + 0.4 + 0.04, 1e-6);
  EXPECT_NEAR(both[1] - alone[1], 0.04, 1e-6);
}

}  // namespace
}  // namespace ferry
