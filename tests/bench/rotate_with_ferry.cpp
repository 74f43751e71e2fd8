#include <string>

#include "controller/session.hpp"
#include "core/record/journal_file.hpp"
#include "core/record/tables.hpp"
#include "core/units/check.hpp"
#include "sim_backend/sim_world.hpp"
#include "tests/bench/rotation.hpp"

namespace ferry::bench {

/// What `ferry run` does between a read scenario and its folder: plan, world, session, tables.
Measured rotate_with_ferry(const Rotation& rotation, const FerrySettings& settings) {
  Measured measured;
  measured.seconds = seconds_of([&] {
    Instance instance;
    for (std::uint32_t i = 0; i < rotation.hosts; ++i) {
      instance.hosts.push_back({.name = "host" + std::to_string(i),
                                .cores = 16,
                                .memory = Bytes::gibi(64),
                                .virtual_functions = 32,
                                .ivshmem = Bytes::gibi(8)});
    }
    for (const RotatingVm& vm : rotation.vms) {
      VmSpec spec;
      spec.name = "vm" + std::to_string(instance.vms.size());
      spec.host = HostId{vm.from};
      spec.memory = Bytes::mebi(vm.memory_mebibytes);
      spec.working_set = spec.memory * 0.9;
      spec.idle_dirty_rate = Bandwidth::bytes_per_second(rotation.dirty_bytes_per_second);
      spec.ivshmem = Bytes::mebi(64);
      MoveSpec move;
      move.migration = "rotate";
      move.vm = VmId{static_cast<std::uint32_t>(instance.vms.size())};
      move.candidates = HostList({HostId{vm.to}});
      move.at.at = Duration::seconds(vm.start_seconds);
      move.transfer = {.transport = Transport::tcp,
                       .mode = MemoryMode::precopy,
                       .downtime_limit = Duration::milliseconds(30),
                       .max_rounds = 1000};
      instance.vms.push_back(spec);
      instance.moves.push_back(move);
    }
    const Bandwidth link = Bandwidth::bytes_per_second(rotation.link_bytes_per_second);
    instance.networks.push_back({.name = "ethernet",
                                 .topology = Star{},
                                 .link = {.bandwidth = link, .latency = Duration::zero()},
                                 .carries = {Transport::tcp}});
    Platform platform;
    platform.streams.fill({.bandwidth = Bandwidth::unlimited()});
    // Phases take time, and a different one for each VM's memory.
    platform.hypervisor = {
        .prepare = Duration::milliseconds(200),
        .finish = Duration::milliseconds(20),
        .clean_up = Duration::milliseconds(10),
        .serial = Ratio(0.1),
        .set_status = Duration::milliseconds(5),
        .detach_vf = Duration::milliseconds(300),
        .attach_vf = {.fixed = Duration::milliseconds(500), .per_gib = Duration::milliseconds(50)},
        .remove_ivshmem = Duration::milliseconds(50),
        .add_ivshmem = Duration::milliseconds(60),
        .pin_per_gib = Duration::zero(),
        .postcopy_switch = Duration::zero()};
    Scenario scenario;
    scenario.platform = platform;
    scenario.schedule.limits = settings.limits;
    scenario.schedule.order = settings.order;
    const auto plan = make_plan(scenario, instance);
    check(plan.has_value(), "every VM has a place");
    if (settings.plan_only) {
      measured.figure = plan->predicted_makespan.to_seconds();
      measured.count = static_cast<double>(plan->schedules_compared);
      return;
    }
    RunRecords records;
    MemoryJournal journal;
    const SimStatistics statistics =
        run_simulated(instance, platform, SimOptions{}, [&](World& world) {
          Session(world, scenario, instance, *plan, journal, records, {}).run();
        });
    const std::vector<MoveAccount> accounts = account_moves(records);
    for (const MoveAccount& account : accounts) {
      check(account.move->outcome == Outcome::completed, "every move completes");
    }
    const std::size_t written = spans_csv(records, instance).size() +
                                rounds_csv(records, instance).size() +
                                migrations_csv(accounts, instance).size() +
                                summary_csv(summarise(records, accounts, {})).size();
    check(written > 0, "the tables have rows");
    measured.figure = statistics.end.to_seconds();
    measured.count = static_cast<double>(statistics.flows);
  });
  return measured;
}

}  // namespace ferry::bench
