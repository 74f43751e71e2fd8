#include "core/mpi/workloads/trace_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/scratch_folder.hpp"
#include "tests/unit/workloads/recording_calls.hpp"

namespace ferry::mpi {
namespace {

// As SimGrid 3.32's `smpirun -trace-ti` wrote them for a program with each of these calls.
constexpr const char* rank_0 = R"(0 init
0 compute 0.4708
0 send 1 5 3 0
0 send 1 5 3 6
0 irecv 1 1 2 5
0 isend 1 1 2 5
0 wait 1 0 1
0 wait 0 1 1
0 irecv 1 1 2 5
0 isend 1 1 2 5
0 waitall 2
0 barrier
0 bcast 2 1 4 
0 reduce 3 0 1 1 
0 allreduce 3 0 1 
0 alltoall 1 1 3 3
0 gather 2 2 1 1 1
0 allgather 2 2 1 1
0 gatherv 1 0 0 1 1 1
0 allgatherv 1 1 2 1 1
0 scatter 2 2 1 1 1
0 scatterv 0 0 1 1 1 1
0 reducescatter 1 2 0 1
0 scan 3 0 1 
0 alltoallv 4 2 2 4 2 2 1 1
0 sendRecv 1 1 1 1 1 1
0 irecv 1 1 2 5
0 send 1 1 2 5
0 test 1 0 1
0 finalize
)";
constexpr const char* rank_1 = R"(1 init
1 recv 0 5 3 0
1 recv -333 -444 3 6
1 irecv 0 1 2 5
1 isend 0 1 2 5
1 wait 0 1 1
1 wait 1 0 1
1 irecv 0 1 2 5
1 isend 0 1 2 5
1 waitall 2
1 barrier
1 bcast 2 1 4 
1 reduce 3 0 1 1 
1 allreduce 3 0 1 
1 alltoall 1 1 3 3
1 gather 2 2 1 1 1
1 allgather 2 2 1 1
1 gatherv 2 1 2 1 1 1
1 allgatherv 2 1 2 1 1
1 scatter 2 2 1 1 1
1 scatterv 1 2 2 1 1 1
1 reducescatter 1 2 0 1
1 scan 3 0 1 
1 alltoallv 4 2 2 4 2 2 1 1
1 sendRecv 1 0 1 0 1 1
1 irecv 0 1 2 5
1 send 0 1 2 5
1 wait 0 1 1
1 finalize
)";

TEST(TraceFile, gives_every_call_of_a_trace_of_simgrid) {
  const std::string text = std::string(rank_0) + rank_1;
  const auto program = parse_trace({{"two.ti", text}}, 2);
  ASSERT_TRUE(program) << program.error().front();
  for (std::uint32_t rank = 0; rank < 2; ++rank) {
    RecordingCalls calls(static_cast<Rank>(rank), 2);
    run_trace(program->ranks[rank], Duration::milliseconds(1), calls);
    EXPECT_EQ(calls.traffic, trace_traffic(*program, rank)) << rank;
  }
  const Traffic traffic = trace_traffic(*program, 0);
  // 3 doubles, 3 bytes, three times 2 floats, an int.
  EXPECT_EQ(traffic.messages, 6U);
  EXPECT_EQ(traffic.bytes, 24U + 3 + 3 * 8 + 4);
  EXPECT_EQ(trace_traffic(*program, 1).of(Collective::bcast), (CallCount{1, 16}));
  EXPECT_EQ(traffic.of(Collective::bcast), (CallCount{1, 0}));
  EXPECT_EQ(trace_traffic(*program, 1).of(Collective::scatterv), (CallCount{1, 12}));
  EXPECT_EQ(traffic.of(Collective::alltoallv), (CallCount{1, 16}));
  EXPECT_EQ(traffic.of(Collective::reduce_scatter), (CallCount{1, 12}));
}

TEST(TraceFile, takes_elements_for_bytes_or_doubles_as_init_says) {
  const auto bytes = parse_trace({{"t", "0 init\n0 send 0 1 1e3\n0 recv 0 1 1000"}}, 1);
  ASSERT_TRUE(bytes) << bytes.error().front();
  EXPECT_EQ(trace_traffic(*bytes, 0).bytes, 1000U);
  const auto doubles = parse_trace({{"t", "0 init 1\n0 send 0 1 1000\n0 recv 0 1 -1"}}, 1);
  ASSERT_TRUE(doubles);
  EXPECT_EQ(trace_traffic(*doubles, 0).bytes, 8000U);
  EXPECT_EQ(doubles->ranks[0].actions[1].size, unknown_size);
}

TEST(TraceFile, computes_by_the_platforms_speed) {
  const auto program = parse_trace({{"t", "0 compute 2.5e6\n0 sleep 0.5\n0 allreduce 1 1e6 0"}}, 1);
  ASSERT_TRUE(program);
  RecordingCalls calls(0, 1);
  run_trace(program->ranks[0], Duration::milliseconds(2), calls);
  EXPECT_EQ(calls.computed, Duration::milliseconds(5 + 500 + 2));
}

struct BadLine {
  const char* line;
  const char* message;
};

TEST(TraceFile, says_in_which_line_what_is_wrong_and_what_would_be_right) {
  const std::vector<BadLine> lines = {
      {"2 barrier", "2 is out of range; write a rank of the job from 0 to 1"},
      {"x barrier", "'x' is no whole number; write a rank of the job"},
      {"0", "there is no action; write RANK ACTION ARGUMENT..."},
      {"0 sned 1 0 8",
       "'sned' is no action; write compute, send, recv, isend, irecv, wait, waitall or a "
       "collective's name"},
      {"0 send 1 0", "send has 2 of its arguments; write RANK send PARTNER TAG COUNT [TYPE]"},
      {"0 send 7 0 8", "7 is out of range; write a rank of the job from 0 to 1"},
      {"0 send 1 0 -8", "'-8' is out of range; write a count of elements from 0 to 1e18"},
      {"0 send 1 0 1.5", "'1.5' is no count of elements; write a whole number up to 2^50"},
      {"0 send 1 0 8 9", "9 is out of range; write a type that SimGrid has by itself, from 0 to 6"},
      {"0 send 1 -444 8", "a message is sent with a tag; write one"},
      {"0 compute nan", "'nan' is no number; write an amount of computation"},
      {"0 wait 1 0 3", "no isend or irecv before it is from 1 to 0 with tag 3; write it first"},
      {"0 wait 1 1 3", "rank 0 waits for a message from 1 to 1; write one of its own"},
      {"0 alltoallv 8 4 4 8 4",
       "alltoallv has 5 of its arguments; write RANK alltoallv SIZE SEND_COUNT... SIZE "
       "RECEIVE_COUNT... [TYPES]"},
  };
  for (const BadLine& bad : lines) {
    const std::string text = std::string("# a comment\n1 barrier\n") + bad.line + "\n0 barrier\n";
    const auto program = parse_trace({{"bad.ti", text}}, 2);
    ASSERT_FALSE(program) << bad.line;
    ASSERT_EQ(program.error().size(), 1U) << bad.line;
    EXPECT_EQ(program.error().front(), std::string("bad.ti:3: ") + bad.message);
  }
}

TEST(TraceFile, says_that_a_rank_is_missing_and_stops_after_twenty_errors) {
  const auto missing = parse_trace({{"t.ti", "0 barrier\n"}}, 2);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().front(),
            "t.ti: rank 1 has no action, and the job has 2 ranks; give the job as many ranks as "
            "the trace has");
  std::string many;
  for (int i = 0; i < 100; ++i) many += "0 nothing\n";
  const auto errors = parse_trace({{"t.ti", many}}, 1);
  ASSERT_FALSE(errors);
  EXPECT_EQ(errors.error().size(), most_trace_errors);
}

TEST(TraceFile, reads_the_files_that_a_file_lists) {
  const ScratchFolder scratch;
  const std::filesystem::path& folder = scratch.path();
  std::filesystem::create_directories(folder / "parts");
  std::ofstream(folder / "all.txt") << "parts/0.txt\nparts/1.txt\n";
  std::ofstream(folder / "parts/0.txt") << rank_0;
  std::ofstream(folder / "parts/1.txt") << rank_1;
  const auto program = read_trace(folder / "all.txt", 2);
  EXPECT_TRUE(program) << program.error().front();
  std::filesystem::remove(folder / "parts/1.txt");
  const auto missing = read_trace(folder / "all.txt", 2);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().front(),
            (folder / "parts/1.txt").string() + ": there is no such file; write a trace's name");
}

TEST(TraceFile, is_read_for_one_rank_where_only_its_lines_are) {
  const std::string others = "1 sned nonsense\n";  // is not looked at
  const auto program = parse_trace({{"t", rank_0 + others}}, 2, 0);
  ASSERT_TRUE(program) << program.error().front();
  const auto both = parse_trace({{"t", std::string(rank_0) + rank_1}}, 2);
  ASSERT_TRUE(both);
  EXPECT_EQ(program->ranks[0].actions.size(), both->ranks[0].actions.size());
  EXPECT_EQ(trace_traffic(*program, 0), trace_traffic(*both, 0));
  EXPECT_TRUE(program->ranks[1].actions.empty());
  EXPECT_FALSE(parse_trace({{"t", rank_0}}, 2, 1));
}

TEST(TraceFile, is_divided_by_ranks_so_that_each_part_says_what_the_whole_does) {
  const ScratchFolder scratch;
  const std::filesystem::path& folder = scratch.path();
  std::ofstream(folder / "all.txt") << "0.txt\n1.txt\n";
  std::ofstream(folder / "0.txt")
      << "# a comment\n0 init 1\n1 init\n0 isend 1 7 5\n1 irecv 0 7 40\n"
         "0 wait 0 1 7\n1 wait 0 1 7\n0 barrier\n1 barrier";
  std::ofstream(folder / "1.txt") << "  2 init\n\n2\tcompute 5\n2 barrier\n3 init\n3 barrier";
  const auto whole = read_trace(folder / "all.txt", 4);
  ASSERT_TRUE(whole) << whole.error().front();
  const auto parts = divide_trace(folder / "all.txt", {1, 0, 1, 0});
  ASSERT_TRUE(parts) << parts.error().front();
  ASSERT_EQ(parts->size(), 2U);
  for (std::uint32_t rank = 0; rank < 4; ++rank) {
    const auto own = parse_trace({{"part", (*parts)[rank % 2 == 0 ? 1 : 0]}}, 4, rank);
    ASSERT_TRUE(own) << rank << ": " << own.error().front();
    EXPECT_EQ(own->ranks[rank].actions.size(), whole->ranks[rank].actions.size()) << rank;
    EXPECT_EQ(trace_traffic(*own, rank), trace_traffic(*whole, rank)) << rank;
  }
  EXPECT_FALSE(parse_trace({{"part", (*parts)[0]}}, 4, 0));
  const auto missing = divide_trace(folder / "none.txt", {0});
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().front(), testing::HasSubstr("none.txt: there is no such file"));
}

}  // namespace
}  // namespace ferry::mpi
