#include "hw_backend/libvirt/event_loop.hpp"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <signal.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "core/ports/world_error.hpp"

namespace ferry {
namespace {

/// libvirt keeps the implementation for the whole life of the process.
void register_once() {
  static std::once_flag once;
  std::call_once(once, [] {
    // An ssh that ends while libvirt writes to it must not end this process.
    signal(SIGPIPE, SIG_IGN);
    if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0) {
      throw WorldError("libvirt's event loop cannot be set up");
    }
    // Errors are returned; by default libvirt prints each on standard error as well.
    virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
  });
}

struct Loop {
  std::mutex mutex;
  int users = 0;
  std::atomic<bool> stopping = false;
  std::thread thread;
};

Loop& loop() {
  static Loop the_loop;  // libvirt has one for each process
  return the_loop;
}

void stop_from_within(int timer, void* /*opaque*/) {
  virEventRemoveTimeout(timer);
  loop().stopping = true;
}

}  // namespace

EventLoopUser::EventLoopUser() {
  register_once();
  const std::lock_guard guard(loop().mutex);
  if (loop().users++ > 0) return;
  loop().stopping = false;
  loop().thread = std::thread([] {
    while (!loop().stopping) virEventRunDefaultImpl();
  });
}

EventLoopUser::~EventLoopUser() {
  const std::lock_guard guard(loop().mutex);
  if (--loop().users > 0) return;
  // A timer wakes the loop, which then releases what closed connections left to it.
  if (virEventAddTimeout(0, stop_from_within, nullptr, nullptr) < 0) loop().stopping = true;
  loop().thread.join();
}

}  // namespace ferry
