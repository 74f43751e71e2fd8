// libvirt's event loop in a thread of this process: without it no event arrives and no keep-alive is
// answered.
#pragma once

#include <memory>
#include <thread>

namespace ferry {

class EventLoop {
 public:
  /// The loop of this process: started for its first user, stopped after its last. A process that has
  /// used it must not fork and go on with libvirt in the child.
  static std::shared_ptr<EventLoop> running();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

 private:
  EventLoop();
  std::thread thread_;
};

}  // namespace ferry
