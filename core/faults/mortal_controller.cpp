#include "core/faults/mortal_controller.hpp"

#include <utility>

namespace ferry {
namespace {

constexpr const char* down = "the controller is down";

}  // namespace

/// One call that the controller waits for.
struct MortalController::Call {
  std::unique_ptr<Condition> changed;
  bool answered = false;
  int heard = 0;  ///< tasks of the world that are in the controller's code just now
};

/// Passes rounds on for as long as the controller lives to hear of them.
class MortalController::Ears final : public TransferObserver {
 public:
  Ears(MortalController& controller, std::shared_ptr<Call> call, TransferObserver& observer)
      : controller_(controller), call_(std::move(call)), observer_(observer) {}
  void round_done(VmId vm, const RoundReport& round) override {
    {
      Lock lock(*controller_.mutex_);
      if (controller_.dead_) return;
      call_->heard += 1;
    }
    observer_.round_done(vm, round);  // it may be what the controller dies of
    Lock lock(*controller_.mutex_);
    call_->heard -= 1;
    call_->changed->notify_all();
  }

 private:
  MortalController& controller_;
  std::shared_ptr<Call> call_;
  TransferObserver& observer_;
};

template <class Answer>
Result<Answer> MortalController::call(
    const char* what, TimePoint deadline, Orphan orphan,
    const std::function<Result<Answer>(const std::shared_ptr<Call>&)>& operation) {
  const auto self = std::make_shared<Call>();
  self->changed = world_.executor.make_condition();
  const auto answer = std::make_shared<Result<Answer>>();
  std::unique_ptr<Task> task;
  bool timed_out = false;
  bool orphaned = false;
  {
    Lock lock(*mutex_);
    if (dead_) return failure(FailureKind::cancelled, down);
    const auto place = calls_.insert(calls_.end(), self);
    task = world_.executor.spawn(what, [this, self, answer, operation] {
      Result<Answer> result = operation(self);
      Lock answering(*mutex_);
      *answer = std::move(result);
      self->answered = true;
      self->changed->notify_all();
    });
    Wake wake = Wake::ready;
    while (!self->answered && !dead_ && wake == Wake::ready) {
      wake = self->changed->wait_until(*mutex_, deadline);
    }
    const Uncancellable uncancellable(world_.executor);
    if (!self->answered && !dead_) {
      timed_out = wake == Wake::timed_out;
      task->cancel();
      while (!self->answered && !dead_) self->changed->wait_until(*mutex_, TimePoint::never());
    }
    if (dead_) {
      while (self->heard > 0) self->changed->wait_until(*mutex_, TimePoint::never());
      if (orphan == Orphan::ends) task->cancel();
      orphans_.push_back(std::move(task));
      orphaned = true;
    }
    calls_.erase(place);
  }
  if (orphaned) return failure(FailureKind::cancelled, down);
  {
    const Uncancellable uncancellable(world_.executor);
    task->join();
  }
  if (timed_out && !*answer && answer->error().kind == FailureKind::cancelled) {
    return failure(FailureKind::timed_out, std::string(what) + " did not end in time");
  }
  return std::move(*answer);
}

class MortalController::MortalHypervisor final : public Hypervisor {
 public:
  MortalHypervisor(MortalController& controller, Hypervisor& inner)
      : controller_(controller), inner_(inner) {}

  Result<> set_status(VmId vm, Phase phase, TimePoint deadline) override {
    return simple("set_status", deadline, Orphan::goes_on,
                  [=, this] { return inner_.set_status(vm, phase, TimePoint::never()); });
  }
  Result<> detach(VmId vm, DeviceKind kind, TimePoint deadline) override {
    return simple("detach", deadline, Orphan::goes_on,
                  [=, this] { return inner_.detach(vm, kind, TimePoint::never()); });
  }
  Result<> await_detached(VmId vm, DeviceKind kind, TimePoint deadline) override {
    return simple("the end of a detach", deadline, Orphan::ends,
                  [=, this] { return inner_.await_detached(vm, kind, TimePoint::never()); });
  }
  Result<> attach(VmId vm, DeviceKind kind, TimePoint deadline) override {
    return simple("attach", deadline, Orphan::goes_on,
                  [=, this] { return inner_.attach(vm, kind, TimePoint::never()); });
  }
  Result<Ratio> await_traffic(VmId vm, TimePoint deadline) override {
    return controller_.call<Ratio>("the guest's traffic", deadline, Orphan::ends,
                                   [this, vm](const std::shared_ptr<Call>&) {
                                     return inner_.await_traffic(vm, TimePoint::never());
                                   });
  }
  Result<TransferReport> migrate(VmId vm, HostId destination, const TransferOptions& options,
                                 TransferObserver& observer, TimePoint deadline) override {
    return controller_.call<TransferReport>(
        "migration", deadline, Orphan::goes_on,
        [this, vm, destination, options, &observer](const std::shared_ptr<Call>& call) {
          Ears ears(controller_, call, observer);
          return inner_.migrate(vm, destination, options, ears, TimePoint::never());
        });
  }
  [[nodiscard]] bool devices_at_once() const override { return inner_.devices_at_once(); }
  [[nodiscard]] VmInspection inspect(VmId vm) const override { return inner_.inspect(vm); }
  [[nodiscard]] bool reachable(HostId host) const override { return inner_.reachable(host); }
  Result<> await_settled(VmId vm, TimePoint deadline) override {
    return simple("what was asked earlier", deadline, Orphan::ends,
                  [=, this] { return inner_.await_settled(vm, TimePoint::never()); });
  }
  Result<> cancel_migration(VmId vm) override {
    if (controller_.dead()) return failure(FailureKind::cancelled, down);
    return inner_.cancel_migration(vm);
  }

 private:
  template <class Operation>
  Result<> simple(const char* what, TimePoint deadline, Orphan orphan, const Operation& operation) {
    return controller_.call<void>(
        what, deadline, orphan,
        [operation](const std::shared_ptr<Call>&) -> Result<> { return operation(); });
  }

  MortalController& controller_;
  Hypervisor& inner_;
};

class MortalController::MortalJobs final : public JobRuntime {
 public:
  MortalJobs(MortalController& controller, JobRuntime& inner)
      : controller_(controller), inner_(inner) {}

  /// The ranks answer to nobody once the controller is gone: the wait for them ends with it.
  Result<> suspend(const SuspendRequest& request, TimePoint deadline) override {
    return controller_.call<void>("the ranks' answers", deadline, Orphan::ends,
                                  [this, request](const std::shared_ptr<Call>&) {
                                    return inner_.suspend(request, TimePoint::never());
                                  });
  }
  Result<> reactivate(const SuspendRequest& request, TimePoint deadline) override {
    return controller_.call<void>("the reactivation", deadline, Orphan::goes_on,
                                  [this, request](const std::shared_ptr<Call>&) {
                                    return inner_.reactivate(request, TimePoint::never());
                                  });
  }
  void await_moment(VmId vm, RankMoment moment) override {
    (void)controller_.call<void>("a moment of the ranks", TimePoint::never(), Orphan::ends,
                                 [this, vm, moment](const std::shared_ptr<Call>&) -> Result<> {
                                   inner_.await_moment(vm, moment);
                                   return {};
                                 });
  }

 private:
  MortalController& controller_;
  JobRuntime& inner_;
};

class MortalController::MortalJournal final : public Journal {
 public:
  explicit MortalJournal(MortalController& controller) : controller_(controller) {}

  void append(std::string_view record) override {
    if (controller_.dead()) return;
    using When = ControllerDeath::When;
    const std::optional<ControllerDeath>& death = controller_.death_;
    const bool strikes = death && death->record == controller_.records_ + 1;
    if (!strikes || death->when == When::after) {
      controller_.inner_journal_.append(record);
      controller_.records_ += 1;
    } else if (death->when == When::torn) {
      controller_.tear_(controller_.records_ + 1, record);
    }
    if (strikes) controller_.die();
  }
  void sync() override {
    if (!controller_.dead()) controller_.inner_journal_.sync();
  }

 private:
  MortalController& controller_;
};

MortalController::MortalController(World& world, JobRuntime& jobs, Journal& journal,
                                   std::uint64_t records, std::optional<ControllerDeath> death,
                                   std::function<void(std::uint64_t, std::string_view)> tear)
    : world_(world),
      inner_journal_(journal),
      records_(records),
      death_(death),
      tear_(std::move(tear)),
      mutex_(world.executor.make_mutex()),
      changed_(world.executor.make_condition()),
      hypervisor_(std::make_unique<MortalHypervisor>(*this, world.hypervisor)),
      jobs_(std::make_unique<MortalJobs>(*this, jobs)),
      journal_(std::make_unique<MortalJournal>(*this)),
      mortal_world_{world.clock, world.executor, *hypervisor_, world.processor, world.fabric} {}

MortalController::~MortalController() {
  orphans_.clear();  // joins; they still use what is behind the other members
}

JobRuntime& MortalController::jobs() { return *jobs_; }
Journal& MortalController::journal() { return *journal_; }

bool MortalController::dead() const {
  Lock lock(*mutex_);
  return dead_;
}

void MortalController::die() {
  Lock lock(*mutex_);
  dead_ = true;
  changed_->notify_all();
  for (const std::shared_ptr<Call>& call : calls_) call->changed->notify_all();
}

bool MortalController::run(const std::function<void()>& body) {
  const std::unique_ptr<Task> task = world_.executor.spawn("controller", [this, &body] {
    struct Ending {
      MortalController& controller;
      ~Ending() {
        Lock lock(*controller.mutex_);
        controller.ended_ = true;
        controller.changed_->notify_all();
      }
    };
    const Ending ending{*this};
    body();
  });
  const Uncancellable uncancellable(world_.executor);
  {
    Lock lock(*mutex_);
    while (!dead_ && !ended_) changed_->wait_until(*mutex_, TimePoint::never());
    if (dead_) task->cancel();
  }
  task->join();
  return !dead();
}

}  // namespace ferry
