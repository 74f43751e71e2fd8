#include "hw_backend/libvirt/calls.hpp"

#include <exception>

namespace ferry {

Failure ended_early(Wake wake, const std::string& what) {
  return wake == Wake::cancelled ? Failure{FailureKind::cancelled, what + " was cancelled"}
                                 : Failure{FailureKind::timed_out, what + " passed its deadline"};
}

struct Calls::Call {
  std::unique_ptr<Mutex> mutex;
  std::unique_ptr<Condition> changed;
  bool ended = false;
  std::exception_ptr error;
  std::unique_ptr<Task> thread;
};

Calls::Calls(const ThreadClock& clock, Executor& executor) : threads_(clock), executor_(executor) {}

Calls::~Calls() {
  left_behind_.clear();  // joins
}

std::shared_ptr<Calls::Call> Calls::start_call(const std::string& what,
                                               std::function<void()> body) {
  auto call = std::make_shared<Call>();
  call->mutex = executor_.make_mutex();
  call->changed = executor_.make_condition();
  // The thread must not own its own handle, so it gets no shared pointer: the call outlives it,
  // because whoever drops the call joins first.
  call->thread = threads_.spawn(what, [raw = call.get(), body = std::move(body)] {
    std::exception_ptr error;
    try {
      body();
    } catch (...) {
      error = std::current_exception();
    }
    const Lock lock(*raw->mutex);
    raw->error = error;
    raw->ended = true;
    raw->changed->notify_all();
  });
  return call;
}

std::vector<Wake> Calls::run_bodies(const std::string& what, TimePoint deadline,
                                    std::vector<std::function<void()>> bodies) {
  std::vector<std::shared_ptr<Call>> calls;
  for (std::function<void()>& body : bodies) calls.push_back(start_call(what, std::move(body)));
  std::vector<Wake> wakes;
  for (const std::shared_ptr<Call>& call : calls) wakes.push_back(wait_for(call, deadline));
  forget_ended();
  return wakes;
}

Wake Calls::wait_for(const std::shared_ptr<Call>& call, TimePoint deadline) {
  Wake wake = Wake::ready;
  {
    const Lock lock(*call->mutex);
    while (!call->ended && wake == Wake::ready) {
      wake = call->changed->wait_until(*call->mutex, deadline);
    }
    if (call->ended) {
      if (call->error) std::rethrow_exception(call->error);
      return Wake::ready;
    }
  }
  const std::lock_guard guard(mutex_);
  left_behind_.push_back(call);
  return wake;
}

void Calls::start(const std::string& what, std::function<void()> body) {
  std::shared_ptr<Call> call = start_call(what, std::move(body));
  const std::lock_guard guard(mutex_);
  left_behind_.push_back(std::move(call));
}

void Calls::forget_ended() {
  std::list<std::shared_ptr<Call>> ended;  // joined outside the lock
  const std::lock_guard guard(mutex_);
  for (auto each = left_behind_.begin(); each != left_behind_.end();) {
    const auto next = std::next(each);
    bool over = false;
    {
      const Lock lock(*(*each)->mutex);
      over = (*each)->ended;
    }
    if (over) ended.splice(ended.end(), left_behind_, each);
    each = next;
  }
}

}  // namespace ferry
