// libvirt's event loop in a thread of this process: without it no event arrives and no keep-alive
// is answered.
#pragma once

namespace ferry {

/// The loop runs as long as there is one of these. A process that has had one must not fork and go
/// on with libvirt in the child.
class EventLoopUser {
 public:
  EventLoopUser();
  ~EventLoopUser();
  EventLoopUser(const EventLoopUser&) = delete;
  EventLoopUser& operator=(const EventLoopUser&) = delete;
};

}  // namespace ferry
