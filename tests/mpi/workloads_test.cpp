// Every workload through the engine: what it really sends is what the formulas say, and no message
// is wrong.
#include <map>
#include <string>

#include "core/mpi/workloads/engine_calls.hpp"
#include "core/mpi/workloads/run_workload.hpp"
#include "core/mpi/workloads/trace_file.hpp"
#include "tests/mpi/mpi_job.hpp"

namespace ferry::mpi {
namespace {

class Workloads : public MpiJob {
 protected:
  static ComputeTimes brief_times() {
    ComputeTimes times;
    for (auto& kernel : times.nas) kernel.fill(Duration::microseconds(200));
    times.graph500_edge = Duration::nanoseconds(10);
    times.trace_million = Duration::microseconds(1);
    return times;
  }

  void run_and_compare(const Workload& workload, std::uint32_t ranks) const {
    auto prepared = prepare_workload(workload, brief_times(), {"job", ranks, 1, "."});
    ASSERT_TRUE(prepared) << prepared.error().front();
    run_and_compare(*prepared);
  }

  void run_and_compare(const WorkloadSpec& spec) const {
    run([&](World& world) {
      const UniformChooser chooser(every_protocol());
      Job job({world.executor, world.processor, world.fabric}, chooser, options(spec.ranks));
      WorkloadLog log(spec.ranks);
      job.start([&](Process& process) {
        run_workload(spec, process, {world.clock, world.processor, std::nullopt}, log);
      });
      const Result<void> ended = job.join();
      EXPECT_TRUE(ended) << ended.error().reason;
      EXPECT_THAT(job.complaints(), testing::IsEmpty());
      for (std::uint32_t rank = 0; rank < spec.ranks; ++rank) {
        const RankLog& mine = log.of(rank);
        EXPECT_EQ(mine.traffic, expected_traffic(spec, rank)) << "rank " << rank;
        EXPECT_EQ(mine.wrong_messages, 0U) << mine.first_wrong;
      }
      EXPECT_GT(log.elapsed(), Duration::zero());
    });
  }
};
FERRY_FOR_EVERY_WORLD(Workloads);

Workload nas(WorkloadType kernel, std::uint32_t iterations) {
  Workload workload;
  workload.type = kernel;
  workload.nas_class = NasClass::S;
  workload.iterations = iterations;
  return workload;
}

TEST_P(Workloads, kernels_send_what_their_formulas_say) {
  run_and_compare(nas(WorkloadType::nas_lu, 3), 4);
  run_and_compare(nas(WorkloadType::nas_ep, 1), 3);
  run_and_compare(nas(WorkloadType::nas_is, 2), 8);
  run_and_compare(nas(WorkloadType::nas_cg, 1), 8);
  run_and_compare(nas(WorkloadType::nas_ft, 2), 4);
}

TEST_P(Workloads, multigrid_sends_to_itself_and_to_ranks_that_wake_up) {
  run_and_compare(nas(WorkloadType::nas_mg, 1), 2);
  run_and_compare(nas(WorkloadType::nas_mg, 1), 32);
}

TEST_P(Workloads, benchmarks_measure_each_of_their_operations) {
  for (const WorkloadType type : {WorkloadType::osu_latency, WorkloadType::osu_bw,
                                  WorkloadType::osu_bcast, WorkloadType::osu_allreduce}) {
    Workload workload;
    workload.type = type;
    workload.sizes = {Bytes(0), Bytes(8), Bytes(5), Bytes(3000), Bytes(100'000)};
    workload.iterations = 3;
    workload.warm_up = 1;
    run_and_compare(workload, 2);
  }
}

TEST_P(Workloads, loops_run_every_collective) {
  for (std::uint8_t i = 0; i < 10; ++i) {
    Workload workload;
    workload.type = WorkloadType::iterate;
    workload.collective = static_cast<IteratedCollective>(i);
    workload.iterations = 2;
    workload.compute = Duration::microseconds(10);
    run_and_compare(workload, 5);
  }
  Workload overlap;
  overlap.type = WorkloadType::overlap;
  overlap.iterations = 4;
  overlap.exchanges = 3;
  overlap.message = Bytes(64);
  overlap.share = Ratio(0.5);
  run_and_compare(overlap, 4);
}

TEST_P(Workloads, searches_exchange_their_edges) {
  Workload workload;
  workload.type = WorkloadType::graph500;
  workload.scale = 7;
  workload.iterations = 3;
  run_and_compare(workload, 3);
}

TEST_P(Workloads, traces_are_replayed) {
  const std::string text =
      "0 init\n1 init\n0 send 1 5 3 0\n1 recv -333 -444 9 0\n0 irecv 1 1 2 5\n0 isend 1 1 2 5\n"
      "1 irecv 0 1 2 5\n1 isend 0 1 2 5\n0 wait 1 0 1\n0 wait 0 1 1\n1 waitall 2\n"
      "0 sendRecv 1 1 1 1 1 1\n1 sendRecv 1 0 1 0 1 1\n0 send 1 0 700\n1 recv 0 0 -1\n"
      "0 gatherv 1 0 0 1 1 1\n1 gatherv 2 1 2 1 1 1\n0 scatterv 0 0 1 1 1 1\n"
      "1 scatterv 1 2 2 1 1 1\n0 reducescatter 1 2 0 1\n1 reducescatter 1 2 0 1\n"
      "0 alltoallv 3 1 2 4 1 3 1 1\n1 alltoallv 7 3 4 6 2 4 1 1\n0 irecv 1 1 2 5\n1 send 0 1 2 5\n"
      "0 test 1 0 1\n0 finalize\n1 finalize\n";
  WorkloadSpec spec;
  spec.workload.type = WorkloadType::trace;
  spec.ranks = 2;
  spec.times = brief_times();
  auto program = parse_trace({{"two.ti", text}}, 2);
  ASSERT_TRUE(program) << program.error().front();
  spec.trace = std::make_shared<TraceProgram>(std::move(*program));
  run_and_compare(spec);
}

}  // namespace
}  // namespace ferry::mpi
