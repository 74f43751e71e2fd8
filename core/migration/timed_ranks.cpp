#include "core/migration/timed_ranks.hpp"

#include <algorithm>

#include "core/units/check.hpp"

namespace ferry {

struct TimedRanks::Suspension {
  std::vector<RankRecord> ranks;
  std::vector<TimePoint> next_calls;         ///< by rank
  std::size_t channels_most = 0;             ///< closed by the rank that closed most
  std::vector<VmId> stopped;                 ///< moving VMs whose ranks of this job wait
  std::vector<std::unique_ptr<Task>> stops;  ///< ranks that compute on and wait later
  bool ending = false;                       ///< it is being reactivated
};

TimedRanks::TimedRanks(World& world, const Instance& instance, const MpiCosts& costs,
                       Recorder& recorder)
    : world_(world),
      instance_(instance),
      costs_(costs),
      recorder_(recorder),
      mutex_(world.executor.make_mutex()),
      ended_(world.executor.make_condition()),
      epochs_(instance.jobs.size(), 0),
      jobs_(instance.vms.size(), 0),
      waiting_jobs_(instance.vms.size(), 0) {
  for (const JobSpec& job : instance.jobs) {
    if (job.communicates()) continue;
    for (const VmId vm : job.vms) jobs_[vm.index] += 1;
  }
}

TimedRanks::~TimedRanks() = default;

void TimedRanks::ranks_stop(VmId vm) {
  waiting_jobs_[vm.index] += 1;
  // The guest dirties at its full rate until no rank of any of its jobs computes.
  if (waiting_jobs_[vm.index] == jobs_[vm.index]) world_.processor.set_ranks_running(vm, false);
}

void TimedRanks::ranks_go_on(VmId vm) {
  check(waiting_jobs_[vm.index] > 0, "ranks go on only after they stopped");
  waiting_jobs_[vm.index] -= 1;
  world_.processor.set_ranks_running(vm, true);
}

/// Whether this is the first that is seen of the request's epoch.
bool TimedRanks::takes_note(const SuspendRequest& request) {
  std::uint64_t& epoch = epochs_[request.job.index];
  for (std::uint64_t skipped = epoch + 1; skipped < request.epoch; ++skipped) {
    overtaken_.emplace(request.job, skipped);
  }
  const bool comes_late = overtaken_.erase({request.job, request.epoch}) > 0;
  if (request.epoch <= epoch && !comes_late) return false;
  epoch = std::max(epoch, request.epoch);
  return true;
}

Result<> TimedRanks::suspend(const SuspendRequest& request, TimePoint deadline) {
  const JobSpec& job = instance_.jobs[request.job.index];
  if (job.strategy == Strategy::none) return {};

  const TimePoint now = world_.clock.now();
  const std::size_t ranks = job.vms.size() * job.ranks_per_vm;
  auto moves = [&](std::size_t rank) {
    return std::binary_search(request.moving.begin(), request.moving.end(),
                              job.vms[rank / job.ranks_per_vm]);
  };
  const auto moving_vms = std::count_if(job.vms.begin(), job.vms.end(), [&](VmId vm) {
    return std::binary_search(request.moving.begin(), request.moving.end(), vm);
  });
  const std::size_t moving_ranks = static_cast<std::size_t>(moving_vms) * job.ranks_per_vm;

  auto suspension = std::make_unique<Suspension>();
  TimePoint all_ready = now;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    const TimePoint next_call = now + job.next_call[rank];
    const bool waits_for_call = job.strategy == Strategy::progress_engine;
    const std::size_t channels =
        moves(rank) || job.suspend == Suspend::job ? ranks - 1 : moving_ranks;
    RankRecord record;
    record.job = request.job;
    record.rank = RankId{static_cast<std::uint32_t>(rank)};
    record.requested = now;
    const TimePoint noticed = (waits_for_call ? next_call : now) + costs_.notice;
    record.drained = noticed + costs_.drain_channel * static_cast<double>(channels);
    record.ready = record.drained;
    all_ready = std::max(all_ready, record.ready);
    suspension->channels_most = std::max(suspension->channels_most, channels);
    suspension->next_calls.push_back(next_call);
    suspension->ranks.push_back(record);
  }

  Suspension* kept = suspension.get();
  {
    Lock lock(*mutex_);
    if (!takes_note(request)) {
      return failure(FailureKind::refused,
                     "job " + job.name + " has seen a later request than this one");
    }
    suspensions_[{request.job, request.epoch}] = std::move(suspension);
  }
  const Wake wake = world_.clock.sleep_until(std::min(all_ready, deadline));
  if (wake == Wake::cancelled) return failure(FailureKind::cancelled, "cancelled");
  if (all_ready > deadline) {
    return failure(FailureKind::timed_out, "ranks of job " + job.name + " were not ready in time");
  }

  for (const VmId vm : request.moving) {
    const auto place = std::find(job.vms.begin(), job.vms.end(), vm);
    if (place == job.vms.end()) continue;
    const auto first = static_cast<std::size_t>(place - job.vms.begin()) * job.ranks_per_vm;
    TimePoint last_call = all_ready;
    for (std::size_t rank = first; rank < first + job.ranks_per_vm; ++rank) {
      last_call = std::max(last_call, kept->next_calls[rank]);
    }
    auto stop = [this, kept, vm] {
      Lock lock(*mutex_);
      kept->stopped.push_back(vm);
      ranks_stop(vm);
    };
    if (last_call <= all_ready) {
      stop();
    } else {
      kept->stops.push_back(world_.executor.spawn("ranks of " + job.name, [this, last_call, stop] {
        if (world_.clock.sleep_until(last_call) == Wake::timed_out) stop();
      }));
    }
  }
  return {};
}

Result<> TimedRanks::reactivate(const SuspendRequest& request, TimePoint deadline) {
  const JobSpec& job = instance_.jobs[request.job.index];
  if (job.strategy == Strategy::none) return {};
  const std::pair<JobId, std::uint64_t> key{request.job, request.epoch};
  const Uncancellable uncancellable(world_.executor);
  Suspension* suspension = nullptr;
  {
    Lock lock(*mutex_);
    const auto found = suspensions_.find(key);
    if (found == suspensions_.end()) {
      // Its request has not come, or was refused. Should it still come, nobody would end it: a
      // controller that went down may have sent it, and the next one closes the epoch.
      takes_note(request);
      return {};
    }
    suspension = found->second.get();
    if (suspension->ending) {  // an earlier controller asked, and did not live to hear the answer
      while (suspensions_.count(key) > 0) {
        if (ended_->wait_until(*mutex_, deadline) == Wake::timed_out &&
            suspensions_.count(key) > 0) {
          return failure(FailureKind::timed_out, "job " + job.name + " is not reactivated yet");
        }
      }
      return {};
    }
    suspension->ending = true;
  }

  Duration cost = costs_.reactivate;
  if (std::any_of(request.moving.begin(), request.moving.end(),
                  [&](VmId vm) { return instance_.vms[vm.index].virtual_function; })) {
    cost += costs_.open_device;
  }
  if (job.reconnect == Reconnect::eager) {
    cost += costs_.reconnect_channel * static_cast<double>(suspension->channels_most);
  }
  const TimePoint done = world_.clock.now() + cost;
  world_.clock.sleep_until(done);

  for (const auto& stop : suspension->stops) stop->cancel();
  for (const auto& stop : suspension->stops) stop->join();
  {
    Lock lock(*mutex_);
    for (const VmId vm : suspension->stopped) ranks_go_on(vm);
  }
  const TimePoint now = world_.clock.now();
  for (std::size_t rank = 0; rank < suspension->ranks.size(); ++rank) {
    RankRecord record = suspension->ranks[rank];
    record.blocked_from = std::min(suspension->next_calls[rank], now);
    record.blocked_to = now;
    recorder_.rank(record);
  }
  {
    Lock lock(*mutex_);
    suspensions_.erase(key);
    ended_->notify_all();
  }
  if (now > deadline) {
    return failure(FailureKind::timed_out, "job " + job.name + " was reactivated late");
  }
  return {};
}

std::size_t TimedRanks::suspensions() const {
  Lock lock(*mutex_);
  return suspensions_.size();
}

}  // namespace ferry
