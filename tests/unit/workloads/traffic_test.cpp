// What each workload sends: the formulas against values worked out by hand from the kernels'
// sources, and what the workloads call against the formulas.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "core/mpi/workloads/nas.hpp"
#include "core/mpi/workloads/run_workload.hpp"
#include "core/mpi/workloads/trace_file.hpp"
#include "tests/unit/workloads/recording_calls.hpp"

namespace ferry::mpi {
namespace {

ComputeTimes some_times() {
  ComputeTimes times;
  for (auto& kernel : times.nas) kernel.fill(Duration::milliseconds(60));
  times.graph500_edge = Duration::nanoseconds(10);
  times.trace_million = Duration::milliseconds(1);
  return times;
}

WorkloadSpec spec_of(const Workload& workload, std::uint32_t ranks) {
  auto spec = prepare_workload(workload, some_times(), {"job", ranks, 3, "."});
  EXPECT_TRUE(spec.has_value()) << (spec ? "" : spec.error().front());
  return *spec;
}

struct Recorded {
  std::vector<std::unique_ptr<RecordingCalls>> ranks;
  WorkloadLog log;

  [[nodiscard]] std::string paired() const {
    std::vector<RecordingCalls*> all;
    for (const auto& rank : ranks) all.push_back(rank.get());
    return pair_up(all);
  }
};

Recorded record(const WorkloadSpec& spec) {
  Recorded recorded{{}, WorkloadLog(spec.ranks)};
  for (std::uint32_t rank = 0; rank < spec.ranks; ++rank) {
    recorded.ranks.push_back(
        std::make_unique<RecordingCalls>(static_cast<Rank>(rank), static_cast<Rank>(spec.ranks)));
    run_workload(spec, *recorded.ranks.back(), recorded.log.of(rank));
  }
  return recorded;
}

Workload nas(WorkloadType kernel, NasClass problem, std::uint32_t iterations = 0) {
  Workload workload;
  workload.type = kernel;
  workload.nas_class = problem;
  if (iterations > 0) workload.iterations = iterations;
  return workload;
}

struct Case {
  std::string name;
  Workload workload;
  std::uint32_t ranks;
};

std::vector<Case> cases() {
  std::vector<Case> cases;
  const auto add = [&](const char* name, const Workload& workload, std::uint32_t ranks) {
    cases.push_back({std::string(name) + "_" + std::to_string(ranks), workload, ranks});
  };
  for (const std::uint32_t ranks : {1U, 2U, 4U}) {
    add("lu_S", nas(WorkloadType::nas_lu, NasClass::S, 3), ranks);
  }
  for (const std::uint32_t ranks : {8U, 32U, 64U}) {
    add("lu_W", nas(WorkloadType::nas_lu, NasClass::W, 2), ranks);
  }
  add("lu_C", nas(WorkloadType::nas_lu, NasClass::C, 2), 32);
  for (const std::uint32_t ranks : {1U, 3U, 16U}) {
    add("ep_S", nas(WorkloadType::nas_ep, NasClass::S), ranks);
  }
  for (const std::uint32_t ranks : {1U, 4U, 32U}) {
    add("is_S", nas(WorkloadType::nas_is, NasClass::S), ranks);
  }
  for (const std::uint32_t ranks : {1U, 2U, 4U, 8U, 16U, 32U, 64U, 128U, 512U, 4096U}) {
    add("mg_S", nas(WorkloadType::nas_mg, NasClass::S, 2), ranks);
  }
  add("mg_C", nas(WorkloadType::nas_mg, NasClass::C, 2), 32);
  for (const std::uint32_t ranks : {1U, 2U, 4U, 8U, 16U, 32U, 64U, 128U}) {
    add("cg_S", nas(WorkloadType::nas_cg, NasClass::S, 2), ranks);
    add("cg_B", nas(WorkloadType::nas_cg, NasClass::B, 1), ranks);
  }
  for (const std::uint32_t ranks : {1U, 2U, 64U}) {
    add("ft_S", nas(WorkloadType::nas_ft, NasClass::S), ranks);
  }
  for (const WorkloadType type : {WorkloadType::osu_latency, WorkloadType::osu_bw}) {
    Workload workload;
    workload.type = type;
    workload.sizes = {Bytes(0), Bytes(8), Bytes::kibi(16)};
    workload.rounds = 2;
    add(type == WorkloadType::osu_bw ? "osu_bw" : "osu_latency", workload, 2);
  }
  for (const WorkloadType type : {WorkloadType::osu_bcast, WorkloadType::osu_allreduce}) {
    Workload workload;
    workload.type = type;
    workload.sizes = {Bytes(8), Bytes::kibi(16)};
    workload.iterations = 7;
    workload.warm_up = 2;
    add(type == WorkloadType::osu_bcast ? "osu_bcast" : "osu_allreduce", workload, 5);
  }
  Workload overlap;
  overlap.type = WorkloadType::overlap;
  overlap.iterations = 10;
  overlap.exchanges = 3;
  overlap.message = Bytes(100);
  overlap.share = Ratio(0.25);
  add("overlap", overlap, 6);
  for (std::uint8_t i = 0; i < 10; ++i) {
    Workload iterate;
    iterate.type = WorkloadType::iterate;
    iterate.iterations = 5;
    iterate.collective = static_cast<IteratedCollective>(i);
    iterate.compute = Duration::milliseconds(1);
    add(("iterate_" + std::to_string(i)).c_str(), iterate, 3);
  }
  Workload graph;
  graph.type = WorkloadType::graph500;
  graph.scale = 8;
  graph.edge_factor = 16;
  graph.iterations = 5;
  add("graph500", graph, 4);
  return cases;
}

class WorkloadTraffic : public testing::TestWithParam<Case> {};

TEST_P(WorkloadTraffic, is_what_the_formulas_say_and_every_message_has_a_receiver) {
  const WorkloadSpec spec = spec_of(GetParam().workload, GetParam().ranks);
  const Recorded recorded = record(spec);
  for (std::uint32_t rank = 0; rank < spec.ranks; ++rank) {
    const Traffic expected = expected_traffic(spec, rank);
    const Traffic& called = recorded.ranks[rank]->traffic;
    EXPECT_EQ(called.messages, expected.messages) << "rank " << rank;
    EXPECT_EQ(called.bytes, expected.bytes) << "rank " << rank;
    for (std::size_t kind = 0; kind < collective_count; ++kind) {
      EXPECT_EQ(called.collectives[kind], expected.collectives[kind])
          << "rank " << rank << ", " << to_name(static_cast<Collective>(kind));
    }
  }
  EXPECT_EQ(recorded.paired(), "");
}

INSTANTIATE_TEST_SUITE_P(Kinds, WorkloadTraffic, testing::ValuesIn(cases()),
                         [](const auto& test) { return test.param.name; });

struct HandValue {
  std::string name;
  Workload workload;
  std::uint32_t ranks;
  std::uint32_t rank;
  std::uint64_t messages;
  std::uint64_t bytes;
};

// LU class C on 4 ranks: a 2 x 2 grid of 81 x 81 x 162 points; each rank has one neighbour along x
// and one along y and 80 inner points on each edge. Per iteration: 160 planes x 2 edges of 5 x 80
// doubles, one sweep for each direction that it has, and 2 faces of 2 x 5 x 81 x 162 doubles:
// 322 messages, 2 x 160 x 3200 + 2 x 1,049,760 = 3,123,520 bytes. On 32 ranks (8 x 4) rank 9 is at
// (1, 1): 4 neighbours; 162 = 8 x 20 + 2, so 21 x 41 points, all inner: 161 x 4 messages, and
// 160 x (2 x 5 x 41 x 8 + 2 x 5 x 21 x 8) + 2 x 10 x 162 x 8 x (41 + 21) = 793,600 + 1,607,040.
// MG class S on 8 ranks (2 x 2 x 2): grids of 16, 8, 4, 2 and 1 points along each axis of a rank.
// Faces have n x n, (n + 2) n and (n + 2)^2 points: with n = 16 868, 8 244, 4 76, 2 28, 1 13. On
// the coarsest grid of 2 points every rank has one. Each exchange is 6 messages. 4 iterations: 13
// exchanges of the finest, 12 of three others, 8 of the coarsest = 57: 342 messages;
// 2 x 8 x (13 x 868 + 12 x (244 + 76 + 28) + 8 x 13) = 16 x 15,564 bytes.
// CG class A on 4 ranks: 2 x 2, blocks of 7000, one exchange stage. Per iteration 26 products of an
// exchange and a transposition with 7000 doubles, 52 sums of one and one of two doubles: 105
// messages, (52 x 7000 + 54) x 8 bytes; 15 iterations. On 8 ranks: 4 columns x 2 rows, blocks of
// 7000 x 3500: two stages with 3500 doubles and the transposition: 26 x 3 + 53 x 2 = 184 messages
// and (78 x 3500 + 108) x 8 bytes.
std::vector<HandValue> hand_values() {
  return {
      {"lu_C_4", nas(WorkloadType::nas_lu, NasClass::C), 4, 0, 250 * 322, 250 * 3'123'520ULL},
      {"lu_C_32", nas(WorkloadType::nas_lu, NasClass::C), 32, 9, 250 * 644, 250 * 2'400'640ULL},
      {"mg_S_8", nas(WorkloadType::nas_mg, NasClass::S), 8, 5, 342, 16 * 15'564ULL},
      {"cg_A_4", nas(WorkloadType::nas_cg, NasClass::A), 4, 2, 15 * 105, 15 * 2'912'432ULL},
      {"cg_A_8", nas(WorkloadType::nas_cg, NasClass::A), 8, 3, 15 * 184, 15 * 2'184'864ULL},
  };
}

TEST(KernelFormulas, give_the_messages_and_bytes_that_were_worked_out_by_hand) {
  for (const HandValue& value : hand_values()) {
    const Traffic traffic = expected_traffic(spec_of(value.workload, value.ranks), value.rank);
    EXPECT_EQ(traffic.messages, value.messages) << value.name;
    EXPECT_EQ(traffic.bytes, value.bytes) << value.name;
  }
}

TEST(KernelFormulas, give_the_collectives_that_were_worked_out_by_hand) {
  // IS class C on 8 ranks: (1024 + 5) ints summed, 8 ints, and an eighth of 2^27 keys of 4 bytes.
  const Traffic is = expected_traffic(spec_of(nas(WorkloadType::nas_is, NasClass::C), 8), 0);
  EXPECT_EQ(is.of(Collective::allreduce), (CallCount{10, 10 * 4116ULL}));
  EXPECT_EQ(is.of(Collective::alltoall), (CallCount{10, 10 * 32ULL}));
  EXPECT_EQ(is.of(Collective::alltoallv), (CallCount{10, 10 * 67'108'864ULL}));
  EXPECT_EQ(is.messages, 0U);
  // FT class B on 16 ranks: 21 transpositions of 512 x 256 x 256 complex numbers' sixteenth.
  const Traffic ft = expected_traffic(spec_of(nas(WorkloadType::nas_ft, NasClass::B), 16), 3);
  EXPECT_EQ(ft.of(Collective::alltoall), (CallCount{21, 21 * 33'554'432ULL}));
  EXPECT_EQ(ft.of(Collective::reduce), (CallCount{20, 320}));
  // EP: sums of one, one and ten doubles, and the time.
  const Traffic ep = expected_traffic(spec_of(nas(WorkloadType::nas_ep, NasClass::C), 16), 3);
  EXPECT_EQ(ep.of(Collective::allreduce), (CallCount{4, 104}));
}

TEST(KernelFormulas, count_lus_boundary_exchanges_as_the_sources_do) {
  // 250 iterations x 2 sweeps x 160 planes: the about 80,000 exchanges of class C.
  const Traffic corner = expected_traffic(spec_of(nas(WorkloadType::nas_lu, NasClass::C), 4), 0);
  EXPECT_EQ(corner.messages - 250 * 2, 80'000U);
}

TEST(NasComputation, adds_up_to_an_iterations_time_over_all_ranks) {
  for (const WorkloadType kernel :
       {WorkloadType::nas_lu, WorkloadType::nas_ep, WorkloadType::nas_is, WorkloadType::nas_mg,
        WorkloadType::nas_cg, WorkloadType::nas_ft}) {
    for (const std::uint32_t ranks : {1U, 4U}) {
      const WorkloadSpec spec = spec_of(nas(kernel, NasClass::S), ranks);
      const Recorded recorded = record(spec);
      Duration sum;
      for (const auto& rank : recorded.ranks) sum += rank->computed;
      double times = nas_iterations(kernel, NasClass::S);
      if (kernel == WorkloadType::nas_ft) times += 1;  // the transform before the first
      // And MG's residual before the first, 19 operations of about 19 + 19 + (19 + 19 + 24 + 20) /
      // 7
      // + ... for each point.
      const double more = kernel == WorkloadType::nas_mg ? 0.35 : 0;
      const double expected = 0.06 * times;
      EXPECT_GE(sum.to_seconds(), expected * 0.9999) << static_cast<int>(kernel) << " " << ranks;
      EXPECT_LE(sum.to_seconds(), (expected + 0.06 * more) * 1.0001)
          << static_cast<int>(kernel) << " " << ranks;
    }
  }
}

TEST(NasComputation, lies_between_the_messages) {
  // LU's slices: a compute for each plane of each sweep and two for the right-hand side.
  const WorkloadSpec spec = spec_of(nas(WorkloadType::nas_lu, NasClass::S, 5), 4);
  const Recorded recorded = record(spec);
  EXPECT_EQ(recorded.ranks[0]->computations, 5U * (2 * 10 + 2));
}

TEST(PreparedWorkload, says_what_is_missing_or_refused) {
  const auto refused =
      prepare_workload(nas(WorkloadType::nas_lu, NasClass::A), some_times(), {"lu", 12, 0, "."});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().front(),
            "lu: LU needs a power of two of ranks, and these are 12; write 8 or 16");
  const auto untimed =
      prepare_workload(nas(WorkloadType::nas_mg, NasClass::B), ComputeTimes(), {"mg", 8, 0, "."});
  ASSERT_FALSE(untimed);
  EXPECT_EQ(untimed.error().front(),
            "mg: the platform does not say how long this kernel computes; add compute.nas_mg.B to "
            "it");
}

TEST(PlatformTimes, concern_the_workloads_that_compute_by_them) {
  const Workload lu = nas(WorkloadType::nas_lu, NasClass::C);
  EXPECT_TRUE(concerns("platform.compute.nas_lu.C", lu));
  EXPECT_FALSE(concerns("platform.compute.nas_lu.B", lu));
  EXPECT_FALSE(concerns("platform.compute.nas_mg.C", lu));
  EXPECT_FALSE(concerns("platform.compute.graph500_edge", lu));
  EXPECT_TRUE(concerns("platform.mpi.notice", lu));
  EXPECT_TRUE(concerns("platform.mpi.notice", Workload()));
  EXPECT_TRUE(concerns("platform.channels.shm.copy", lu));
  EXPECT_TRUE(concerns("platform.mpi.call", lu));
  EXPECT_FALSE(concerns("platform.channels.shm.copy", Workload()));
  EXPECT_FALSE(concerns("platform.mpi.call", Workload()));
  EXPECT_FALSE(concerns("platform.compute.trace_million", Workload()));
}

TEST(RefusedRanks, names_each_kernels_own_bounds) {
  const auto text = [](WorkloadType kernel, NasClass problem, std::uint32_t ranks) {
    return refused_ranks(nas(kernel, problem), ranks).value_or("");
  };
  EXPECT_EQ(text(WorkloadType::nas_lu, NasClass::S, 8),
            "LU class S divides among at most 4 ranks, and these are 8; write fewer, or a larger "
            "class");
  EXPECT_EQ(text(WorkloadType::nas_lu, NasClass::C, 1024), "");
  EXPECT_EQ(text(WorkloadType::nas_ft, NasClass::S, 128),
            "FT class S divides among at most 64 ranks, and these are 128; write fewer, or a "
            "larger class");
  EXPECT_EQ(text(WorkloadType::nas_is, NasClass::D, 2),
            "IS class D needs at least 4 ranks, and these are 2; write more, or a smaller class");
  EXPECT_EQ(text(WorkloadType::nas_cg, NasClass::C, 24),
            "CG needs a power of two of ranks, and these are 24; write 16 or 32");
  EXPECT_EQ(text(WorkloadType::nas_ep, NasClass::S, 257),
            "EP class S divides among at most 256 ranks, and these are 257; write fewer, or a "
            "larger class");
  EXPECT_EQ(text(WorkloadType::osu_bw, NasClass::S, 3),
            "it measures between two ranks, and these are 3; write two VMs with ranks: 1, or one "
            "with ranks: 2");
  EXPECT_EQ(text(WorkloadType::overlap, NasClass::S, 3),
            "its ranks exchange messages in pairs, and these are 3; write an even number");
}

}  // namespace
}  // namespace ferry::mpi
