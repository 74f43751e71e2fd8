#include "core/migration/wave.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace ferry {

Wave::Wave(MigrationContext& context, std::size_t number, TimePoint opened,
           std::vector<WaveMove> moves)
    : context_(context),
      number_(number),
      opened_(opened),
      moves_(std::move(moves)),
      ends_(moves_.size()),
      tasks_(context.world.executor) {}

void Wave::cancel() { tasks_.cancel(); }

void Wave::for_each(std::size_t count, const std::function<void(std::size_t)>& body) {
  if (count == 1) {
    body(0);
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    tasks_.spawn(fmt::format("wave {}", number_), [&body, i] { body(i); });
  }
  tasks_.join();
}

void Wave::plan_epochs() {
  std::map<JobId, std::vector<VmId>> moving;
  for (const WaveMove& move : moves_) {
    const VmId vm = context_.instance.moves[move.move].vm;
    for (const JobId job : context_.instance.vms[vm.index].jobs) moving[job].push_back(vm);
  }
  Lock lock(context_.mutex);
  for (auto& [job, vms] : moving) {
    std::sort(vms.begin(), vms.end());
    requests_.push_back({job, ++context_.epochs[job.index], std::move(vms)});
  }
}

std::vector<VmId> Wave::moving_of(JobId job) const {
  std::vector<VmId> moving;
  for (const WaveMove& move : moves_) {
    const VmId vm = context_.instance.moves[move.move].vm;
    const std::vector<JobId>& jobs = context_.instance.vms[vm.index].jobs;
    if (std::find(jobs.begin(), jobs.end(), job) != jobs.end()) moving.push_back(vm);
  }
  std::sort(moving.begin(), moving.end());
  return moving;
}

const std::string& Wave::vm_name(std::size_t index) const {
  return context_.instance.vms[context_.instance.moves[moves_[index].move].vm.index].name;
}

std::vector<WaveMoveEnd> Wave::run() {
  for (std::size_t i = 0; i < moves_.size(); ++i) {
    ends_[i].started = opened_;
    ends_[i].end.host = moves_[i].from;
  }
  plan_epochs();
  context_.intend(records::wave_opens(context_.instance, number_, opened_, moves_, requests_));

  if (Result<> suspended = suspend(); suspended) {
    for_each(moves_.size(), [&](std::size_t i) {
      Move move(context_, moves_[i]);
      ends_[i].end = move.run();
      at_rest(i);
    });
  } else {
    suspension_failed(suspended.error().kind == FailureKind::cancelled, suspended.error().reason,
                      nullptr);
  }
  close();
  return ends_;
}

std::vector<WaveMoveEnd> Wave::recover(const WaveHistory& before) {
  for (std::size_t i = 0; i < moves_.size(); ++i) {
    ends_[i].started = opened_;
    ends_[i].end.host = moves_[i].from;
  }
  for (const auto& [job, epoch] : before.epochs) requests_.push_back({job, epoch, {}});
  for (SuspendRequest& request : requests_) request.moving = moving_of(request.job);

  if (!before.suspension) {
    const std::string reason =
        fmt::format("the controller went down during {}", to_name(Phase::set_pre_migration));
    const TimePoint now = context_.world.clock.now();
    context_.note(records::wave_unsuspended(number_, now, false, reason));
    for (std::size_t i = 0; i < moves_.size(); ++i) {
      record(Phase::set_pre_migration, i, opened_, now, false);
    }
    suspension_failed(false, reason, &before);
  } else if (!before.suspension->ready) {
    suspension_failed(before.suspension->cancelled, before.suspension->reason, &before);
  } else {
    for_each(moves_.size(), [&](std::size_t i) {
      Move move(context_, moves_[i]);
      ends_[i].end = move.recover(before.moves[i]);
      if (ends_[i].end.unsettled) return;
      if (before.moves[i].rest) {
        ends_[i].ended = before.moves[i].rest->at;
      } else {
        at_rest(i);
      }
    });
  }
  const bool settled = std::none_of(ends_.begin(), ends_.end(), [](const WaveMoveEnd& end) {
    return end.end.unsettled.has_value();
  });
  if (settled) close();
  return ends_;
}

/// Nothing was taken away from any VM.
void Wave::suspension_failed(bool cancelled, const std::string& reason, const WaveHistory* before) {
  for (std::size_t i = 0; i < moves_.size(); ++i) {
    WaveMoveEnd& end = ends_[i];
    if (before != nullptr && before->moves[i].rest) {
      end.end.outcome = before->moves[i].rest->outcome;
      end.end.reason = before->moves[i].rest->reason;
      end.ended = before->moves[i].rest->at;
      continue;
    }
    const VmId vm = context_.instance.moves[moves_[i].move].vm;
    if (before != nullptr && !context_.world.hypervisor.inspect(vm).running) {
      end.end.outcome = Outcome::lost;
      end.end.reason = reason + "; it runs nowhere";
    } else if (end.end.outcome != Outcome::lost) {
      end.end.outcome = cancelled ? Outcome::cancelled : Outcome::rolled_back;
      end.end.reason = reason;
    }
    at_rest(i);
  }
}

void Wave::at_rest(std::size_t index) {
  WaveMoveEnd& end = ends_[index];
  end.ended = context_.world.clock.now();
  context_.note(records::at_rest(vm_name(index), end.ended, end.end.outcome,
                                 context_.instance.hosts[end.end.host.index].name, end.end.vf_gone,
                                 end.end.reason));
}

void Wave::close() {
  reactivate();
  context_.note(records::wave_closed(number_, ends_.front().ended));
}

Result<> Wave::suspend() {
  const TimePoint start = opened_;
  Duration patience;
  for (const WaveMove& move : moves_) {
    patience = std::max(patience, context_.instance.moves[move.move].timeouts.suspend);
  }
  const TimePoint deadline = start + patience;

  std::vector<Result<>> results(moves_.size() + requests_.size());
  for_each(moves_.size(), [&](std::size_t i) {
    results[i] = context_.world.hypervisor.set_status(context_.instance.moves[moves_[i].move].vm,
                                                      Phase::set_pre_migration, deadline);
  });
  if (!requests_.empty()) {
    for_each(requests_.size(), [&](std::size_t i) {
      results[moves_.size() + i] = context_.jobs.suspend(requests_[i], deadline);
    });
  }
  const auto failed =
      std::find_if(results.begin(), results.end(), [](const Result<>& r) { return !r; });
  for (std::size_t i = 0; i < moves_.size(); ++i) {
    if (results[i] || results[i].error().kind != FailureKind::lost) continue;
    ends_[i].end.outcome = Outcome::lost;
    ends_[i].end.reason = results[i].error().reason;
  }
  const TimePoint end = context_.world.clock.now();
  const bool ready = failed == results.end();
  context_.note(ready ? records::wave_suspended(number_, end)
                      : records::wave_unsuspended(number_, end,
                                                  failed->error().kind == FailureKind::cancelled,
                                                  failed->error().reason));
  for (std::size_t i = 0; i < moves_.size(); ++i) {
    record(Phase::set_pre_migration, i, start, end, ready);
  }
  return ready ? Result<>{} : *failed;
}

void Wave::reactivate() {
  const Uncancellable uncancellable(context_.world.executor);
  std::vector<TimePoint> starts;
  Duration patience;
  for (std::size_t i = 0; i < moves_.size(); ++i) {
    // A VM whose devices are back before those of its wave waits here: its channels come back with
    // all the others.
    starts.push_back(ends_[i].ended);
    patience = std::max(patience, context_.instance.moves[moves_[i].move].timeouts.suspend);
  }
  context_.intend(records::wave_reactivates(number_, context_.world.clock.now()));

  std::vector<Result<>> statuses(moves_.size());
  for_each(moves_.size(), [&](std::size_t i) {
    if (ends_[i].end.outcome == Outcome::lost) return;
    const Uncancellable undisturbed(context_.world.executor);  // it may run in a task of its own
    const VmId vm = context_.instance.moves[moves_[i].move].vm;
    for (int attempt = 0; attempt < 2; ++attempt) {
      statuses[i] = context_.world.hypervisor.set_status(vm, Phase::set_post_migration,
                                                         context_.world.clock.now() + patience);
      if (statuses[i] || statuses[i].error().kind == FailureKind::lost) break;
    }
  });
  std::vector<Result<>> reactivated(requests_.size());
  if (!requests_.empty()) {
    for_each(requests_.size(), [&](std::size_t i) {
      reactivated[i] =
          context_.jobs.reactivate(requests_[i], context_.world.clock.now() + patience);
    });
  }

  const TimePoint done = context_.world.clock.now();
  for (std::size_t i = 0; i < moves_.size(); ++i) {
    WaveMoveEnd& end = ends_[i];
    bool completed = statuses[i].has_value();
    auto add_reason = [&](const std::string& reason) {
      completed = false;
      if (!end.end.reason.empty()) end.end.reason += "; ";
      end.end.reason += reason;
    };
    if (!statuses[i] && statuses[i].error().kind == FailureKind::lost) {
      end.end.outcome = Outcome::lost;
      add_reason(statuses[i].error().reason);
      at_rest(i);
    } else if (!statuses[i]) {
      add_reason("its status could not be set: " + statuses[i].error().reason);
    }
    for (std::size_t r = 0; r < requests_.size(); ++r) {
      const VmId vm = context_.instance.moves[moves_[i].move].vm;
      const std::vector<VmId>& moving = requests_[r].moving;
      if (!reactivated[r] && std::binary_search(moving.begin(), moving.end(), vm)) {
        add_reason(reactivated[r].error().reason);
      }
    }
    if (!completed) context_.note(records::status_is_stale(vm_name(i), end.end.reason));
    end.ended = done;
    if (end.end.vf_gone) end.outage = done - *end.end.vf_gone;
    record(Phase::set_post_migration, i, starts[i], done, completed);
  }
}

void Wave::record(Phase phase, std::size_t index, TimePoint start, TimePoint end, bool completed) {
  const VmId vm = context_.instance.moves[moves_[index].move].vm;
  context_.recorder.span({.vm = vm,
                          .phase = phase,
                          .host = ends_[index].end.host,
                          .start = start,
                          .end = end,
                          .outcome = completed ? Outcome::completed : Outcome::failed});
}

}  // namespace ferry
