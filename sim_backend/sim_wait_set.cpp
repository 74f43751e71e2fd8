#include "sim_backend/sim_wait_set.hpp"

#include <algorithm>

#include "sim_backend/blocking.hpp"

namespace ferry {

SimWaitSet::~SimWaitSet() {
  if (arrivals_.scheduled()) scheduler_.unschedule(arrivals_);
  if (vm_) hypervisor_.remove_wait_set(*vm_, *this);
}

void SimWaitSet::add(const PacketQueue& inbox, std::optional<VmId> vm) {
  if (inbox_ == nullptr) {
    inbox_ = &inbox;
  } else {
    more_inboxes_.push_back(&inbox);
  }
  if (!vm || vm_) return;
  vm_ = vm;
  hypervisor_.add_wait_set(*vm, *this);
}

void SimWaitSet::remove(const PacketQueue& inbox) {
  if (inbox_ == &inbox) inbox_ = nullptr;
  std::erase(more_inboxes_, &inbox);
}

TimePoint SimWaitSet::next() const {
  TimePoint first = notified_;
  const auto look = [&](const PacketQueue& inbox) {
    if (inbox.first() != nullptr) first = std::min(first, inbox.first()->at);
  };
  if (inbox_ != nullptr) look(*inbox_);
  for (const PacketQueue* const inbox : more_inboxes_) look(*inbox);
  return first;
}

Wake SimWaitSet::wait(TimePoint deadline) {
  if (scheduler_.would_be_cancelled() || (vm_ && hypervisor_.lost(*vm_))) return Wake::cancelled;
  const TimePoint at = next();
  const TimePoint now = scheduler_.local_now();
  if (at <= now) {
    // Without a switch: what it sees is there, whatever else the others do until then.
    notified_ = TimePoint::never();
    return Wake::ready;
  }
  if (at <= deadline && at != TimePoint::never()) wake_at(at);
  Wake wake = scheduler_.block_here("a message", deadline, Cancellable::yes, &waiting_);
  if (vm_ && hypervisor_.paused(*vm_) && hypervisor_.await_running(*vm_) == Wake::cancelled) {
    wake = Wake::cancelled;
  }
  if (waiting_.empty() && arrivals_.scheduled()) scheduler_.unschedule(arrivals_);
  if (notified_ <= scheduler_.local_now()) notified_ = TimePoint::never();
  return wake;
}

void SimWaitSet::notify() {
  const TimePoint now = scheduler_.local_now();
  notified_ = std::min(notified_, now);
  expect(now);
}

void SimWaitSet::pause() {
  scheduler_.spend(cost_of_pause);
  scheduler_.settle();
}

void SimWaitSet::wake_at(TimePoint at) {
  const SimTask* const first = waiting_.first();
  // One that waits alone and is ahead: no event before its own time.
  if (first != nullptr && !waiting_.more_than_one()) {
    at = std::max(at, Scheduler::not_before(*first));
  }
  scheduler_.schedule_no_later(arrivals_, at,
                               first == nullptr ? nullptr : Scheduler::stack_of(*first));
}

void SimWaitSet::wake_all() {
  while (!waiting_.empty()) scheduler_.wake(*waiting_.first(), Wake::ready);
}

}  // namespace ferry
