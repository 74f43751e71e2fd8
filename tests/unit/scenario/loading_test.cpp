// Files, settings, constants and the resolved dump.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/scenario/document.hpp"
#include "files.hpp"
#include "fingerprint.hpp"
#include "tests/scratch_folder.hpp"

namespace ferry {
namespace {

const SourcedConstant* find(const std::vector<SourcedConstant>& constants,
                            const std::string& path) {
  for (const SourcedConstant& constant : constants) {
    if (constant.path == path) return &constant;
  }
  return nullptr;
}

class GoodFile : public testing::TestWithParam<std::string> {};

TEST_P(GoodFile, is_dumped_so_that_it_reads_back_the_same) {
  const auto first = load_scenario(good_file(GetParam()));
  ASSERT_TRUE(first) << errors_of(first);
  const auto second = read_scenario(first->resolved, "elsewhere/resolved.yaml");
  ASSERT_TRUE(second) << errors_of(second);
  EXPECT_EQ(second->resolved, first->resolved);
  EXPECT_EQ(fingerprint(second->scenario), fingerprint(first->scenario));
  for (const SourcedConstant& constant : first->constants) {
    const SourcedConstant* again = find(second->constants, constant.path);
    ASSERT_NE(again, nullptr) << constant.path;
    EXPECT_EQ(again->source, constant.source);
    EXPECT_EQ(again->kind, constant.kind);
    EXPECT_EQ(again->fitted_to, constant.fitted_to);
  }
  EXPECT_EQ(second->constants.size(), first->constants.size());
}

INSTANTIATE_TEST_SUITE_P(All, GoodFile, testing::Values("minimal.yaml", "everything.yaml"),
                         [](const auto& file) {
                           return std::filesystem::path(file.param).stem().string();
                         });

TEST(Defaults, are_written_out) {
  const auto loaded = load_scenario(good_file("minimal.yaml"));
  ASSERT_TRUE(loaded) << errors_of(loaded);
  const std::string expected = R"(    timeouts:
      suspend: 30s
      detach: 30s
      ivshmem: 30s
      migration: 800s
      attach: 60s
    retry:
      attempts: 0
      wait: 10s
schedule:
  order: parallel
  batch: vm
  limits:
    cluster: unlimited
    host_out: unlimited
    host_in: unlimited
    link: unlimited
  stagger: 0s
constraints: []
faults: []
outputs:
  trace: true
  links: true
  twin: true
)";
  EXPECT_THAT(loaded->resolved, testing::EndsWith(expected));
  EXPECT_EQ(loaded->scenario.cluster.hosts[0].ivshmem, Bytes::gibi(8));  // the host's memory
}

TEST(Traces, that_are_elsewhere_are_not_looked_for) {
  const ScratchFolder scratch;
  const std::filesystem::path file = scratch.path() / "job.yaml";
  std::ofstream(file)
      << "ferry: 1\nname: t\nplatform: " << good_file("test-bed.yaml").string()
      << "\ncluster: {hosts: [{name: h, cores: 4, memory: 8GiB, virtual_functions: 1}]}\n"
         "vms: [{name: v, on: h, vcpus: 1, memory: 1GiB, pages: {zero: 20%}}]\n"
         "jobs: [{name: j, on: {vms: v}, ranks: 1, workload: {type: trace, file: "
         "/elsewhere/app.ti}}]\n";
  const std::vector<Setting> speed = {{"platform.compute.trace_million", "1ms"}};
  EXPECT_THAT(errors_of(load_scenario(file, speed)), testing::HasSubstr("there is no file"));
  const auto loaded = load_scenario(file, speed, TraceFiles::elsewhere);
  ASSERT_TRUE(loaded) << errors_of(loaded);
  EXPECT_EQ(loaded->scenario.jobs.at(0).workload.file, "/elsewhere/app.ti");
}

TEST(Kinds, of_files_are_seen_by_their_keys) {
  EXPECT_EQ(detect_file_kind(good_file("minimal.yaml")).value(), FileKind::scenario);
  EXPECT_EQ(detect_file_kind(good_file("study.yaml")).value(), FileKind::study);
  EXPECT_EQ(detect_file_kind(good_file("test-bed.yaml")).value(), FileKind::platform);
  EXPECT_EQ(
      errors_of(detect_file_kind("nowhere.yaml")),
      "nowhere.yaml:1:1: cannot read 'nowhere.yaml': there is no such file; write the name of "
      "a file that can be read\n");
  EXPECT_EQ(errors_of(detect_file_kind("/dev/zero")),
            "/dev/zero:1:1: cannot read '/dev/zero': it is no regular file; write the name of a "
            "file that can be read\n");
}

TEST(Platforms, carry_the_source_of_every_constant) {
  const auto platform = load_platform(good_file("test-bed.yaml"));
  ASSERT_TRUE(platform) << errors_of(platform);
  EXPECT_EQ(platform->constants.size(), 35U);
  const SourcedConstant* fitted =
      find(platform->constants, "platform.hypervisor.attach_vf.per_gib");
  ASSERT_NE(fitted, nullptr);
  EXPECT_EQ(fitted->value, "0.25s");
  EXPECT_EQ(fitted->kind, ConstantKind::fitted);
  EXPECT_EQ(fitted->fitted_to, (std::vector<std::string>{"C1", "C2"}));
  EXPECT_EQ(fitted->line, 13U);
  EXPECT_EQ(platform->platform.hypervisor.attach_vf.per_gib, Duration::milliseconds(250));
}

TEST(Platforms, are_overridden_key_by_key) {
  const auto loaded = load_scenario(good_file("everything.yaml"));
  ASSERT_TRUE(loaded) << errors_of(loaded);
  const Platform& platform = loaded->scenario.platform;
  EXPECT_EQ(platform.name, "test-bed");
  EXPECT_EQ(platform.description, "with overrides");
  EXPECT_EQ(platform.hypervisor.prepare, Duration::milliseconds(1'800));
  EXPECT_EQ(platform.hypervisor.finish, Duration::milliseconds(30));
  EXPECT_EQ(platform.hypervisor.clean_up, Duration::milliseconds(10));
  EXPECT_EQ(platform.streams[0].bandwidth, Bandwidth::bytes_per_second(1.1e9));
  EXPECT_EQ(platform.streams[1].bandwidth, Bandwidth::bytes_per_second(2e9));
  const SourcedConstant* prepare = find(loaded->constants, "platform.hypervisor.prepare");
  ASSERT_NE(prepare, nullptr);
  EXPECT_EQ(prepare->source, "a lab, on paper");
  const SourcedConstant* finish = find(loaded->constants, "platform.hypervisor.finish");
  ASSERT_NE(finish, nullptr);
  EXPECT_EQ(finish->kind, ConstantKind::unstated);
  // A quantity of the scenario itself is a constant only if it says where it comes from.
  EXPECT_NE(find(loaded->constants, "cluster.networks.fabric.link.bandwidth"), nullptr);
  EXPECT_EQ(find(loaded->constants, "cluster.networks.ethernet.link.bandwidth"), nullptr);
}

TEST(Constants, can_all_be_set_and_keep_their_source) {
  const auto base = load_scenario(good_file("everything.yaml"));
  ASSERT_TRUE(base) << errors_of(base);
  for (const SourcedConstant& constant : base->constants) {
    for (const double factor : {0.5, 2.0}) {
      const std::optional<std::string> value = scaled_value(constant.value, factor);
      ASSERT_TRUE(value) << constant.path;
      const auto loaded = load_scenario(good_file("everything.yaml"), {{constant.path, *value}});
      ASSERT_TRUE(loaded) << errors_of(loaded);
      const SourcedConstant* again = find(loaded->constants, constant.path);
      ASSERT_NE(again, nullptr) << constant.path;
      EXPECT_EQ(again->value, *value) << constant.path;
      EXPECT_EQ(again->source, constant.source);
      EXPECT_EQ(again->kind, constant.kind);
      EXPECT_NE(loaded->resolved, base->resolved);
    }
  }
}

TEST(ScaledValues, stay_in_their_kind_of_unit) {
  EXPECT_EQ(scaled_value("0.55s", 2), "1.1s");
  EXPECT_EQ(scaled_value("4GiB", 0.5), "2GiB");
  EXPECT_EQ(scaled_value("56Gbps", 2), "14GB/s");
  EXPECT_EQ(scaled_value("10%", 0.5), "5%");
  EXPECT_EQ(scaled_value("4", 0.5), "2");
  EXPECT_EQ(scaled_value("1", 0.5), "1");  // a count never becomes zero
  EXPECT_EQ(scaled_value("red", 2), std::nullopt);
  EXPECT_EQ(scaled_value("", 2), std::nullopt);
}

TEST(Settings, address_items_by_name_by_position_and_all_of_them) {
  const auto loaded =
      load_scenario(good_file("everything.yaml"), {{"vms.vm.vcpus", "3"},
                                                   {"migrations.1.at", "70s"},
                                                   {"migrations.*.retry.wait", "1s"},
                                                   {"schedule.limits.link", "9"}});
  ASSERT_TRUE(loaded) << errors_of(loaded);
  EXPECT_EQ(loaded->scenario.vms[0].vcpus, 3U);
  EXPECT_EQ(loaded->scenario.vms[1].vcpus, 1U);
  EXPECT_EQ(loaded->scenario.migrations[1].at.at, Duration::milliseconds(70'000));
  for (const Migration& migration : loaded->scenario.migrations) {
    EXPECT_EQ(migration.retry.wait, Duration::milliseconds(1'000));
  }
  EXPECT_EQ(loaded->scenario.schedule.limits.link, 9U);
}

TEST(Settings, make_keys_that_the_file_does_not_have) {
  const auto loaded =
      load_scenario(good_file("minimal.yaml"), {{"schedule.limits.host_out", "2"},
                                                {"vms.vm.count", "1"},
                                                {"platform.streams.tcp.bandwidth", "3GB/s"},
                                                {"jobs", "[{name: lu, on: {vms: vm}, ranks: 1}]"}});
  ASSERT_TRUE(loaded) << errors_of(loaded);
  EXPECT_EQ(loaded->scenario.schedule.limits.host_out, 2U);
  EXPECT_EQ(expand(loaded->scenario).vms[0].name, "vm0");
  EXPECT_EQ(loaded->scenario.platform.streams[0].bandwidth, Bandwidth::bytes_per_second(3e9));
  EXPECT_EQ(loaded->scenario.jobs.size(), 1U);
}

TEST(Settings, can_replace_the_platform_and_then_change_it) {
  const auto loaded = load_scenario(
      good_file("minimal.yaml"),
      {{"platform.hypervisor.prepare", "9s"}, {"platform", "../bad/platforms/tcp_only.yaml"}});
  ASSERT_TRUE(loaded) << errors_of(loaded);
  EXPECT_EQ(loaded->scenario.platform.streams[2].bandwidth, Bandwidth());
  EXPECT_EQ(loaded->scenario.platform.hypervisor.prepare, Duration::milliseconds(9'000));
}

TEST(Settings, later_ones_win) {
  const auto loaded = load_scenario(good_file("minimal.yaml"), {{"seed", "5"}, {"seed", "6"}});
  ASSERT_TRUE(loaded) << errors_of(loaded);
  EXPECT_EQ(loaded->scenario.seed, 6U);
}

TEST(LeafSettings, give_back_the_scenario_they_were_taken_from) {
  const auto base = load_scenario(good_file("everything.yaml"));
  ASSERT_TRUE(base) << errors_of(base);
  const std::vector<Setting> leaves = leaf_settings(*base);
  const auto again = read_scenario(base->resolved, "resolved.yaml", leaves);
  ASSERT_TRUE(again) << errors_of(again);
  EXPECT_EQ(again->resolved, base->resolved);
  EXPECT_GT(leaves.size(), 150U);
}

}  // namespace
}  // namespace ferry
