#include "hw_backend/libvirt/libvirt_world.hpp"

#include <exception>

#include "hw_backend/libvirt/cluster_link.hpp"
#include "hw_backend/libvirt/domain_channel.hpp"
#include "hw_backend/libvirt/libvirt_hypervisor.hpp"
#include "hw_backend/threads/sleeping_processor.hpp"
#include "hw_backend/threads/thread_executor.hpp"
#include "hw_backend/threads/thread_fabric.hpp"

namespace ferry {

void run_on_cluster(const Instance& instance, const ClusterFile& cluster,
                    const ClusterOptions& options, const std::function<void(World&)>& body) {
  run_on_cluster(instance, cluster, options,
                 [&body](World& world, const ChannelOpener&) { body(world); });
}

void run_on_cluster(const Instance& instance, const ClusterFile& cluster,
                    const ClusterOptions& options,
                    const std::function<void(World&, const ChannelOpener&)>& body) {
  const ThreadClock clock(1.0, options.start);
  ThreadExecutor executor(clock);
  ThreadSleeper sleeper(clock);
  ClusterLink link(instance, cluster, sleeper, clock, executor);
  LibvirtHypervisor hypervisor(link, instance, options.run);
  ThreadFabric fabric(executor, hypervisor, {});
  SleepingProcessor processor(sleeper);
  World world{sleeper, executor, hypervisor, processor, fabric};

  const ChannelOpener open = [&](VmId vm) -> std::unique_ptr<Control> {
    const std::string& channel = link.description(vm).agent;
    if (channel.empty()) return nullptr;
    (void)hypervisor.inspect(vm);  // so that it is known where the VM is
    return std::make_unique<DomainChannel>(link, hypervisor.whereabouts(), vm, channel);
  };

  std::exception_ptr error;
  executor.adopt([&] {
    try {
      link.connect_all(sleeper.now() + options.connect_patience, options.schedule);
      body(world, open);
    } catch (...) {
      error = std::current_exception();
    }
  });
  executor.wait_for_tasks();
  if (options.times != nullptr) *options.times = link.times().read();
  if (error) std::rethrow_exception(error);
}

}  // namespace ferry
