// What libvirt tells of domains, on its way from the event loop's thread to the tasks that wait for
// it.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/ports/executor.hpp"
#include "core/ports/types.hpp"
#include "hw_backend/libvirt/migration_progress.hpp"

namespace ferry {

struct DomainEvent {
  enum class Kind {
    device_removed,
    device_removal_failed,
    iteration,        ///< of a migration, seen on its source
    job_completed,    ///< with the migration's statistics
    state_changed,    ///< started, stopped, suspended, resumed
    agent_changed,    ///< the guest agent's channel was opened or closed
    connection_lost,  ///< told to every inbox: events may have been missed
    call_ended,       ///< not of libvirt: a call that the inbox's owner had started has returned
  };
  Kind kind = Kind::state_changed;
  HostId host;
  std::string domain;
  std::string alias;  ///< of a device event
  int iteration = 0;
  JobStatistics statistics;
  TimePoint at;
};

/// The events of one domain from its subscription on, in order. Waited on by one task.
class DomainInbox {
 public:
  DomainInbox(Executor& executor, std::string domain)
      : domain_(std::move(domain)),
        mutex_(executor.make_mutex()),
        filled_(executor.make_condition()) {}

  /// Blocks until there is an event: `ready` and it is in `event`.
  Wake next(TimePoint deadline, DomainEvent& event);
  void put(DomainEvent event);
  [[nodiscard]] const std::string& domain() const { return domain_; }

 private:
  std::string domain_;
  std::unique_ptr<Mutex> mutex_;
  std::unique_ptr<Condition> filled_;
  std::deque<DomainEvent> events_;
};

/// Shared by everything that may outlive the world's tasks: callbacks of libvirt.
class EventBoard {
 public:
  EventBoard(Executor& executor, const Clock& clock) : executor_(executor), clock_(clock) {}

  /// Events of `domain` on any host are put into it for as long as it is kept.
  [[nodiscard]] std::shared_ptr<DomainInbox> subscribe(const std::string& domain);
  /// Never blocks for long; called by the event loop's thread. Stamps the time.
  void post(DomainEvent event);

 private:
  Executor& executor_;
  const Clock& clock_;
  std::mutex mutex_;
  std::vector<std::weak_ptr<DomainInbox>> inboxes_;
};

}  // namespace ferry
