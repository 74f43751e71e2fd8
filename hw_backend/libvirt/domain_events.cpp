#include "hw_backend/libvirt/domain_events.hpp"

#include <utility>

namespace ferry {
namespace {

/// Of events that nobody has taken; a migration has some tens.
constexpr std::size_t longest_queue = 4096;

}  // namespace

Wake DomainInbox::next(TimePoint deadline, DomainEvent& event) {
  const Lock lock(*mutex_);
  while (events_.empty()) {
    const Wake wake = filled_->wait_until(*mutex_, deadline);
    if (wake != Wake::ready) return wake;
  }
  event = std::move(events_.front());
  events_.pop_front();
  return Wake::ready;
}

void DomainInbox::put(DomainEvent event) {
  const Lock lock(*mutex_);
  if (events_.size() == longest_queue) events_.pop_front();
  events_.push_back(std::move(event));
  filled_->notify_all();
}

std::shared_ptr<DomainInbox> EventBoard::subscribe(const std::string& domain) {
  auto inbox = std::make_shared<DomainInbox>(executor_, domain);
  const std::lock_guard guard(mutex_);
  std::erase_if(inboxes_, [](const std::weak_ptr<DomainInbox>& each) { return each.expired(); });
  inboxes_.push_back(inbox);
  return inbox;
}

void EventBoard::post(DomainEvent event) {
  event.at = clock_.now();
  const std::lock_guard guard(mutex_);
  for (const std::weak_ptr<DomainInbox>& each : inboxes_) {
    const std::shared_ptr<DomainInbox> inbox = each.lock();
    if (!inbox) continue;
    if (event.kind == DomainEvent::Kind::connection_lost || event.domain == inbox->domain()) {
      inbox->put(event);
    }
  }
}

}  // namespace ferry
