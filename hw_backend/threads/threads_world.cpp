#include "hw_backend/threads/threads_world.hpp"

#include <exception>

#include "core/units/check.hpp"
#include "hw_backend/threads/fake_hypervisor.hpp"
#include "hw_backend/threads/thread_executor.hpp"
#include "hw_backend/threads/thread_fabric.hpp"

namespace ferry {

void run_threads(const Instance& instance, const Platform& platform, const ThreadsOptions& options,
                 const std::function<void(World&)>& body) {
  check(options.speed > 0, "the speed of a threads world is above zero");
  const ThreadClock clock(options.speed);
  ThreadExecutor executor(clock);
  // The hypervisor's own threads are no tasks of the user: the world does not wait for them.
  ThreadExecutor hypervisor_executor(clock);
  ThreadSleeper sleeper(clock);
  FakeHypervisor hypervisor(instance, platform, sleeper, hypervisor_executor);
  ThreadFabric fabric(executor, hypervisor, platform.channels);
  World world{sleeper, executor, hypervisor, hypervisor, fabric};

  std::exception_ptr error;
  executor.adopt([&] {
    try {
      body(world);
    } catch (...) {
      error = std::current_exception();
    }
  });
  executor.wait_for_tasks();
  if (error) std::rethrow_exception(error);
}

}  // namespace ferry
