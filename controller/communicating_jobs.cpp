#include "controller/communicating_jobs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/channel/coordinator.hpp"
#include "core/mpi/job.hpp"
#include "core/mpi/mpi_jobs.hpp"
#include "core/mpi/workloads/engine_calls.hpp"
#include "core/mpi/workloads/job_record.hpp"
#include "core/topology/locality.hpp"

namespace ferry {
namespace {

RankPlace place_of(const JobSpec& job, const Instance& instance, const Locality& locality,
                   RankId rank) {
  const VmId vm = job.vms[rank.index / job.ranks_per_vm];
  const RankSite site = site_of(job, instance.vms[vm.index], rank);
  return {.vm = vm,
          .host = locality.host(vm),
          .container = site.container,
          .socket = locality.socket(vm, site.vcpu)};
}

/// However a rank comes to its end, nobody waits for it to compute any more.
struct Watched {
  mpi::ComputeWatch* watch;
  ~Watched() {
    if (watch != nullptr) watch->ends();
  }
};

}  // namespace

tl::expected<JobPrograms, std::vector<std::string>> prepare_jobs(const Scenario& scenario,
                                                                 const Instance& instance) {
  JobPrograms programs;
  std::vector<std::string> errors;
  for (std::uint32_t i = 0; i < instance.jobs.size(); ++i) {
    const JobSpec& job = instance.jobs[i];
    if (!job.communicates()) continue;
    auto prepared = mpi::prepare_workload(
        job.workload, scenario.platform.compute,
        {.name = job.name, .ranks = job.ranks(), .seed = scenario.seed, .folder = {}});
    if (prepared) {
      programs.emplace(JobId{i}, std::move(*prepared));
    } else {
      errors.insert(errors.end(), prepared.error().begin(), prepared.error().end());
    }
  }
  if (!errors.empty()) return tl::unexpected(std::move(errors));
  return programs;
}

struct CommunicatingJobs::Shared {
  /// What ranks of a host cost, they take by themselves.
  Shared(World& world, const Scenario& scenario, const Instance& instance, Recorder& recorder,
         bool hosted)
      : locality(instance),
        runtime(world, instance, hosted ? MpiCosts() : scenario.platform.mpi, recorder, locality,
                hosted ? Duration::zero() : scenario.platform.hypervisor.set_status) {}
  Locality locality;
  mpi::MpiJobs runtime;
};

struct CommunicatingJobs::Running {
  JobId id;
  const mpi::WorkloadSpec& program;
  JobChannels channels;
  mpi::WorkloadLog log;
  std::unique_ptr<mpi::Job> job;           ///< here
  std::unique_ptr<mpi::HostedJob> hosted;  ///< or elsewhere

  /// Until all its ranks have ended.
  Result<> join(std::vector<std::string>& complaints) {
    if (hosted != nullptr) return hosted->join(log, complaints);
    Result<> ended = job->join();
    complaints = job->complaints();
    return ended;
  }
  void abort(const std::string& why) { hosted != nullptr ? hosted->abort(why) : job->abort(why); }

  Running(JobId job_id, const mpi::WorkloadSpec& does, const Scenario& scenario,
          const Instance& instance, const Locality& locality)
      : id(job_id),
        program(does),
        channels(instance.jobs[id.index], instance, locality,
                 std::make_shared<const RouteTable>(
                     ChannelPolicy::of(instance.jobs[id.index], instance, scenario.platform.mpi),
                     scenario.platform.channels)),
        log(does.ranks) {}
};

CommunicatingJobs::CommunicatingJobs(World& world, const Scenario& scenario,
                                     const Instance& instance, const JobPrograms& programs,
                                     Recorder& recorder, mpi::RankHost* host)
    : world_(world),
      instance_(instance),
      shared_(std::make_unique<Shared>(world, scenario, instance, recorder, host != nullptr)) {
  const Locality& locality = shared_->locality;
  for (const auto& [id, program] : programs) {
    const JobSpec& spec = instance.jobs[id.index];
    auto running = std::make_unique<Running>(id, program, scenario, instance, locality);
    if (host != nullptr) {
      mpi::HostedJobRequest request{id, spec, shared_->runtime.board(id), {}};
      for (const VmId vm : spec.vms) {
        const bool is_first = mpi::first_communicating(instance, vm) == id;
        if (is_first && shared_->runtime.watch(vm) != nullptr) {
          request.watches[vm] = shared_->runtime.watch(vm);
        }
      }
      running->hosted = host->open(request);
      jobs_.push_back(std::move(running));
      continue;
    }
    mpi::JobOptions options;
    options.name = spec.name;
    for (std::uint32_t rank = 0; rank < spec.ranks(); ++rank) {
      options.places.push_back(place_of(spec, instance, locality, RankId{rank}));
    }
    options.process.costs = scenario.platform.mpi.runtime;
    options.board = shared_->runtime.board(id);
    options.process.locality = mpi::hosts_of(spec, locality);
    running->job =
        std::make_unique<mpi::Job>(mpi::JobPorts{world.executor, world.processor, world.fabric},
                                   running->channels, std::move(options));
    jobs_.push_back(std::move(running));
  }
}

CommunicatingJobs::~CommunicatingJobs() = default;

void CommunicatingJobs::start() {
  for (const std::unique_ptr<Running>& running : jobs_) {
    if (running->hosted != nullptr) {
      running->hosted->start();
      continue;
    }
    const JobSpec& spec = instance_.jobs[running->id.index];
    running->job->start([this, &spec, raw = running.get()](mpi::Process& process) {
      const VmId vm = spec.vms[process.rank().index / spec.ranks_per_vm];
      const bool first = process.rank().index % spec.ranks_per_vm == 0 &&
                         mpi::first_communicating(instance_, vm) == raw->id;
      const Watched watched{first ? shared_->runtime.watch(vm) : nullptr};
      const mpi::EnginePorts ports{world_.clock, world_.processor, vm, watched.watch};
      mpi::run_workload(raw->program, process, ports, raw->log);
    });
  }
}

void CommunicatingJobs::finish(const std::vector<MoveRecord>& moves, Recorder& recorder) {
  std::vector<bool> moved(instance_.vms.size(), false);
  for (const MoveRecord& move : moves) {
    if (move.outcome != Outcome::not_started) moved[move.vm.index] = true;
  }
  for (const std::unique_ptr<Running>& running : jobs_) {
    std::vector<std::string> complaints;
    const Result<> ended = running->join(complaints);
    const JobSpec& spec = instance_.jobs[running->id.index];
    std::vector<bool> moved_ranks;
    for (const VmId vm : spec.vms) {
      moved_ranks.insert(moved_ranks.end(), spec.ranks_per_vm, moved[vm.index]);
    }
    std::vector<mpi::Interval> outages;
    for (const MoveRecord& move : moves) {
      const std::vector<JobId>& jobs = instance_.vms[move.vm.index].jobs;
      if (move.outcome == Outcome::not_started) continue;
      if (std::find(jobs.begin(), jobs.end(), running->id) == jobs.end()) continue;
      outages.emplace_back(move.start, move.end);
    }
    const mpi::JobEnd end{ended, world_.clock.now(), std::move(complaints)};
    recorder.job(mpi::make_job_record(running->id, running->program.workload.type, running->log,
                                      end, moved_ranks, outages));
  }
}

JobRuntime& CommunicatingJobs::runtime() { return shared_->runtime; }

std::size_t CommunicatingJobs::suspensions() const { return shared_->runtime.suspensions(); }

void CommunicatingJobs::abort(const std::string& why) {
  for (const std::unique_ptr<Running>& running : jobs_) running->abort(why);
}

}  // namespace ferry
