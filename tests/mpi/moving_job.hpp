// A small cluster whose VMs run one real job, and moves of these VMs while it runs.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/channel/coordinator.hpp"
#include "core/mpi/engine.hpp"
#include "core/mpi/job.hpp"
#include "core/mpi/mpi_jobs.hpp"
#include "core/topology/locality.hpp"
#include "tests/contract/contract.hpp"

namespace ferry::mpi {

/// Four hosts; one job over `hosts.size()` VMs, the first on `hosts[0]` and so on.
struct MovingCluster {
  Instance instance;
  Platform platform;
};
inline MovingCluster moving_cluster(const std::vector<std::uint32_t>& hosts,
                                    std::uint32_t ranks_per_vm) {
  SmallCluster small = small_cluster();
  MovingCluster cluster{small.instance, small.platform};
  const VmSpec model = small.instance.vms.front();
  cluster.instance.vms.clear();
  JobSpec job = small.instance.jobs.front();
  job.name = "job";
  job.vms.clear();
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    VmSpec vm = model;
    vm.name = "vm" + std::to_string(i);
    vm.host = HostId{hosts[i]};
    vm.jobs = {JobId{0}};
    job.vms.push_back(VmId{static_cast<std::uint32_t>(i)});
    cluster.instance.vms.push_back(vm);
  }
  job.ranks_per_vm = ranks_per_vm;
  job.next_call.assign(hosts.size() * ranks_per_vm, Duration::zero());
  job.ivshmem = Bytes::mebi(1);
  cluster.instance.jobs = {job};
  return cluster;
}

/// Keeps what ranks did.
class SuspensionLog final : public Recorder {
 public:
  explicit SuspensionLog(Executor& executor) : mutex_(executor.make_mutex()) {}
  void span(const SpanRecord& /*span*/) override {}
  void round(VmId /*vm*/, const RoundReport& /*round*/) override {}
  void move(const MoveRecord& /*move*/) override {}
  void job(const JobRecord& /*job*/) override {}
  void rank(const RankRecord& rank) override {
    const Lock lock(*mutex_);
    ranks.push_back(rank);
  }
  std::vector<RankRecord> ranks;

 private:
  std::unique_ptr<Mutex> mutex_;
};

/// The job in a world, and the runtime that suspends it.
class MovingJob {
 public:
  MovingJob(World& world, const MovingCluster& cluster, ProcessOptions process = {})
      : world_(world),
        cluster_(cluster),
        locality_(cluster.instance),
        channels_(spec(), cluster.instance, locality_,
                  std::make_shared<RouteTable>(
                      ChannelPolicy::of(spec(), cluster.instance, cluster.platform.mpi),
                      cluster.platform.channels)),
        mutex_(world.executor.make_mutex()),
        log(world.executor),
        jobs(world, cluster.instance, cluster.platform.mpi, log, locality_) {
    JobOptions options;
    options.name = "job";
    options.process = std::move(process);
    options.process.locality = hosts_of(spec(), locality_);
    options.process.costs = cluster.platform.mpi.runtime;
    for (const VmId vm : spec().vms) {
      const RankPlace place{.vm = vm, .host = {}, .container = 0, .socket = 0};
      options.places.insert(options.places.end(), spec().ranks_per_vm, place);
    }
    options.board = jobs.board(JobId{0});
    job = std::make_unique<Job>(JobPorts{world.executor, world.processor, world.fabric}, channels_,
                                std::move(options));
  }

  [[nodiscard]] const JobSpec& spec() const { return cluster_.instance.jobs.front(); }

  /// Suspends, moves the VMs to `destinations` one after the other, and reactivates. Whether ranks
  /// were ready by `patience`; if not, nothing was moved.
  bool move(const std::vector<VmId>& vms, const std::vector<HostId>& destinations,
            Duration patience = Duration::seconds(60)) {
    const SuspendRequest request{JobId{0}, next_epoch(), vms};
    const bool ready = jobs.suspend(request, after(world_, patience)).has_value();
    const TimePoint late = after(world_, Duration::seconds(600));
    if (ready) expect_suspended(vms);
    for (std::size_t i = 0; ready && i < vms.size(); ++i) {
      RoundLog rounds;
      Hypervisor& hypervisor = world_.hypervisor;
      EXPECT_TRUE(succeeded(hypervisor.detach(vms[i], DeviceKind::virtual_function, late)));
      EXPECT_TRUE(succeeded(hypervisor.detach(vms[i], DeviceKind::ivshmem, late)));
      const Result<TransferReport> moved =
          hypervisor.migrate(vms[i], destinations[i], {}, rounds, late);
      EXPECT_TRUE(succeeded(moved));
      if (moved) add_downtime(moved->downtime);
      EXPECT_TRUE(succeeded(hypervisor.attach(vms[i], DeviceKind::virtual_function, late)));
      EXPECT_TRUE(succeeded(hypervisor.attach(vms[i], DeviceKind::ivshmem, late)));
    }
    if (ready) expect_suspended(vms);
    EXPECT_TRUE(succeeded(jobs.reactivate(request, late)));
    return ready;
  }

  /// No connection leads to or from the VMs.
  void expect_suspended(const std::vector<VmId>& vms) {
    if (!looks_in) return;
    const auto vm_of = [&](std::uint32_t rank) { return spec().vms[rank / spec().ranks_per_vm]; };
    const auto moves = [&](std::uint32_t rank) {
      return std::find(vms.begin(), vms.end(), vm_of(rank)) != vms.end();
    };
    for (std::uint32_t i = 0; i < job->size(); ++i) {
      for (const Engine::Balance& balance : job->process(RankId{i}).engine().balances()) {
        if (vm_of(i) == vm_of(balance.rank.index)) continue;
        if (!moves(i) && !moves(balance.rank.index)) continue;
        EXPECT_EQ(balance.connection, Peer::Connection::held)
            << "rank " << i << " to " << balance.rank.index;
      }
    }
  }

  /// After the job has ended: nothing is left of any message, or of any suspension.
  void expect_nothing_left() {
    EXPECT_EQ(jobs.suspensions(), 0U);
    std::map<std::pair<std::uint32_t, std::uint32_t>, Engine::Balance> balances;
    for (std::uint32_t i = 0; i < job->size(); ++i) {
      const Engine& engine = job->process(RankId{i}).engine();
      EXPECT_EQ(engine.open_requests(), 0U) << "rank " << i;
      EXPECT_EQ(engine.unexpected_count(), 0U) << "rank " << i;
      for (const Engine::Balance& balance : engine.balances()) {
        balances.emplace(std::pair(i, balance.rank.index), balance);
      }
    }
    for (const auto& [pair, balance] : balances) {
      SCOPED_TRACE(testing::Message() << "rank " << pair.first << " to " << pair.second);
      EXPECT_EQ(balance.connection, Peer::Connection::open);
      EXPECT_TRUE(balance.idle);
      const auto back = balances.find({pair.second, pair.first});
      if (back == balances.end()) continue;
      EXPECT_EQ(balance.used_credits, back->second.consumed_credits);
      EXPECT_EQ(balance.fragments_sent, back->second.fragments_taken);
    }
  }

 private:
  std::uint64_t next_epoch() {
    const Lock lock(*mutex_);
    return ++epochs_;
  }
  void add_downtime(Duration time) {
    const Lock lock(*mutex_);
    downtime += time;
  }

  World& world_;
  const MovingCluster& cluster_;
  Locality locality_;
  JobChannels channels_;
  std::unique_ptr<Mutex> mutex_;  ///< of what several moves write
  std::uint64_t epochs_ = 0;

 public:
  bool looks_in = false;  ///< at ranks while they are suspended: where one task runs at a time
  Duration downtime;      ///< of all moves
  SuspensionLog log;
  MpiJobs jobs;
  std::unique_ptr<Job> job;
};

}  // namespace ferry::mpi
