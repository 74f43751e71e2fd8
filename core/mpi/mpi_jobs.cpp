#include "core/mpi/mpi_jobs.hpp"

#include "core/units/check.hpp"

namespace ferry::mpi {
namespace {

BoardOptions options_of(const JobSpec& job, const MpiCosts& costs) {
  BoardOptions options;
  options.job = job.name;
  for (const VmId vm : job.vms) options.vms.insert(options.vms.end(), job.ranks_per_vm, vm);
  options.whole_job = job.suspend == Suspend::job;
  options.migration_thread = job.strategy == Strategy::migration_thread;
  options.reconnect_eagerly = job.reconnect == Reconnect::eager;
  options.close_channel = costs.drain_channel;
  options.open_device = costs.open_device;
  return options;
}

}  // namespace

std::optional<JobId> first_communicating(const Instance& instance, VmId vm) {
  for (const JobId job : instance.vms[vm.index].jobs) {
    if (instance.jobs[job.index].communicates()) return job;
  }
  return std::nullopt;
}

std::shared_ptr<const JobLocality> hosts_of(const JobSpec& job, const Locality& locality) {
  std::vector<std::uint32_t> hosts;
  hosts.reserve(job.vms.size() * job.ranks_per_vm);
  for (const VmId vm : job.vms) {
    hosts.insert(hosts.end(), job.ranks_per_vm, locality.host(vm).index);
  }
  return std::make_shared<const JobLocality>(std::move(hosts));
}

MpiJobs::MpiJobs(World& world, const Instance& instance, const MpiCosts& costs, Recorder& recorder,
                 Locality& locality, Duration preparation)
    : world_(world),
      instance_(instance),
      costs_(costs),
      recorder_(recorder),
      locality_(locality),
      preparation_(preparation),
      mutex_(world.executor.make_mutex()),
      ranks_(instance.vms.size(), 0),
      stopped_(instance.vms.size(), 0) {
  RankActivity* const activity = this;
  for (const JobSpec& job : instance.jobs) {
    for (const VmId vm : job.vms) ranks_[vm.index] += job.communicates() ? job.ranks_per_vm : 0;
    boards_.push_back(job.strategy == Strategy::none
                          ? nullptr
                          : std::make_unique<Board>(world.executor, world.clock,
                                                    options_of(job, costs), activity));
    hosts_.push_back(hosts_of(job, locality));
  }
  for (const MoveSpec& move : instance.moves) {
    if (move.when == RankMoment::any || watches_.count(move.vm) != 0) continue;
    // A rank that never computes is always about to enter MPI.
    const std::optional<JobId> job = first_communicating(instance, move.vm);
    if (!job || !computes(instance.jobs[job->index].workload.type)) continue;
    watches_.emplace(move.vm, std::make_unique<ComputeWatch>(world.executor));
  }
}

MpiJobs::~MpiJobs() = default;

ComputeWatch* MpiJobs::watch(VmId vm) {
  const auto found = watches_.find(vm);
  return found == watches_.end() ? nullptr : found->second.get();
}

void MpiJobs::await_moment(VmId vm, RankMoment moment) {
  ComputeWatch* const rank = watch(vm);
  if (moment == RankMoment::any || rank == nullptr) return;
  const Duration on_its_way = costs_.notice + preparation_;
  const std::optional<TimePoint> until = rank->next(world_.clock.now() + on_its_way);
  if (!until || moment == RankMoment::computing) return;
  const TimePoint ask = *until - on_its_way;
  if (ask > world_.clock.now()) world_.clock.sleep_until(ask);
}

Board* MpiJobs::board(JobId job) { return boards_.at(job.index).get(); }

Result<> MpiJobs::suspend(const SuspendRequest& request, TimePoint deadline) {
  Board* board = boards_.at(request.job.index).get();
  if (board == nullptr) return {};
  std::optional<Wake> heard = world_.processor.occupy(request.moving, costs_.notice, deadline);
  if (!heard) {
    heard = world_.clock.sleep_until(std::min(world_.clock.now() + costs_.notice, deadline));
  }
  if (*heard == Wake::cancelled) return failure(FailureKind::cancelled, "cancelled");
  return board->suspend(request.epoch, request.moving, deadline);
}

Result<> MpiJobs::reactivate(const SuspendRequest& request, TimePoint deadline) {
  Board* board = boards_.at(request.job.index).get();
  if (board == nullptr) return {};
  const Uncancellable uncancellable(world_.executor);
  const Result<bool> begun = board->begin_reactivation(request.epoch, deadline);
  if (!begun) return tl::unexpected<Failure>(begun.error());
  if (!*begun) return {};

  std::vector<VmSite> sites = look_at(request.moving);
  world_.clock.sleep_until(world_.clock.now() + costs_.reactivate);
  relocate(request.job);
  const std::size_t channels = board->closed_most(request.epoch);
  for (const RankRecord& record : board->reactivate(request.epoch, request.job, std::move(sites))) {
    recorder_.rank(record);
  }
  const JobSpec& job = instance_.jobs[request.job.index];
  if (job.reconnect == Reconnect::eager) {
    const Duration connecting = costs_.reconnect_channel * static_cast<double>(channels);
    world_.clock.sleep_until(world_.clock.now() + connecting);
  }
  if (world_.clock.now() > deadline) {
    return failure(FailureKind::timed_out, "job " + job.name + " was reactivated late");
  }
  return {};
}

/// Where the VMs are now, and what they have: what their ranks choose channels by from now on.
std::vector<VmSite> MpiJobs::look_at(const std::vector<VmId>& vms) {
  std::vector<VmSite> sites;
  for (const VmId vm : vms) {
    const VmInspection found = world_.hypervisor.inspect(vm);
    if (!found.running) continue;
    sites.push_back({vm, found.host, found.virtual_function, found.ivshmem});
    const Lock lock(*mutex_);
    if (locality_.host(vm) != found.host) locality_.moved(vm, found.host);
    for (const auto& [device, there] :
         {std::pair(DeviceKind::virtual_function, found.virtual_function),
          std::pair(DeviceKind::ivshmem, found.ivshmem)}) {
      if (locality_.has(vm, device) != there) locality_.set_device(vm, device, there);
    }
  }
  return sites;
}

/// What ranks answer rides on the exchange of addresses; it takes no time of its own.
void MpiJobs::relocate(JobId job) {
  std::shared_ptr<const JobLocality> hosts;
  Generation generation = first_generation;
  {
    const Lock lock(*mutex_);
    hosts = hosts_of(instance_.jobs[job.index], locality_);
    if (*hosts->world == *hosts_[job.index]->world) return;
    hosts_[job.index] = hosts;
    generation = locality_.generation();
  }
  // Of two waves that do this at once, the one that looked last counts.
  boards_[job.index]->relocate(generation, std::move(hosts));
}

void MpiJobs::rank_stopped(VmId vm) {
  const Lock lock(*mutex_);
  if (++stopped_[vm.index] == ranks_[vm.index]) world_.processor.set_ranks_running(vm, false);
}

void MpiJobs::rank_went_on(VmId vm) {
  const Lock lock(*mutex_);
  check(stopped_[vm.index] > 0, "ranks go on only after they stopped");
  if (stopped_[vm.index]-- == ranks_[vm.index]) world_.processor.set_ranks_running(vm, true);
}

std::size_t MpiJobs::suspensions() const {
  std::size_t count = 0;
  for (const std::unique_ptr<Board>& board : boards_) {
    if (board != nullptr) count += board->open_epochs();
  }
  return count;
}

}  // namespace ferry::mpi
