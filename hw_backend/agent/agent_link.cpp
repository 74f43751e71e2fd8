#include "hw_backend/agent/agent_link.hpp"

#include <algorithm>
#include <utility>

namespace ferry::agent {
namespace {

constexpr Duration turn = Duration::milliseconds(200);
constexpr Duration longest_turn = Duration::milliseconds(1'000);
constexpr Duration hello_again = Duration::milliseconds(300);
constexpr Duration between_pings = Duration::milliseconds(1'000);
constexpr Duration question_again = Duration::milliseconds(500);
/// A guest stands still while it is switched over, and its channel is opened anew after that.
constexpr Duration long_silence = Duration::milliseconds(20'000);
constexpr Duration between_looks = Duration::milliseconds(5'000);

}  // namespace

AgentLink::AgentLink(Executor& executor, Clock& clock, VmId vm, std::string name,
                     std::unique_ptr<Control> control, std::uint64_t controller, Duration patience,
                     std::function<VmInspection()> inspect)
    : executor_(executor),
      clock_(clock),
      vm_(vm),
      name_(std::move(name)),
      control_(std::move(control)),
      controller_(controller),
      patience_(patience),
      inspect_(std::move(inspect)),
      mutex_(executor.make_mutex()),
      changed_(executor.make_condition()),
      said_hello_(clock.now() - hello_again),
      turned_(clock.now()),
      looked_(clock.now()),
      pinged_(clock.now() - between_pings),
      asked_at_(clock.now() - question_again) {
  task_ = executor_.spawn("agent of " + name_, [this] { serve(); });
}

AgentLink::~AgentLink() {
  task_->cancel();
  task_.reset();
}

void AgentLink::serve() {
  for (;;) {
    say();
    const Control::Received received = control_->receive(clock_.now() + turn);
    if (received.wake == Wake::cancelled) return;
    if (!received.message.empty()) receive(received.message);
    look_for_silence();
  }
}

// --- Jobs. ---

void AgentLink::add(RemoteJob& job) {
  {
    const Lock lock(*mutex_);
    jobs_.push_back(&job);
    welcomed_ = false;  // what is there is to be told again
    said_hello_ = clock_.now() - hello_again;
  }
  poke();
}

void AgentLink::remove(RemoteJob& job) {
  const Lock lock(*mutex_);
  jobs_.erase(std::remove(jobs_.begin(), jobs_.end(), &job), jobs_.end());
  const Uncancellable uncancellable(executor_);
  while (busy_ == &job) changed_->wait_until(*mutex_, TimePoint::never());
}

namespace {

/// Gives a held job back, however its scope ends.
struct Release {
  std::function<void()> release;
  ~Release() { release(); }
};

}  // namespace

void AgentLink::for_every_job(const std::function<void(RemoteJob&)>& call) {
  for (std::size_t i = 0;; ++i) {
    RemoteJob* job = nullptr;
    {
      const Lock lock(*mutex_);
      if (i >= jobs_.size()) return;
      job = busy_ = jobs_[i];
    }
    const Release release{[this] {
      const Lock lock(*mutex_);
      busy_ = nullptr;
      changed_->notify_all();
    }};
    call(*job);
  }
}

void AgentLink::for_job(const std::string& key, const std::function<void(RemoteJob&)>& call) {
  for_every_job([&](RemoteJob& job) {
    if (job.key() == key) call(job);
  });
}

// --- What is said. ---

void AgentLink::send(Message message) {
  const Bytes8 bytes = encode({controller_, std::move(message)});
  (void)control_->send(bytes);
}

void AgentLink::say() {
  const TimePoint now = clock_.now();
  bool is_welcome = false;
  std::optional<std::string> question;
  {
    const Lock lock(*mutex_);
    if (const std::uint64_t openings = control_->openings(); openings != openings_) {
      openings_ = openings;
      welcomed_ = false;
      said_hello_ = now - hello_again;
    }
    is_welcome = welcomed_;
    if (asks_holders_ && now - asked_at_ >= question_again) {
      asked_at_ = now;
      question = asked_mac_;
    }
  }
  if (!is_welcome) {
    if (now - said_hello_ < hello_again) return;
    said_hello_ = now;
    send(Hello{controller_});
    return;
  }
  if (now - pinged_ >= between_pings) {
    pinged_ = now;
    send(Ping{++ping_});
  }
  if (question) send(FindHolders{question_, *question});
  for_every_job([this](RemoteJob& job) {
    if (!job.runs_in(vm_)) return;
    for (Message& message : job.to_say(vm_)) send(std::move(message));
  });
}

void AgentLink::look_for_silence() {
  const TimePoint now = clock_.now();
  // Where this controller stood still itself, a longer turn says nothing of the agent.
  silence_ += std::min(now - turned_, longest_turn);
  turned_ = now;
  if (silence_ < long_silence || now - looked_ < between_looks) return;
  looked_ = now;
  const VmInspection seen = inspect_();
  if (seen.moving) {
    // Its guest may be paused all the time, and finds its channel only after that.
    silence_ = Duration::zero();
    seen_lost_ = false;
    return;
  }
  if (seen.running) {
    seen_lost_ = false;
    if (silence_ >= patience_) give_up_silent();
    return;
  }
  // Twice in a row: a VM that arrives elsewhere may be nowhere for a moment.
  if (!std::exchange(seen_lost_, true)) return;
  for_every_job([this](RemoteJob& job) {
    if (job.runs_in(vm_)) job.give_up(vm_, name_ + " runs nowhere any more");
  });
}

/// A guest may hang, or have no agent any more, while its VM runs.
void AgentLink::give_up_silent() {
  const std::string trouble = control_->trouble();
  const std::int64_t seconds = silence_.count_nanoseconds() / 1'000'000'000;
  const std::string why = name_ + "'s agent has not answered for " + std::to_string(seconds) +
                          " s" + (trouble.empty() ? "" : " (" + trouble + ")");
  for_every_job([&](RemoteJob& job) {
    if (job.runs_in(vm_)) job.give_up_started(vm_, why);
  });
}

Result<std::vector<Holder>> AgentLink::find_holders(const std::string& mac, TimePoint deadline) {
  const Lock lock(*mutex_);
  ++question_;
  asked_mac_ = mac;
  asks_holders_ = true;
  holders_.reset();
  asked_at_ = clock_.now() - question_again;
  control_->notify();
  while (!holders_) {
    const Wake wake = changed_->wait_until(*mutex_, deadline);
    if (wake == Wake::ready || holders_) continue;
    asks_holders_ = false;
    return failure(wake == Wake::cancelled ? FailureKind::cancelled : FailureKind::timed_out,
                   "the agent of " + name_ + " has not answered");
  }
  return *holders_;
}

ClockMap AgentLink::clock_map() const {
  const Lock lock(*mutex_);
  return map_;
}

bool AgentLink::is_open() const {
  const Lock lock(*mutex_);
  return welcomed_;
}

// --- What has come. ---

void AgentLink::receive(std::span<const std::byte> bytes) {
  const Result<Envelope> read = decode(bytes);
  if (!read) {
    // Of another release, as the frame was whole.
    return handle(Refused{controller_, read.error().reason});
  }
  silence_ = Duration::zero();
  seen_lost_ = false;
  std::visit([this](const auto& message) { handle(message); }, read->message);
}

void AgentLink::handle(const Welcome& welcome) {
  {
    const Lock lock(*mutex_);
    welcomed_ = true;
  }
  for_every_job([&](RemoteJob& job) {
    if (job.runs_in(vm_)) job.welcome(vm_, welcome.jobs);
  });
}

void AgentLink::handle(const Refused& refused) {
  const std::string why = "the agent of " + name_ + " refuses this controller: " + refused.why;
  for_every_job([&](RemoteJob& job) {
    if (job.runs_in(vm_)) job.give_up_all(why);
  });
}

void AgentLink::handle(const JobReport& report) {
  for_job(report.key, [&](RemoteJob& job) { job.take(vm_, report); });
}

void AgentLink::handle(const PostBatch& batch) {
  for_job(batch.key, [&](RemoteJob& job) { job.take(vm_, batch); });
}

void AgentLink::handle(const RankReport& report) {
  const ClockMap clock = report.state.computations == 0 ? ClockMap() : clock_map();
  for_job(report.key, [&](RemoteJob& job) {
    if (job.take(vm_, report, clock)) send(Acknowledge{report.key, report.rank, report.version});
  });
}

void AgentLink::handle(const Confirmed& confirmed) {
  for_job(confirmed.key, [&](RemoteJob& job) { job.take(vm_, confirmed); });
}

void AgentLink::handle(const Revoked& revoked) {
  for_job(revoked.key, [&](RemoteJob& job) { job.take(vm_, revoked); });
}

void AgentLink::handle(const Chunk& chunk) {
  for_job(chunk.key, [&](RemoteJob& job) { job.take(vm_, chunk); });
}

void AgentLink::handle(const TraceReport& report) {
  for_job(report.key, [&](RemoteJob& job) { job.take(vm_, report); });
}

void AgentLink::handle(const Holders& holders) {
  const Lock lock(*mutex_);
  if (!asks_holders_ || holders.id != question_) return;
  asks_holders_ = false;
  holders_ = holders.holders;
  changed_->notify_all();
}

void AgentLink::handle(const Pong& pong) {
  if (pong.id != ping_) return;
  const TimePoint now = clock_.now();
  const Lock lock(*mutex_);
  map_.know(Duration::nanoseconds(pong.clock_nanoseconds), pinged_ + (now - pinged_) * 0.5);
}

}  // namespace ferry::agent
