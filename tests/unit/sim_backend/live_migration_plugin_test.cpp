// The same VMs through SimGrid's own live-migration plugin: where the models coincide (no phases,
// no costs of the hypervisor, its fixed downtime limit of 0.03 s, equal links and settings), total
// times agree within 1 %.
#include <gtest/gtest.h>
#include <simgrid/plugins/live_migration.h>
#include <simgrid/vm.h>

#include <memory>
#include <simgrid/s4u.hpp>
#include <simgrid/s4u/VirtualMachine.hpp>
#include <string>
#include <vector>

#include "tests/unit/sim_backend/child.hpp"

namespace ferry {
namespace {

namespace s4u = simgrid::s4u;

constexpr double link = 1.25e9;
constexpr double host_speed = 1e9;

struct CheckedVm {
  std::uint32_t from;
  std::uint32_t to;
  std::uint64_t mebibytes;
  double start;
};

struct Case {
  std::string name;
  std::uint32_t hosts;
  double dirty_rate;  // bytes a second
  std::vector<CheckedVm> vms;
};

/// Total seconds of each VM.
std::vector<double> with_plugin(const Case& c) {
  std::vector<std::string> words = {"test", "--log=root.threshold:error",
                                    "--cfg=network/model:CM02", "--cfg=network/crosstraffic:0"};
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  int count = static_cast<int>(arguments.size());
  arguments.push_back(nullptr);
  s4u::Engine engine(&count, arguments.data());
  s4u::NetZone* const zone = s4u::create_star_zone("star");
  std::vector<s4u::Host*> hosts;
  for (std::uint32_t i = 0; i < c.hosts; ++i) {
    hosts.push_back(
        zone->create_host("host" + std::to_string(i), host_speed)->set_core_count(64)->seal());
    s4u::Link* const up_and_down =
        zone->create_split_duplex_link("link" + std::to_string(i), link)->set_latency(0)->seal();
    zone->add_route(hosts[i]->get_netpoint(), nullptr, nullptr, nullptr,
                    {{up_and_down, s4u::LinkInRoute::Direction::UP}}, true);
  }
  zone->seal();
  sg_vm_live_migration_plugin_init();
  std::vector<double> totals(c.vms.size());
  for (std::size_t i = 0; i < c.vms.size(); ++i) {
    s4u::Actor::create("mover", hosts[c.vms[i].from], [&, i] {
      const CheckedVm& vm = c.vms[i];
      sg_vm_t guest = sg_vm_create_migratable(hosts[vm.from], ("vm" + std::to_string(i)).c_str(), 1,
                                              static_cast<int>(vm.mebibytes), 0, 0);
      sg_vm_start(guest);
      s4u::ExecPtr work;
      if (c.dirty_rate > 0) {
        // (speed x intensity / host speed) bytes for each flop that the guest computes
        sg_vm_set_migration_speed(guest, link);
        sg_vm_set_dirty_page_intensity(guest, c.dirty_rate / link);
        work = s4u::this_actor::exec_init(1e15)->set_host(guest);
        work->start();
      }
      s4u::this_actor::sleep_for(vm.start);
      sg_vm_migrate(guest, hosts[vm.to]);
      totals[i] = s4u::Engine::get_clock() - vm.start;
      if (work != nullptr) work->cancel();
      sg_vm_destroy(guest);
    });
  }
  engine.run();
  return totals;
}

std::vector<double> with_ferry(const Case& c) {
  PlainWorld plain(c.hosts);
  plain.instance.networks[0].link.bandwidth = Bandwidth::bytes_per_second(link);
  for (const CheckedVm& vm : c.vms) {
    VmSpec& spec = plain.add_vm(HostId{vm.from}, Bytes::mebi(vm.mebibytes));
    spec.virtual_function = false;
    spec.working_set = spec.memory * 0.9;  // the plugin's
    spec.dirty_rate = Bandwidth::bytes_per_second(c.dirty_rate);
  }
  class Silent final : public TransferObserver {
    void round_done(VmId, const RoundReport&) override {}
  } silent;
  std::vector<double> totals(c.vms.size());
  plain.simulate([&](World& world) {
    std::vector<std::unique_ptr<Task>> tasks;
    for (std::uint32_t i = 0; i < c.vms.size(); ++i) {
      tasks.push_back(world.executor.spawn("move", [&, i] {
        world.clock.sleep_until(TimePoint::at(Duration::seconds(c.vms[i].start)));
        const TransferOptions options{.downtime_limit = Duration::milliseconds(30),
                                      .max_rounds = 1000};
        const auto moved = world.hypervisor.migrate(VmId{i}, HostId{c.vms[i].to}, options, silent,
                                                    TimePoint::never());
        ASSERT_TRUE(moved);
        totals[i] = seconds_at(world) - c.vms[i].start;
      }));
    }
  });
  return totals;
}

/// Four VMs on each of four hosts that move on by one, of different size and not at the same time.
std::vector<CheckedVm> rotation() {
  std::vector<CheckedVm> vms;
  for (std::uint32_t i = 0; i < 16; ++i) {
    vms.push_back({i % 4, (i + 1) % 4, 1024 + 61 * i, 0.1 * ((i * 7) % 16)});
  }
  return vms;
}

class LiveMigrationPlugin : public testing::TestWithParam<Case> {};

TEST_P(LiveMigrationPlugin, total_times_agree_within_one_percent) {
  const std::vector<double> ours = numbers_from_child([] { return with_ferry(GetParam()); });
  const std::vector<double> peers = numbers_from_child([] { return with_plugin(GetParam()); });
  ASSERT_EQ(ours.size(), GetParam().vms.size());
  ASSERT_EQ(peers.size(), ours.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    EXPECT_GT(ours[i], 0.5);
    EXPECT_NEAR(ours[i], peers[i], 0.01 * peers[i]) << "vm" << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Loads, LiveMigrationPlugin,
    testing::Values(Case{"one_idle_vm", 2, 0, {{0, 1, 2048, 0}}},
                    Case{"one_vm_dirtying_40_MBs", 2, 40e6, {{0, 1, 2048, 0}}},
                    Case{"two_on_one_link", 3, 0, {{0, 2, 2048, 0}, {1, 2, 1024, 0}}},
                    Case{"two_dirtying_on_one_link", 3, 20e6, {{0, 2, 2048, 0}, {1, 2, 1500, 0.5}}},
                    Case{"rotation", 4, 0, rotation()},
                    Case{"rotation_dirtying_10_MBs", 4, 10e6, rotation()}),
    [](const auto& load) { return load.param.name; });

}  // namespace
}  // namespace ferry
