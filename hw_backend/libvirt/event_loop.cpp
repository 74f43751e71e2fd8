#include "hw_backend/libvirt/event_loop.hpp"

#include <libvirt/libvirt.h>

#include <atomic>
#include <mutex>

#include "core/ports/world_error.hpp"

namespace ferry {
namespace {

/// libvirt keeps the implementation for the whole life of the process.
void register_once() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0) {
      throw WorldError("libvirt's event loop cannot be set up");
    }
    // Errors are returned; by default libvirt prints each on standard error as well.
    virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
  });
}

std::atomic<bool> stopping = false;

}  // namespace

std::shared_ptr<EventLoop> EventLoop::running() {
  static std::mutex mutex;
  static std::weak_ptr<EventLoop> current;
  const std::lock_guard guard(mutex);
  std::shared_ptr<EventLoop> loop = current.lock();
  if (!loop) {
    loop.reset(new EventLoop);
    current = loop;
  }
  return loop;
}

EventLoop::EventLoop() {
  register_once();
  stopping = false;
  thread_ = std::thread([] {
    while (!stopping) virEventRunDefaultImpl();
  });
}

EventLoop::~EventLoop() {
  // A timer of the loop: it wakes the loop, and what was to be released before it is released.
  const int timer = virEventAddTimeout(
      0, [](int id, void*) { virEventRemoveTimeout(id), stopping = true; }, nullptr, nullptr);
  if (timer < 0) stopping = true;
  thread_.join();
}

}  // namespace ferry
