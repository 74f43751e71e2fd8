#include <gtest/gtest.h>

#include "core/record/summary.hpp"
#include "tests/unit/record/example_run.hpp"

namespace ferry {
namespace {

using testing::at_ms;

std::string lines(const std::vector<Metric>& metrics) {
  std::string text;
  for (const Metric& m : metrics) {
    text += m.name + '=' + m.value + ' ' + m.unit +
            (m.reason.empty() ? "" : " (" + m.reason + ")") + '\n';
  }
  return text;
}

TEST(summary, means_are_over_completed_moves_and_sums_over_all) {
  RunRecords records;
  testing::record_example(records);
  EXPECT_EQ(lines(summarise(records, account_moves(records), {})),
            "makespan_seconds=2.000000000 s\n"
            "total_seconds=2.000000000 s\n"
            "total_max_seconds=2.000000000 s\n"
            "downtime_seconds=0.120000000 s\n"
            "downtime_max_seconds=0.120000000 s\n"
            "outage_seconds=1.900000000 s\n"
            "outage_max_seconds=1.900000000 s\n"
            "bytes=1050 B\n"
            "rounds=2 \n"
            "migrations=3 \n"
            "failed=2 \n"
            "set_pre_migration_seconds=0.100000000 s\n"
            "detach_vf_seconds=0.300000000 s\n"
            "remove_ivshmem_seconds=0.000000000 s\n"
            "migration_seconds=1.000000000 s\n"
            "attach_vf_seconds=0.100000000 s\n"
            "add_ivshmem_seconds=0.400000000 s\n"
            "set_post_migration_seconds=0.100000000 s\n"
            "lost_traffic_seconds=1.950000000 s\n"
            "throughput=0.025000 \n");
}

TEST(summary, a_run_without_moves_has_empty_values_with_reasons) {
  const RunRecords records;
  const auto metrics = summarise(records, account_moves(records), {});
  EXPECT_EQ(lines({metrics[0], metrics[1], metrics[7]}),
            "makespan_seconds= s (no move was started)\n"
            "total_seconds= s (no move completed)\n"
            "bytes=0 B\n");
}

TEST(summary, means_are_rounded_to_the_nearest_nanosecond) {
  RunRecords records;
  for (const std::int64_t length : {1, 2, 2}) {
    MoveRecord move;
    move.end = TimePoint::at(Duration::nanoseconds(length));
    records.move(move);
  }
  EXPECT_EQ(summarise(records, account_moves(records), {})[1].value, "0.000000002");  // 5/3
}

TEST(summary, spans_of_a_vm_that_moves_twice_belong_to_the_move_that_had_started) {
  RunRecords records;
  records.span({VmId{0}, Phase::migration, HostId{0}, at_ms(0), at_ms(10)});
  records.span({VmId{0}, Phase::attach_vf, HostId{1}, at_ms(10), at_ms(30)});
  MoveRecord back;  // recorded before the first one
  back.start = at_ms(10);
  back.end = at_ms(30);
  records.move(back);
  MoveRecord out;
  out.start = at_ms(0);
  out.end = at_ms(10);
  records.move(out);
  const auto accounts = account_moves(records);
  ASSERT_EQ(accounts.size(), 2U);
  EXPECT_EQ(accounts[0].times[static_cast<std::size_t>(Phase::attach_vf)],
            Duration::milliseconds(20));
  EXPECT_EQ(accounts[0].times[static_cast<std::size_t>(Phase::migration)], Duration::zero());
  EXPECT_EQ(accounts[1].times[static_cast<std::size_t>(Phase::migration)],
            Duration::milliseconds(10));
}

TEST(summary, the_verdict_is_that_of_the_first_move_that_did_not_complete) {
  RunRecords records;
  testing::record_example(records);
  const RunVerdict verdict = judge(records, testing::example_instance());
  EXPECT_EQ(verdict.outcome, Outcome::rolled_back);
  EXPECT_EQ(verdict.reason, "detach_vf: refused, \"busy\"");
  EXPECT_EQ(verdict.failed, 2U);
  EXPECT_EQ(judge(RunRecords(), Instance()).outcome, Outcome::completed);
}

}  // namespace
}  // namespace ferry
