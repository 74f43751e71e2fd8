#include <memory>
#include <string>
#include <vector>

#include "core/units/check.hpp"
#include "sim_backend/sim_world.hpp"
#include "tests/bench/rotation.hpp"

namespace ferry::bench {
namespace {

class Rounds final : public TransferObserver {
 public:
  void round_done(VmId, const RoundReport& round) override { rounds.push_back(round); }
  std::vector<RoundReport> rounds;
};

/// All seven phases of one VM.
void move(World& world, VmId vm, HostId to) {
  constexpr TimePoint never = TimePoint::never();
  Hypervisor& hypervisor = world.hypervisor;
  const auto done = [](const auto& result) { check(result.has_value(), "every phase succeeds"); };
  done(hypervisor.set_status(vm, Phase::set_pre_migration, never));
  done(hypervisor.detach(vm, DeviceKind::virtual_function, never));
  done(hypervisor.detach(vm, DeviceKind::ivshmem, never));
  Rounds rounds;
  const TransferOptions options{.transport = Transport::tcp,
                                .mode = MemoryMode::precopy,
                                .downtime_limit = Duration::milliseconds(30),
                                .max_rounds = 1000};
  done(hypervisor.migrate(vm, to, options, rounds, never));
  done(hypervisor.attach(vm, DeviceKind::virtual_function, never));
  done(hypervisor.attach(vm, DeviceKind::ivshmem, never));
  done(hypervisor.set_status(vm, Phase::set_post_migration, never));
}

}  // namespace

Measured rotate_with_ferry(const Rotation& rotation) {
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
      spec.dirty_rate = Bandwidth::bytes_per_second(rotation.dirty_bytes_per_second);
      spec.ivshmem = Bytes::mebi(64);
      instance.vms.push_back(spec);
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
        .pin_per_gib = Duration::zero()};
    const SimStatistics statistics =
        run_simulated(instance, platform, SimOptions{}, [&](World& world) {
          std::vector<std::unique_ptr<Task>> tasks;
          for (std::uint32_t i = 0; i < rotation.vms.size(); ++i) {
            tasks.push_back(world.executor.spawn(instance.vms[i].name, [&world, &rotation, i] {
              const RotatingVm& vm = rotation.vms[i];
              world.clock.sleep_until(TimePoint::at(Duration::seconds(vm.start_seconds)));
              move(world, VmId{i}, HostId{vm.to});
            }));
          }
          for (const auto& task : tasks) task->join();
        });
    measured.figure = statistics.end.to_seconds();
    measured.count = static_cast<double>(statistics.flows);
  });
  return measured;
}

}  // namespace ferry::bench
