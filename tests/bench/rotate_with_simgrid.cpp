// The peers: SimGrid's own plugin, and plain S4U communications.
#include <simgrid/plugins/live_migration.h>
#include <simgrid/vm.h>

#include <algorithm>
#include <memory>
#include <simgrid/s4u.hpp>
#include <simgrid/s4u/VirtualMachine.hpp>
#include <string>
#include <vector>

#include "tests/bench/rotation.hpp"

namespace ferry::bench {
namespace {

namespace s4u = simgrid::s4u;

constexpr double host_speed = 1e9;
/// The plugin's, which has no way to set it.
constexpr double plugin_downtime_seconds = 0.03;

struct Star {
  std::unique_ptr<s4u::Engine> engine;
  std::vector<s4u::Host*> hosts;
};

Star make_star(const Rotation& rotation, bool default_network = false) {
  std::vector<std::string> words = {"bench", "--log=root.threshold:error",
                                    "--cfg=network/crosstraffic:0"};
  if (!default_network) words.emplace_back("--cfg=network/model:CM02");  // as our engine
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  int count = static_cast<int>(arguments.size());
  arguments.push_back(nullptr);
  Star star{std::make_unique<s4u::Engine>(&count, arguments.data()), {}};
  s4u::NetZone* const zone = s4u::create_star_zone("star");
  for (std::uint32_t i = 0; i < rotation.hosts; ++i) {
    s4u::Host* const host = zone->create_host("host" + std::to_string(i), host_speed);
    host->set_core_count(16)->seal();
    s4u::Link* const link =
        zone->create_split_duplex_link("link" + std::to_string(i), rotation.link_bytes_per_second)
            ->set_latency(default_network ? 2e-6 : 0)
            ->seal();
    zone->add_route(host->get_netpoint(), nullptr, nullptr, nullptr,
                    {{link, s4u::LinkInRoute::Direction::UP}}, true);
    star.hosts.push_back(host);
  }
  zone->seal();
  return star;
}

}  // namespace

Measured rotate_with_plugin(const Rotation& rotation, const PluginSettings& settings) {
  Measured measured;
  measured.seconds = seconds_of([&] {
    const Star star = make_star(rotation, settings.default_network);
    sg_vm_live_migration_plugin_init();
    double last = 0;
    for (std::size_t i = 0; i < rotation.vms.size(); ++i) {
      const RotatingVm& vm = rotation.vms[i];
      s4u::Actor::create("mover" + std::to_string(i), star.hosts[vm.from], [&, i] {
        const std::string name = "vm" + std::to_string(i);
        // It dirties (speed x intensity / host speed) bytes for each flop that the guest computes.
        sg_vm_t guest = sg_vm_create_migratable(star.hosts[vm.from], name.c_str(), 1,
                                                static_cast<int>(vm.memory_mebibytes), 0, 0);
        sg_vm_start(guest);
        s4u::ExecPtr work;
        s4u::ActorPtr worker;
        if (rotation.dirty_bytes_per_second > 0) {
          sg_vm_set_migration_speed(guest, rotation.link_bytes_per_second);
          sg_vm_set_dirty_page_intensity(
              guest, rotation.dirty_bytes_per_second / rotation.link_bytes_per_second);
          if (settings.task_seconds > 0) {
            // Tasks of slightly different lengths: lock-step guests would flatter the engine.
            const double flops =
                host_speed * settings.task_seconds * (1 + 1e-4 * static_cast<double>(i));
            worker = s4u::Actor::create("worker", static_cast<s4u::Host*>(guest), [flops] {
              for (;;) s4u::this_actor::execute(flops);
            });
          } else {
            work = s4u::this_actor::exec_init(1e15)->set_host(guest);
            work->start();
          }
        }
        s4u::this_actor::sleep_for(vm.start_seconds);
        sg_vm_migrate(guest, star.hosts[vm.to]);
        last = std::max(last, s4u::Engine::get_clock());
        if (work != nullptr) work->cancel();
        if (worker != nullptr) worker->kill();
        sg_vm_destroy(guest);
      });
    }
    star.engine->run();
    measured.figure = last;
  });
  return measured;
}

Measured rotate_with_bare_s4u(const Rotation& rotation) {
  Measured measured;
  measured.seconds = seconds_of([&] {
    const Star star = make_star(rotation);
    for (const RotatingVm& vm : rotation.vms) {
      s4u::Actor::create("mover", star.hosts[vm.from], [&] {
        s4u::this_actor::sleep_for(vm.start_seconds);
        const double threshold = rotation.link_bytes_per_second / 8 * plugin_downtime_seconds;
        double pending = static_cast<double>(vm.memory_mebibytes) * 1024 * 1024;
        for (bool last = false; !last;) {
          last = pending <= threshold;
          const double began = s4u::Engine::get_clock();
          // All but what the pause will send, as our pre-copy does.
          const double part = last ? pending : pending - 0.99 * threshold;
          s4u::Comm::sendto(star.hosts[vm.from], star.hosts[vm.to],
                            static_cast<std::uint64_t>(part));
          measured.count += 1;
          if (last) break;
          pending += rotation.dirty_bytes_per_second * (s4u::Engine::get_clock() - began) - part;
        }
        measured.figure = std::max(measured.figure, s4u::Engine::get_clock());
      });
    }
    star.engine->run();
  });
  return measured;
}

}  // namespace ferry::bench
