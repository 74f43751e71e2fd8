#include "controller/communicating_jobs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/channel/coordinator.hpp"
#include "core/mpi/job.hpp"
#include "core/mpi/mpi_jobs.hpp"
#include "core/mpi/workloads/engine_calls.hpp"
#include "core/topology/locality.hpp"

namespace ferry {
namespace {

constexpr std::size_t most_reasons = 10;

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

/// The longest computation between two calls of a rank in one of these VMs; of any, if in none.
Duration longest_slice(const JobSpec& job, const mpi::WorkloadLog& log,
                       const std::vector<bool>& moved) {
  Duration of_any;
  Duration of_moved;
  for (std::uint32_t rank = 0; rank < log.ranks().size(); ++rank) {
    const Duration slice = log.ranks()[rank].longest_slice;
    of_any = std::max(of_any, slice);
    if (moved[job.vms[rank / job.ranks_per_vm].index]) of_moved = std::max(of_moved, slice);
  }
  return of_moved > Duration::zero() ? of_moved : of_any;
}

/// The first lines of a long text.
std::string shortened(const std::string& text) {
  std::size_t end = 0;
  std::size_t lines = 0;
  for (; end < text.size(); ++end) {
    if (text[end] == '\n' && ++lines == most_reasons) break;
  }
  if (end >= text.size()) return text;
  std::size_t more = 0;
  for (std::size_t i = end + 1; i < text.size(); ++i) more += text[i] == '\n' ? 1U : 0U;
  return more == 0 ? text.substr(0, end)
                   : fmt::format("{}\nand {} more", text.substr(0, end), more);
}

/// Lines as one, for a field of a table.
std::string in_one_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (std::size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 2)) {
    text.replace(at, 1, "; ");
  }
  return text;
}

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
  Shared(World& world, const Scenario& scenario, const Instance& instance, Recorder& recorder)
      : locality(instance),
        runtime(world, instance, scenario.platform.mpi, recorder, locality,
                scenario.platform.hypervisor.set_status) {}
  Locality locality;
  mpi::MpiJobs runtime;
};

struct CommunicatingJobs::Running {
  JobId id;
  const mpi::WorkloadSpec& program;
  JobChannels channels;
  mpi::WorkloadLog log;
  std::unique_ptr<mpi::Job> job;

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
                                     Recorder& recorder)
    : world_(world),
      instance_(instance),
      shared_(std::make_unique<Shared>(world, scenario, instance, recorder)) {
  const Locality& locality = shared_->locality;
  for (const auto& [id, program] : programs) {
    const JobSpec& spec = instance.jobs[id.index];
    auto running = std::make_unique<Running>(id, program, scenario, instance, locality);
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
    const Result<> ended = running->job->join();
    JobRecord record;
    record.job = running->id;
    bool first = true;
    for (const mpi::RankLog& rank : running->log.ranks()) {
      record.start = first ? rank.began : std::min(record.start, rank.began);
      record.end = first ? rank.ended : std::max(record.end, rank.ended);
      first = false;
      record.messages += rank.traffic.messages;
      record.bytes += Bytes(rank.traffic.bytes);
      for (const mpi::CallCount& calls : rank.traffic.collectives) {
        record.messages += calls.calls;
        record.bytes += Bytes(calls.bytes);
      }
      if (record.reason.empty() && rank.wrong_messages > 0) record.reason = rank.first_wrong;
    }
    record.longest_slice = longest_slice(instance_.jobs[running->id.index], running->log, moved);
    if (!ended) {
      record.end = world_.clock.now();
      record.reason = in_one_line(shortened(ended.error().reason));
    } else if (record.reason.empty()) {
      const std::vector<std::string> complaints = running->job->complaints();
      if (!complaints.empty()) record.reason = complaints.front();
    }
    std::vector<mpi::Interval> outages;
    for (const MoveRecord& move : moves) {
      const std::vector<JobId>& jobs = instance_.vms[move.vm.index].jobs;
      if (move.outcome == Outcome::not_started) continue;
      if (std::find(jobs.begin(), jobs.end(), running->id) == jobs.end()) continue;
      outages.emplace_back(move.start, move.end);
    }
    const WorkloadType type = running->program.workload.type;
    for (mpi::Measurement& row : mpi::measurements(type, running->log, outages)) {
      record.measurements.push_back(
          {std::move(row.metric), row.message_bytes, row.repetition, row.value, row.unit});
    }
    recorder.job(record);
  }
}

JobRuntime& CommunicatingJobs::runtime() { return shared_->runtime; }

std::size_t CommunicatingJobs::suspensions() const { return shared_->runtime.suspensions(); }

void CommunicatingJobs::abort(const std::string& why) {
  for (const std::unique_ptr<Running>& running : jobs_) running->job->abort(why);
}

}  // namespace ferry
