#include "sim_backend/flows.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/ports/world_error.hpp"
#include "sim_backend/sim_executor.hpp"
#include "tests/unit/sim_backend/child.hpp"

namespace ferry {
namespace {

constexpr TimePoint never = TimePoint::never();
constexpr NetworkId network{0};

Duration seconds(double value) { return Duration::seconds(value); }
TimePoint at(double value) { return TimePoint::at(seconds(value)); }

struct Lab {
  Scheduler scheduler;
  SimClock clock{scheduler};
  SimExecutor executor{scheduler};
  Flows flows;
  std::vector<double> noted;

  Lab(const Instance& instance, const SimOptions& options) : flows(scheduler, instance, options) {}
  [[nodiscard]] double now() const { return scheduler.now().to_seconds(); }
  void note() { noted.push_back(now()); }
  /// A task that sends `bytes` from `start` on and notes when it was through.
  std::unique_ptr<Task> sender(double start, HostId from, HostId to, std::uint64_t bytes,
                               Bandwidth limit = Bandwidth::unlimited()) {
    return executor.spawn("sender", [=, this] {
      clock.sleep_until(at(start));
      Flows::Stream stream(flows, {network, from, to, limit});
      stream.send(Bytes(bytes), never);
      note();
    });
  }
};

/// What `body` noted in a lab of its own (and process of its own).
std::vector<double> in_lab(const Instance& instance, const std::function<void(Lab&)>& body,
                           bool crosstraffic = false) {
  return numbers_from_child([&] {
    const SimOptions options{.seed = 1, .crosstraffic = crosstraffic, .between_steps = {}};
    Lab lab(instance, options);
    const auto first = lab.scheduler.spawn("first", [&] { body(lab); });
    lab.flows.run();
    return lab.noted;
  });
}

Instance star(std::uint32_t hosts) { return PlainWorld(hosts).instance; }

void expect_near(const std::vector<double>& got, const std::vector<double>& expected,
                 double tolerance = 1e-8) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], tolerance) << i;
}

TEST(FlowsTest, one_flow_takes_its_bytes_over_the_links_bandwidth) {
  expect_near(in_lab(star(2), [](Lab& lab) { lab.sender(1, HostId{0}, HostId{1}, 2'000'000'000); }),
              {3.0});
}

TEST(FlowsTest, flows_that_share_a_link_get_equal_shares_and_directions_do_not_disturb_each_other) {
  expect_near(in_lab(star(4),
                     [](Lab& lab) {
                       const auto a = lab.sender(0, HostId{0}, HostId{3}, 1'000'000'000);
                       const auto b = lab.sender(0, HostId{1}, HostId{3}, 2'000'000'000);
                       const auto back = lab.sender(0, HostId{3}, HostId{0}, 1'000'000'000);
                       a->join();
                       b->join();
                       back->join();
                     }),
              {1.0, 2.0, 3.0});
}

TEST(FlowsTest, what_a_limited_flow_leaves_goes_to_the_others) {
  expect_near(in_lab(star(3),
                     [](Lab& lab) {
                       const auto a = lab.sender(0, HostId{0}, HostId{2}, 1'600'000'000,
                                                 Bandwidth::bytes_per_second(2e8));
                       const auto b = lab.sender(0, HostId{1}, HostId{2}, 1'600'000'000);
                       a->join();
                       b->join();
                     }),
              {2.0, 8.0});
}

TEST(FlowsTest, crosstraffic_slows_a_flow_by_the_acknowledgements_of_the_other_way) {
  const auto both_ways = [](Lab& lab) {
    const auto a = lab.sender(0, HostId{0}, HostId{1}, 1'000'000'000);
    const auto b = lab.sender(0, HostId{1}, HostId{0}, 1'000'000'000);
    a->join();
    b->join();
  };
  expect_near(in_lab(star(2), both_ways), {1.0, 1.0});
  expect_near(in_lab(star(2), both_ways, true), {1.05, 1.05}, 1e-6);
}

TEST(FlowsTest, parts_of_a_stream_take_as_long_as_one_flow_of_their_sum) {
  const auto others = [](Lab& lab) {
    std::vector<std::unique_ptr<Task>> tasks;
    for (std::uint32_t i = 0; i < 5; ++i) {
      tasks.push_back(lab.sender(0.3 * i, HostId{i % 2}, HostId{3}, 200'000'000 + 77'000'000U * i));
    }
    return tasks;
  };
  const auto in_parts = in_lab(star(4), [&](Lab& lab) {
    const auto tasks = others(lab);
    Flows::Stream stream(lab.flows, {network, HostId{2}, HostId{3}});
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(stream.send(Bytes(50'000'000), never).bytes, Bytes(50'000'000));
    }
    lab.noted.insert(lab.noted.begin(), lab.now());
  });
  const auto at_once = in_lab(star(4), [&](Lab& lab) {
    const auto tasks = others(lab);
    Flows::Stream stream(lab.flows, {network, HostId{2}, HostId{3}});
    stream.send(Bytes(1'000'000'000), never);
    lab.noted.insert(lab.noted.begin(), lab.now());
  });
  expect_near(in_parts, at_once, 1e-7);
  EXPECT_EQ(in_parts.size(), 6U);
}

TEST(FlowsTest, a_stream_that_pauses_leaves_its_share_to_others_meanwhile) {
  expect_near(in_lab(star(3),
                     [](Lab& lab) {
                       const auto other = lab.sender(0, HostId{1}, HostId{2}, 2'000'000'000);
                       Flows::Stream stream(lab.flows, {network, HostId{0}, HostId{2}});
                       stream.send(Bytes(500'000'000), never);  // at half speed: 1 s
                       lab.note();
                       lab.clock.sleep_until(at(2));            // the other one sends 1e9
                       stream.send(Bytes(100'000'000), never);  // at half speed again
                       lab.note();
                       other->join();  // 2e9 = 0.5e9 + 1e9 + 0.1e9 + 0.4e9
                     }),
              {1.0, 2.2, 2.6});
}

TEST(FlowsTest, the_share_at_the_end_of_a_part_is_reported) {
  expect_near(in_lab(star(3),
                     [](Lab& lab) {
                       const auto other = lab.sender(0, HostId{1}, HostId{2}, 1'000'000'000);
                       Flows::Stream stream(lab.flows, {network, HostId{0}, HostId{2}});
                       const auto rate = [&](std::uint64_t bytes) {
                         return stream.send(Bytes(bytes), never).rate.to_bytes_per_second();
                       };
                       lab.noted.push_back(rate(500'000'000));
                       lab.noted.push_back(rate(600'000'000));
                       other->join();
                     }),
              {5e8, 2.0, 1e9}, 1e-3);
}

TEST(FlowsTest, a_deadline_stops_a_flow_and_says_how_far_it_came) {
  expect_near(in_lab(star(3),
                     [](Lab& lab) {
                       const auto other = lab.sender(0, HostId{1}, HostId{2}, 2'000'000'000);
                       {
                         Flows::Stream stream(lab.flows, {network, HostId{0}, HostId{2}});
                         const FlowEnd end = stream.send(Bytes(5'000'000'000), at(1.5));
                         EXPECT_EQ(end.outcome, FlowOutcome::timed_out);
                         lab.noted.push_back(static_cast<double>(end.bytes.count()));
                       }
                       other->join();  // 0.75e9 at half speed, the rest alone
                     }),
              {0.75e9, 2.75}, 1.0);
}

TEST(FlowsTest, cancellation_stops_a_flow_at_once_although_our_clock_ran_ahead_of_the_engines) {
  expect_near(in_lab(star(3),
                     [](Lab& lab) {
                       const auto other = lab.sender(0, HostId{1}, HostId{2}, 2'000'000'000);
                       const auto victim = lab.executor.spawn("victim", [&lab] {
                         Flows::Stream stream(lab.flows, {network, HostId{0}, HostId{2}});
                         const FlowEnd end = stream.send(Bytes(5'000'000'000), never);
                         EXPECT_EQ(end.outcome, FlowOutcome::cancelled);
                         lab.noted.push_back(static_cast<double>(end.bytes.count()) * 1e-9);
                       });
                       // Many local events that the engine need not know of.
                       for (int i = 1; i <= 1000; ++i) lab.clock.sleep_until(at(0.001 * i));
                       victim->cancel();
                       victim->join();
                       lab.note();
                       other->join();
                     }),
              {0.5, 1.0, 2.5}, 1e-6);
}

TEST(FlowsTest, flows_start_on_time_although_our_clock_ran_ahead_of_the_engines) {
  expect_near(in_lab(star(4),
                     [](Lab& lab) {
                       const auto a = lab.sender(0, HostId{0}, HostId{3}, 2'000'000'000);
                       for (int i = 1; i <= 500; ++i) lab.clock.sleep_until(at(0.002 * i));
                       const auto b = lab.sender(1, HostId{1}, HostId{3}, 500'000'000);
                       a->join();
                       b->join();
                     }),
              {2.0, 2.5});
}

TEST(FlowsTest, local_events_need_no_step_of_the_engine_while_no_flow_can_end) {
  const auto steps = in_lab(star(2), [](Lab& lab) {
    const auto a = lab.sender(0, HostId{0}, HostId{1}, 1'000'000'000);
    for (int i = 1; i < 10'000; ++i) lab.clock.sleep_until(at(1e-4 * i));
    a->join();
    lab.noted.push_back(static_cast<double>(lab.flows.engine_steps()));
  });
  EXPECT_LT(steps.back(), 10);
}

TEST(FlowsTest, a_flow_in_the_background_tells_when_it_is_through_and_stops_when_dropped) {
  expect_near(in_lab(star(3),
                     [](Lab& lab) {
                       const Path path{network, HostId{0}, HostId{2}};
                       const auto done =
                           lab.flows.start(path, Bytes(1'000'000'000), [&lab] { lab.note(); });
                       auto dropped =
                           lab.flows.start(path, Bytes(9'000'000'000), [&lab] { lab.note(); });
                       EXPECT_EQ(lab.flows.flows_out(network, HostId{0}), 2U);
                       EXPECT_EQ(lab.flows.flows_in(network, HostId{2}), 2U);
                       lab.clock.sleep_until(at(1));
                       dropped = nullptr;  // the other one has 0.5e9 to go
                       EXPECT_EQ(lab.flows.flows_out(network, HostId{0}), 1U);
                       lab.clock.sleep_until(at(5));
                     }),
              {1.5});
}

// --- What links carried ---

/// The MB that one link carried in each of four intervals of half a second; the run takes 2 s, so
/// that meters have 64 intervals of 32 ms: they are summed up.
std::vector<double> megabytes(const LinkUsage& usage, const std::string& name) {
  std::vector<double> sums(4);
  for (const LinkUsage::Link& link : usage.links) {
    if (link.name != name) continue;
    double time = usage.interval.to_seconds() / 2;  // the middle
    for (const Bytes bytes : link.carried) {
      const auto part = static_cast<std::size_t>(time / 0.512);
      if (part < sums.size()) sums[part] += static_cast<double>(bytes.count()) / 1e6;
      time += usage.interval.to_seconds();
    }
  }
  return sums;
}

std::vector<double> metered(const std::vector<std::string>& links,
                            const std::function<void(Lab&)>& body, bool with_meters = true) {
  return numbers_from_child([&] {
    SimOptions options;
    options.link_usage = with_meters;
    const Instance instance = star(4);
    Lab lab(instance, options);
    const auto first = lab.scheduler.spawn("first", [&] { body(lab); });
    lab.flows.run();
    const LinkUsage usage = lab.flows.link_usage();
    for (const std::string& link : links) {
      for (const double sum : megabytes(usage, link)) lab.noted.push_back(sum);
    }
    return lab.noted;
  });
}

TEST(FlowsTest, meters_follow_the_shares_of_flows_as_they_change) {
  // Two flows into host3: 0.256 GB each until 0.512 s, then the first goes on alone.
  const auto body = [](Lab& lab) {
    const auto a = lab.sender(0, HostId{0}, HostId{3}, 768'000'000);
    const auto b = lab.sender(0, HostId{1}, HostId{3}, 256'000'000);
    a->join();
    b->join();
    lab.clock.sleep_until(at(2.1));
  };
  expect_near(metered({"host0 out", "host1 out", "host3 in", "host2 in"}, body),
              {0.512, 1.024,                  // ends
               256, 512, 0, 0, 256, 0, 0, 0,  // out of host0, out of host1
               512, 512, 0, 0, 0, 0, 0, 0},
              0.1);
}

TEST(FlowsTest, meters_know_when_a_flow_sent_what_although_the_engine_takes_one_step) {
  const auto body = [](Lab& lab) {
    const auto alone = lab.sender(0, HostId{0}, HostId{3}, 777'000'000);
    alone->join();
    lab.clock.sleep_until(at(2.1));
  };
  expect_near(metered({"host0 out", "host3 in"}, body), {0.777, 512, 265, 0, 0, 512, 265, 0, 0},
              0.001);
}

TEST(FlowsTest, meters_count_what_a_stopped_flow_had_sent_although_our_clock_ran_ahead) {
  const auto body = [](Lab& lab) {
    {
      Flows::Stream stream(lab.flows, {network, HostId{0}, HostId{3}});
      stream.send(Bytes(9'000'000'000), at(0.768));
    }
    lab.clock.sleep_until(at(2.1));
  };
  expect_near(metered({"host0 out", "host3 in"}, body), {512, 256, 0, 0, 512, 256, 0, 0}, 0.1);
}

TEST(FlowsTest, a_run_with_meters_is_the_run_without) {
  const auto body = [](Lab& lab) {
    std::vector<std::unique_ptr<Task>> tasks;
    for (std::uint32_t i = 0; i < 30; ++i) {
      tasks.push_back(lab.sender(0.013 * i, HostId{i % 3}, HostId{(i % 3 + 1 + i % 2) % 4},
                                 10'000'001 + 7'000'003U * i));
    }
    Flows::Stream stream(lab.flows, {network, HostId{2}, HostId{3}});
    for (std::uint32_t i = 1; i < 20; ++i) {
      stream.send(Bytes(3'333'333U * i), at(0.05 * i));
      lab.note();
    }
    for (const auto& task : tasks) task->join();
  };
  const auto without = metered({}, body, false);
  EXPECT_EQ(without.size(), 49U);
  EXPECT_EQ(metered({}, body, true), without);
}

// --- Topologies ---

Instance with_topology(std::uint32_t hosts, NetworkTopology topology) {
  Instance instance = star(hosts);
  instance.networks[0].topology = topology;
  instance.networks[0].link.latency = Duration::microseconds(1);
  return instance;
}

TEST(TopologyTest, latency_is_the_sum_over_the_links_of_the_path) {
  const auto microseconds = [](const NetworkTopology& topology, std::uint32_t hosts,
                               std::uint32_t to) {
    return in_lab(with_topology(hosts, topology),
                  [=](Lab& lab) {
                    lab.noted.push_back(
                        static_cast<double>(
                            lab.flows.latency(network, HostId{0}, HostId{to}).count_nanoseconds()) /
                        1000);
                  })
        .at(0);
  };
  EXPECT_EQ(microseconds(Star{}, 4, 3), 2);
  EXPECT_EQ(microseconds(Star{}, 4, 0), 0);
  const FatTree tree{.hosts_per_leaf = 4, .spines = 2};
  EXPECT_EQ(microseconds(tree, 8, 3), 2);  // the same leaf
  EXPECT_EQ(microseconds(tree, 8, 4), 4);  // through a spine
  const Dragonfly fly{.groups = 2, .chassis = 2, .routers = 2, .hosts_per_router = 2};
  EXPECT_EQ(microseconds(fly, 16, 1), 2);  // the same router
  EXPECT_GT(microseconds(fly, 16, 15), 2);
}

TEST(TopologyTest, a_fat_trees_leaves_share_their_uplinks_and_hosts_of_one_leaf_do_not) {
  // Two leaves of four hosts with one spine: four flows across share one uplink.
  const FatTree tree{.hosts_per_leaf = 4, .spines = 1};
  const auto times = [&](std::uint32_t offset) {
    return in_lab(with_topology(8, tree), [=](Lab& lab) {
      std::vector<std::unique_ptr<Task>> tasks;
      for (std::uint32_t i = 0; i < 4; ++i) {
        const std::uint32_t to = offset == 4 ? i + 4 : (i + 1) % 4;
        tasks.push_back(lab.sender(0, HostId{i}, HostId{to}, 1'000'000'000));
      }
      for (const auto& task : tasks) task->join();
    });
  };
  expect_near(times(4), {4, 4, 4, 4}, 1e-6);
  expect_near(times(1), {1, 1, 1, 1}, 1e-6);
}

TEST(TopologyTest, every_pair_of_a_topology_with_spare_places_is_connected) {
  struct Case {
    NetworkTopology topology;
    std::uint32_t hosts;
  };
  for (const Case& c :
       {Case{FatTree{.hosts_per_leaf = 4, .spines = 3}, 10},
        Case{FatTree{.hosts_per_leaf = 16, .spines = 8}, 5}, Case{Dragonfly{3, 2, 3, 2}, 35},
        Case{Dragonfly{1, 1, 1, 8}, 5}, Case{Dragonfly{4, 1, 4, 1}, 16}}) {
    const auto ends = in_lab(with_topology(c.hosts, c.topology), [&](Lab& lab) {
      for (std::uint32_t from = 0; from < c.hosts; ++from) {
        for (std::uint32_t to = 0; to < c.hosts; ++to) {
          if (from == to) continue;
          Flows::Stream stream(lab.flows, {network, HostId{from}, HostId{to}});
          stream.send(Bytes(1'000'000), never);
        }
      }
      lab.note();
    });
    expect_near(ends, {1e-3 * c.hosts * (c.hosts - 1)}, 1e-4);
  }
}

TEST(TopologyTest, meters_know_the_routes_that_the_engine_takes) {
  // Many flows at once: the fair shares of the engine fill no link beyond its bandwidth, and some
  // to the brim. Were a route another one, a link would carry more than it can.
  for (const NetworkTopology& topology :
       {NetworkTopology(FatTree{.hosts_per_leaf = 4, .spines = 3}),
        NetworkTopology(Dragonfly{3, 2, 3, 2}), NetworkTopology(Star{})}) {
    const auto rates = numbers_from_child([&] {
      SimOptions options;
      options.link_usage = true;
      const Instance instance = with_topology(36, topology);
      Lab lab(instance, options);
      const auto first = lab.scheduler.spawn("first", [&] {
        std::vector<std::unique_ptr<Flows::Background>> flows;
        for (std::uint32_t i = 0; i < 36; ++i) {
          for (const std::uint32_t offset : {1U, 5U, 16U, 30U}) {
            const Path path{network, HostId{i}, HostId{(i * 7 + offset) % 36}};
            if (path.from == path.to) continue;
            flows.push_back(lab.flows.start(path, Bytes(9'000'000'000), [] {}));
          }
        }
        lab.clock.sleep_until(at(1));
      });
      lab.flows.run();
      std::vector<double> sent;
      for (const LinkUsage::Link& link : lab.flows.link_usage().links) {
        double sum = 0;
        for (const Bytes bytes : link.carried) sum += static_cast<double>(bytes.count());
        sent.push_back(sum);
      }
      return sent;
    });
    ASSERT_FALSE(rates.empty());
    EXPECT_NEAR(*std::max_element(rates.begin(), rates.end()), 1e9, 1e4);
  }
}

TEST(TopologyTest, a_dragonfly_that_cannot_be_built_is_explained) {
  const auto message = [](const Dragonfly& fly, std::uint32_t hosts) {
    return text_from_child([&]() -> std::string {
      Scheduler scheduler;
      const SimOptions options;
      try {
        const Flows flows(scheduler, with_topology(hosts, fly), options);
      } catch (const WorldError& error) {
        return error.what();
      }
      return "no error";
    });
  };
  EXPECT_EQ(
      message({2, 1, 2, 2}, 9),
      "network 'network': its dragonfly has 8 places for 9 hosts; raise groups, chassis, routers "
      "or hosts_per_router");
  EXPECT_EQ(
      message({4, 2, 3, 2}, 9),
      "network 'network': its dragonfly has 4 groups but only 3 routers in a chassis, and needs "
      "one router of each chassis for each group; raise routers or lower groups");
  EXPECT_EQ(message({4, 2, 4, 2}, 9), "no error");
}

TEST(TopologyTest, networks_do_not_disturb_each_other) {
  Instance instance = star(2);
  instance.networks.push_back(instance.networks[0]);
  instance.networks[0].carries = {Transport::tcp};
  instance.networks[1].carries = {Transport::rdma};
  expect_near(in_lab(instance,
                     [](Lab& lab) {
                       EXPECT_FALSE(lab.flows.network_for(Transport::ipoib));
                       const auto task = lab.sender(0, HostId{0}, HostId{1}, 1'000'000'000);
                       Flows::Stream stream(lab.flows, {*lab.flows.network_for(Transport::rdma),
                                                        HostId{0}, HostId{1}});
                       stream.send(Bytes(2'000'000'000), never);
                       lab.note();
                       task->join();
                     }),
              {1.0, 2.0});
}

}  // namespace
}  // namespace ferry
