#include "sim_backend/sim_wait_set.hpp"

#include <algorithm>
#include <exception>

#include "core/units/fetch_lines.hpp"
#include "sim_backend/blocking.hpp"

namespace ferry {
namespace {

constexpr const char* what_waits = "a message";

}  // namespace

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

[[gnu::always_inline]] inline SimWaitSet::Begun SimWaitSet::begin(TimePoint deadline) {
  if (scheduler_.would_be_cancelled() || (vm_ && hypervisor_.lost(*vm_))) return Begun::cancelled;
  const TimePoint at = next();
  if (at <= scheduler_.local_now()) {
    // Without a switch: what it sees is there, whatever else the others do until then.
    notified_ = TimePoint::never();
    return Begun::ready;
  }
  if (at <= deadline && at != TimePoint::never()) wake_at(at);
  return Begun::waits;
}

[[gnu::always_inline]] inline void SimWaitSet::end() {
  if (waiting_.empty() && arrivals_.scheduled()) scheduler_.unschedule(arrivals_);
  if (notified_ <= scheduler_.local_now()) notified_ = TimePoint::never();
}

Wake SimWaitSet::wait(TimePoint deadline) {
  switch (begin(deadline)) {
    case Begun::ready: return Wake::ready;
    case Begun::cancelled: return Wake::cancelled;
    case Begun::waits: break;
  }
  Wake wake = scheduler_.block_here(what_waits, deadline, Cancellable::yes, &waiting_);
  if (vm_ && hypervisor_.paused(*vm_) && hypervisor_.await_running(*vm_) == Wake::cancelled) {
    wake = Wake::cancelled;
  }
  end();
  return wake;
}

/// Looks for a task, and lets it wait on.
class SimWaitSet::Looking final : public Watcher {
 public:
  Looking(SimWaitSet& set, Look& look) : set_(set), look_(look) {}

  bool goes_on() override {
    // That its guest runs again is waited for on its own stack.
    if (set_.vm_ && set_.hypervisor_.paused(*set_.vm_)) return true;
    set_.end();
    wake_ = set_.scheduler_.ended_as();
    if (wake_ != Wake::ready) return ended_ = true;
    try {
      return look_and_wait();
    } catch (...) {  // for the task; nothing waits in here
      thrown_ = std::current_exception();
      return ended_ = true;
    }
  }
  /// Whether the whole wait has, as `wake`.
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] Wake wake() const {
    if (thrown_) std::rethrow_exception(thrown_);
    return wake_;
  }

 private:
  bool look_and_wait() {
    for (;;) {
      if (look_.look()) return ended_ = true;
      switch (set_.begin(TimePoint::never())) {
        case Begun::ready: break;
        case Begun::cancelled: wake_ = Wake::cancelled; return ended_ = true;
        case Begun::waits: set_.scheduler_.block_again(what_waits, set_.waiting_); return false;
      }
    }
  }

  SimWaitSet& set_;
  Look& look_;
  bool ended_ = false;
  Wake wake_ = Wake::ready;
  std::exception_ptr thrown_;
};

Wake SimWaitSet::wait_until(Look& look) {
  Looking looking(*this, look);
  for (;;) {
    switch (begin(TimePoint::never())) {
      case Begun::ready: break;
      case Begun::cancelled: return Wake::cancelled;
      case Begun::waits: {
        looks_ = true;
        const Wake wake = scheduler_.watch_here(what_waits, looking, waiting_);
        looks_ = false;
        if (looking.ended()) return looking.wake();
        if (hypervisor_.await_running(*vm_) == Wake::cancelled) {
          end();
          return Wake::cancelled;
        }
        end();
        if (wake != Wake::ready) return wake;
      }
    }
    if (look.look()) return Wake::ready;
  }
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
  const bool continues = first != nullptr && !looks_;
  scheduler_.schedule_no_later(arrivals_, at, continues ? Scheduler::stack_of(*first) : nullptr);
}

// For who is continued it is not worth its calls: ping-pong takes 8 % longer.
bool SimWaitSet::fetch(int step) const {
  const SimTask* const task = waiting_.first();
  if (!looks_ || task == nullptr) return false;
  if (step == 0) {
    fetch_lines(task, 2);
    // Beside it, and after it, is what else an endpoint uses of each packet.
    if (inbox_ != nullptr) fetch_lines(inbox_, 3);
    return true;
  }
  const SimPacket* const packet = inbox_ == nullptr ? nullptr : inbox_->first();
  if (packet != nullptr) {
    if (step == 1) fetch_lines(packet, 3);
    if (step == 2 && packet->connection != nullptr) fetch_lines(packet->connection, 1);
  }
  return Scheduler::fetch(*task, step - 1);
}

void SimWaitSet::wake_all() {
  while (!waiting_.empty()) scheduler_.wake(*waiting_.first(), Wake::ready);
}

}  // namespace ferry
