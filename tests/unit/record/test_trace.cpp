#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "core/record/trace.hpp"
#include "tests/unit/record/example_run.hpp"

namespace ferry {
namespace {

using nlohmann::json;
using testing::at_ms;

TEST(trace, has_one_track_per_vm_by_name_and_an_event_per_span) {
  RunRecords records;
  testing::record_example(records);
  const json trace = json::parse(trace_json(records, testing::example_instance()));
  std::map<std::string, int> track_of;
  std::size_t spans = 0;
  for (const json& event : trace["traceEvents"]) {
    if (event["name"] == "thread_name") track_of[event["args"]["name"]] = event["tid"];
    if (event["ph"] == "X") ++spans;
  }
  EXPECT_EQ(spans, records.spans().size());
  EXPECT_LT(track_of.at("vm2"), track_of.at("vm10"));
  EXPECT_EQ(track_of.count("vm1"), 0U);
  EXPECT_EQ(track_of.count("vm10 (overlapping)"), 1U);  // add_ivshmem ends after attach_vf

  const json& first = trace["traceEvents"][3];  // after the names of the process and of vm2's track
  EXPECT_EQ(first, json::parse(R"({"ph": "X", "pid": 1, "tid": 1, "cat": "phase",
      "name": "set_pre_migration", "ts": 1000000.000, "dur": 100000.000,
      "args": {"host": "host0", "outcome": "completed"}})"));
}

TEST(trace, events_of_one_track_nest_or_follow_each_other) {
  const Instance instance = testing::example_instance();
  RunRecords records;
  for (int i = 0; i < 40; ++i) {
    const int start = (i * 37) % 101;
    records.span({VmId{0}, static_cast<Phase>(i % 7), HostId{0}, at_ms(start),
                  at_ms(start + (i * 53) % 29)});
  }
  const json trace = json::parse(trace_json(records, instance));
  std::map<int, std::vector<std::pair<double, double>>> by_track;
  for (const json& event : trace["traceEvents"]) {
    if (event["ph"] != "X") continue;
    const double start = event["ts"];
    by_track[event["tid"]].emplace_back(start, start + event["dur"].get<double>());
  }
  for (const auto& [track, events] : by_track) {
    for (const auto& a : events) {
      for (const auto& b : events) {
        EXPECT_FALSE(a.first < b.first && b.first < a.second && a.second < b.second)
            << "track " << track;
      }
    }
  }
}

TEST(trace, odd_names_are_escaped) {
  Instance instance = testing::example_instance();
  instance.vms[0].name = "a\"b\\c\n";
  RunRecords records;
  records.span({VmId{0}, Phase::migration, HostId{0}, at_ms(0), at_ms(1)});
  const json trace = json::parse(trace_json(records, instance));
  EXPECT_EQ(trace["traceEvents"][1]["args"]["name"], "a\"b\\c\n");
}

}  // namespace
}  // namespace ferry
