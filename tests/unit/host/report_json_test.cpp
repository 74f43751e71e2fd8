// Reports written and read again, and reports that are none.
#include "hw_backend/host/report_json.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "hw_backend/host/guid.hpp"
#include "hw_backend/host/host_report.hpp"
#include "tests/unit/host/system_picture.hpp"

namespace ferry::host {
namespace {

using testing::HasSubstr;
using Json = nlohmann::ordered_json;

/// Of a host where every list has something in it.
std::string whole_report() {
  const SystemPicture picture;
  picture.make_ready();
  picture.write("dev/shm/jobs", "x");
  picture.write("etc/libvirt/qemu/a.xml", "<shmem name='jobs'/>");
  picture.write("run/libvirt/qemu/a.xml", "<shmem name='jobs'/>");
  picture.add_process(7, "qemu-system-x86", "qemu", "0-1 rw-s 0 00:00 9 /dev/shm/jobs\n",
                      {"/dev/vfio/41"});
  NoLinks links;
  return to_json(look_at_host(picture.tree(), links));
}

std::string wrong_in(const std::string& text) {
  const auto report = read_report(text);
  return report ? "nothing" : report.error().reason;
}

TEST(ReportJson, what_is_written_is_read) {
  const std::string text = whole_report();
  const auto report = read_report(text);
  ASSERT_TRUE(report) << report.error().reason;
  EXPECT_EQ(to_json(*report), text);
  EXPECT_EQ(report->host, "node01");
  EXPECT_EQ(report->adapters.front().functions.back().user->process, 7U);
  EXPECT_EQ(report->shared_memory.front().users.front().program, "qemu-system-x86");
}

/// Calls `use` with each place of a value in `json`, and the value.
void for_each_value(Json& json, const std::string& path,
                    const std::function<void(const std::string&, Json&)>& use) {
  if (json.is_object()) {
    for (auto& [key, value] : json.items()) {
      const std::string inside = path.empty() ? key : path + "." + key;
      use(inside, value);
      for_each_value(value, inside, use);
    }
  } else if (json.is_array()) {
    for (std::size_t i = 0; i < json.size(); ++i) {
      for_each_value(json[i], path + "[" + std::to_string(i) + "]", use);
    }
  }
}

TEST(ReportJson, every_key_that_is_missing_or_of_another_kind_is_named) {
  Json whole = Json::parse(whole_report());
  std::size_t seen = 0;
  for_each_value(whole, "", [&](const std::string& path, Json& value) {
    if (path == "ferry_host") return;
    ++seen;
    const Json before = value;
    // A kind that none has.
    value = 1.5;
    EXPECT_THAT(wrong_in(whole.dump()), HasSubstr(path + " is n")) << path;
    value = before;
  });
  EXPECT_GT(seen, 120U);
  whole["adapters"][0]["functions"][1].erase("policy");
  EXPECT_EQ(wrong_in(whole.dump()), "adapters[0].functions[1].policy is missing");
}

TEST(ReportJson, numbers_are_not_negative_and_fit) {
  Json whole = Json::parse(whole_report());
  whole["iommu"]["groups"] = -1;
  EXPECT_EQ(wrong_in(whole.dump()), "iommu.groups is no number from 0 on, or too large");
  whole["iommu"]["groups"] = 1ULL << 32U;
  EXPECT_EQ(wrong_in(whole.dump()), "iommu.groups is no number from 0 on, or too large");
  whole["iommu"]["groups"] = 1;
  whole["findings"][0]["level"] = "bad";
  EXPECT_EQ(wrong_in(whole.dump()), "findings[0].level is not one of ok, warning, failed");
}

TEST(ReportJson, keys_of_later_versions_of_the_same_shape_are_left_out) {
  Json whole = Json::parse(whole_report());
  whole["colour"] = "blue";
  EXPECT_EQ(wrong_in(whole.dump()), "nothing");
}

TEST(ReportJson, what_is_no_report_is_refused) {
  for (const std::string text : {"", "{", "[]", "null", "3", "{}", "ssh: connection refused",
                                 "{\"ferry_host\"", "\xff\xfe"}) {
    EXPECT_EQ(wrong_in(text), "it is no report of ferry-host report --json") << text;
  }
  EXPECT_EQ(wrong_in(std::string(100'000, '[')), "it is no report of ferry-host report --json");
  EXPECT_EQ(wrong_in("{\"ferry_host\": 2}"),
            "it is a report of version 2, and this ferry reads version 1; use the same version of "
            "Ferry on all machines");
  EXPECT_EQ(wrong_in("{\"ferry_host\": 1}"), "host is missing");
}

TEST(ReportJson, what_a_host_says_need_not_be_text) {
  Report report;
  report.host = "\xff\x01";
  EXPECT_EQ(wrong_in(to_json(report)), "nothing");
}

TEST(Guids, are_read_in_the_ways_that_systems_write_them) {
  const std::uint64_t guid = 0x0002'c903'0010'fffe;
  EXPECT_EQ(parse_guid("00:02:c9:03:00:10:ff:fe"), guid);
  EXPECT_EQ(parse_guid("0002:c903:0010:fffe"), guid);
  EXPECT_EQ(parse_guid("0002c9030010FFFE"), guid);
  EXPECT_EQ(guid_text(guid), "00:02:c9:03:00:10:ff:fe");
  for (const std::string text :
       {"", ":", "0002c9030010fff", "0002c9030010fffe0", "0x02c9030010fffe", "0002c903:0010fffe",
        "00:02:c903:0010:fffe", "0002:c903:0010:fff:e", "000:2c9:030:010:fff:e", "+002c9030010fffe",
        "00 2c9030010fffe", "00:02:c9:03:00:10:ff:fe:"}) {
    EXPECT_FALSE(parse_guid(text)) << text;
  }
}

}  // namespace
}  // namespace ferry::host
