#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "core/record/job_accounts.hpp"
#include "core/record/tables.hpp"
#include "tests/unit/record/example_run.hpp"

namespace ferry {
namespace {

class Tables : public ::testing::Test {
 protected:
  Tables() { testing::record_example(records_); }
  Instance instance_ = testing::example_instance();
  RunRecords records_;
};

TEST_F(Tables, migrations_have_the_documented_columns_and_empty_fields_for_what_does_not_exist) {
  EXPECT_EQ(migrations_csv(account_moves(records_), instance_),
            "migration,vm,from,to,job,strategy,transport,device,total_seconds,downtime_seconds,"
            "outage_seconds,bytes,rounds,outcome,reason,set_pre_migration_seconds,"
            "detach_vf_seconds,remove_ivshmem_seconds,migration_seconds,attach_vf_seconds,"
            "add_ivshmem_seconds,set_post_migration_seconds,lost_traffic_seconds\n"
            // equal starts: vm2 before vm10
            "leave,vm2,host0,host0,,,rdma,detach,0.600000000,,0.000000000,,,rolled_back,"
            "\"detach_vf: refused, \"\"busy\"\"\",0.100000000,0.500000000,0.000000000,0.000000000,"
            "0.000000000,0.000000000,0.000000000,0.000000000\n"
            // both jobs, by name
            "leave,vm10,host0,host1,\"ep,0;lu1\",progress_engine;migration_thread,rdma,detach,"
            "2.000000000,0.120000000,1.900000000,1050,2,completed,,0.100000000,0.300000000,"
            "0.000000000,1.000000000,0.100000000,0.400000000,0.100000000,1.950000000\n"
            "leave,vm1,host0,host0,,,rdma,detach,,,,,,not_started,interrupted,,,,,,,,\n");
}

TEST_F(Tables, spans_keep_real_times_and_are_ordered_by_start_and_name) {
  EXPECT_THAT(
      spans_csv(records_, instance_),
      ::testing::StartsWith("vm,phase,host,start_seconds,end_seconds,outcome\n"
                            "vm2,set_pre_migration,host0,1.000000000,1.100000000,completed\n"
                            "vm10,set_pre_migration,host0,1.000000000,1.100000000,completed\n"
                            "vm2,detach_vf,host0,1.100000000,1.500000000,failed\n"
                            "vm10,detach_vf,host0,1.100000000,1.400000000,completed\n"
                            "vm10,remove_ivshmem,host0,1.200000000,1.300000000,completed\n"));
}

TEST_F(Tables, rounds_are_listed_by_vm) {
  records_.round(VmId{1}, {1, Bytes(7), Duration::milliseconds(1), Bytes(3)});
  EXPECT_EQ(rounds_csv(records_, instance_),
            "vm,round,bytes,seconds,dirty_bytes\n"
            "vm2,1,7,0.001000000,3\n"
            "vm10,1,1000,0.800000000,50\n"
            "vm10,2,50,0.040000000,0\n");
}

TEST_F(Tables, jobs_count_the_time_in_which_any_rank_was_blocked_once) {
  EXPECT_EQ(jobs_csv(records_, instance_),
            "job,strategy,workload,elapsed_seconds,unmigrated_seconds,exposed_seconds,overlap,"
            "messages,bytes,reason,slice_seconds,overlap_bound\n"
            "\"ep,0\",progress_engine,timed,,,0.000000000,,,,"
            "the timed workload has no work of its own and sends no messages,,\n"
            // 1.1 .. 3.0 s and 4.0 .. 4.5 s
            "lu1,migration_thread,timed,,,2.400000000,,,,"
            "the timed workload has no work of its own and sends no messages,,\n");
}

TEST_F(Tables, ranks_are_ordered_by_request_job_and_number) {
  EXPECT_EQ(ranks_csv(records_, instance_),
            "job,rank,requested,drained,ready,blocked_from,blocked_to\n"
            "lu1,0,1.000000000,1.020000000,1.030000000,1.100000000,2.900000000\n"
            "lu1,1,1.000000000,1.050000000,1.060000000,1.500000000,3.000000000\n"
            "lu1,0,4.000000000,4.000000000,4.000000000,4.000000000,4.500000000\n");
}

TEST_F(Tables, do_not_depend_on_the_order_in_which_the_file_lists_vms_jobs_and_moves) {
  // The same run with every list of the scenario turned round, recorded in another order.
  Instance turned = instance_;
  std::reverse(turned.vms.begin(), turned.vms.end());
  std::reverse(turned.jobs.begin(), turned.jobs.end());
  std::reverse(turned.hosts.begin(), turned.hosts.end());
  const auto vm = [](VmId id) { return VmId{2 - id.index}; };
  const auto host = [](HostId id) { return HostId{2 - id.index}; };
  const auto job = [](JobId id) { return JobId{1 - id.index}; };
  for (VmSpec& spec : turned.vms) {
    for (JobId& id : spec.jobs) id = job(id);
    std::reverse(spec.jobs.begin(), spec.jobs.end());
  }
  for (MoveSpec& spec : turned.moves) spec.vm = vm(spec.vm);
  std::reverse(turned.moves.begin(), turned.moves.end());
  RunRecords records;
  for (auto i = records_.spans().rbegin(); i != records_.spans().rend(); ++i) {
    SpanRecord span = *i;
    span.vm = vm(span.vm);
    span.host = host(span.host);
    records.span(span);
  }
  for (const RoundRecord& round : records_.rounds()) records.round(vm(round.vm), round.report);
  for (auto i = records_.moves().rbegin(); i != records_.moves().rend(); ++i) {
    MoveRecord move = *i;
    move.vm = vm(move.vm);
    move.from = host(move.from);
    move.to = host(move.to);
    move.move = 2 - move.move;
    records.move(move);
  }
  for (auto i = records_.ranks().rbegin(); i != records_.ranks().rend(); ++i) {
    RankRecord rank = *i;
    rank.job = job(rank.job);
    records.rank(rank);
  }
  EXPECT_EQ(spans_csv(records, turned), spans_csv(records_, instance_));
  EXPECT_EQ(rounds_csv(records, turned), rounds_csv(records_, instance_));
  EXPECT_EQ(jobs_csv(records, turned), jobs_csv(records_, instance_));
  EXPECT_EQ(ranks_csv(records, turned), ranks_csv(records_, instance_));
  EXPECT_EQ(migrations_csv(account_moves(records), turned),
            migrations_csv(account_moves(records_), instance_));
}

TEST(tables, a_metric_without_value_is_an_empty_field_with_its_reason) {
  EXPECT_EQ(summary_csv({{"bytes", "7", "B", ""}, {"total_seconds", "", "s", "no move completed"}}),
            "metric,value,unit,reason\n"
            "bytes,7,B,\n"
            "total_seconds,,s,no move completed\n");
}

/// lu1 took 12 s, of which its first move accounts for some, and measured two things; ep was given
/// up.
void record_jobs(RunRecords& records) {
  const auto at = [](std::int64_t ms) { return TimePoint::at(Duration::milliseconds(ms)); };
  JobRecord lu;
  lu.job = JobId{0};
  lu.start = at(0);
  lu.end = at(12'000);
  lu.messages = 7;
  lu.bytes = Bytes(56);
  lu.longest_slice = Duration::milliseconds(300);
  lu.measurements = {{"latency", 8, 0, 1.25e-06, "s"},
                     {"bandwidth", std::nullopt, 1, 6.5e9, "B/s"}};
  records.job(lu);
  JobRecord ep;
  ep.job = JobId{1};
  ep.end = at(500);
  ep.reason = "deadlock";
  records.job(ep);
}

class TablesOfJobs : public Tables {
 protected:
  TablesOfJobs() {
    for (JobSpec& job : instance_.jobs) job.workload.type = WorkloadType::nas_lu;
    record_jobs(records_);
  }
};

TEST_F(TablesOfJobs, what_a_job_lost_is_its_time_less_that_without_migrations) {
  records_.set_unmigrated({{JobId{0}, Duration::seconds(11)}});
  const std::vector<JobAccount> accounts = account_jobs(records_, instance_);
  const JobAccount& lu = accounts[0];
  EXPECT_EQ(lu.elapsed, Duration::seconds(12));
  EXPECT_EQ(lu.exposed, Duration::seconds(1));
  EXPECT_EQ(lu.reason, "");
  ASSERT_TRUE(lu.overlap);
  EXPECT_LT(*lu.overlap, 1);
  // Two suspensions hide 300 ms each of the 2 s from 1 s on: the second came after that.
  EXPECT_EQ(lu.slice, Duration::milliseconds(300));
  ASSERT_TRUE(lu.overlap_bound);
  EXPECT_NEAR(*lu.overlap_bound, 0.3, 1e-9);
  EXPECT_FALSE(accounts[1].elapsed);
  EXPECT_EQ(accounts[1].reason, "deadlock");
  const RunVerdict verdict = judge(records_, instance_);
  EXPECT_EQ(verdict.failed_jobs, 1U);
  EXPECT_FALSE(verdict.all_well());
}

TEST_F(TablesOfJobs, a_pause_of_the_guest_is_never_hidden) {
  JobRecord lu;
  lu.job = JobId{0};
  lu.start = TimePoint::at(Duration::zero());
  lu.end = TimePoint::at(Duration::seconds(12));
  lu.longest_slice = Duration::seconds(10);
  records_.job(lu);
  records_.set_unmigrated({{JobId{0}, Duration::seconds(11)}});
  const std::vector<JobAccount> accounts = account_jobs(records_, instance_);
  ASSERT_TRUE(accounts[0].overlap_bound);  // 120 ms of 2 s
  EXPECT_NEAR(*accounts[0].overlap_bound, 0.94, 1e-9);
}

TEST_F(TablesOfJobs, without_a_twin_nothing_is_known_to_be_lost) {
  const std::vector<JobAccount> accounts = account_jobs(records_, instance_);
  EXPECT_EQ(accounts[0].elapsed, Duration::seconds(12));
  EXPECT_FALSE(accounts[0].exposed);
  EXPECT_NE(accounts[0].reason, "");
}

TEST_F(TablesOfJobs, measurements_are_listed_by_job) {
  EXPECT_EQ(measurements_csv(records_, instance_),
            "job,metric,message_bytes,repetition,value,unit\n"
            "lu1,latency,8,0,1.25e-06,s\n"
            "lu1,bandwidth,,1,6.5e+09,B/s\n");
}

TEST_F(TablesOfJobs, metrics_of_jobs_are_means_over_those_that_are_known) {
  records_.set_unmigrated({{JobId{0}, Duration::seconds(11)}});
  const std::vector<Metric> metrics =
      summarise(records_, account_moves(records_), account_jobs(records_, instance_));
  std::map<std::string, std::string> values;
  for (const Metric& metric : metrics) values[metric.name] = metric.value;
  EXPECT_EQ(values.at("elapsed_seconds"), "12.000000000");
  EXPECT_EQ(values.at("exposed_seconds"), "1.000000000");
  EXPECT_EQ(values.at("messages"), "7");
  std::vector<std::string> names;
  for (const Metric& metric : metrics) names.push_back(metric.name);
  EXPECT_EQ(names, metric_names());
}

}  // namespace
}  // namespace ferry
