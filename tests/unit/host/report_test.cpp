// A whole host, and hosts of which something is missing or garbled.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hw_backend/host/host_report.hpp"
#include "hw_backend/host/report_json.hpp"
#include "hw_backend/host/report_text.hpp"
#include "tests/sanitized.hpp"
#include "tests/unit/host/system_picture.hpp"

namespace ferry::host {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;

Report look(const SystemPicture& picture) {
  NoLinks links;
  return look_at_host(picture.tree(), links);
}

TEST(HostReport, a_host_that_is_ready_has_no_failure) {
  const SystemPicture picture;
  picture.make_ready();
  const Report report = look(picture);
  EXPECT_FALSE(has_failed(report)) << report_text(report);
  EXPECT_EQ(report.host, "node01");
  EXPECT_EQ(report.versions.kernel, "6.1.0-18-amd64");
  EXPECT_EQ(report.versions.qemu, "") << "nothing of a picture is run";
  EXPECT_TRUE(report.iommu.on);
  EXPECT_THAT(report.iommu.options, ElementsAre("intel_iommu=on", "iommu=pt"));
  EXPECT_THAT(report.iommu.units, ElementsAre("dmar0"));
  EXPECT_EQ(report.vfio, true);
  EXPECT_EQ(report.rdma_netns, "shared");
  ASSERT_EQ(report.locked_memory.size(), 1U);
  EXPECT_EQ(report.locked_memory.front().limit, Bytes::mebi(64));
}

TEST(HostReport, hwloc_tells_nodes_and_where_the_adapter_sits) {
  const SystemPicture picture;
  picture.make_ready();
  const Report report = look(picture);
  ASSERT_EQ(report.numa.size(), 2U);
  EXPECT_EQ(report.numa[1].node, 1U);
  EXPECT_EQ(report.numa[1].package, 1U);
  EXPECT_EQ(report.numa[1].cores, 2U);
  EXPECT_EQ(report.numa[1].processors, 2U);
  EXPECT_EQ(report.numa[1].memory, Bytes::gibi(16));
  ASSERT_EQ(report.numa[1].huge_pages.size(), 1U);
  EXPECT_EQ(report.numa[1].huge_pages.front().size, Bytes::mebi(2));
  EXPECT_EQ(report.numa[1].huge_pages.front().free, 100U);
  EXPECT_EQ(report.adapters.front().package, 1U);
}

TEST(HostReport, an_empty_system_has_findings_too) {
  const SystemPicture picture;
  const Report report = look(picture);
  EXPECT_THAT(report.findings,
              Contains(Field(&Finding::text, "/sys/devices/system/cpu is not there")));
  EXPECT_FALSE(has_failed(report)) << "there is nothing that could be given to a VM";
}

TEST(HostReport, its_text_has_functions_findings_and_what_helps) {
  const SystemPicture picture;
  picture.make_ready();
  picture.write("sys/class/infiniband/mlx5_0/ports/1/state", "1: DOWN\n");
  const std::string text = report_text(look(picture));
  EXPECT_THAT(text, HasSubstr("host node01\n"));
  EXPECT_THAT(text, HasSubstr("0000:03:00.2  mlx5_0   vfio-pci  41     00:11:22:33:44:55:66:02  "
                              "00:11:22:33:44:55:66:82  follow  -\n"));
  EXPECT_THAT(text, HasSubstr("to put it right:\nmlx5_0: port 1: "));
  EXPECT_THAT(text, HasSubstr("0 warnings, 1 failed\n"));
}

/// All files and links below a folder, relative to it.
std::vector<fs::path> all_in(const fs::path& root) {
  std::vector<fs::path> files;
  for (const auto& each : fs::recursive_directory_iterator(root)) {
    if (!each.is_directory() || each.is_symlink()) {
      files.push_back(each.path().lexically_relative(root));
    }
  }
  return files;
}

TEST(HostReport, whatever_file_is_missing_empty_or_garbled_there_is_a_report) {
  const SystemPicture picture;
  picture.make_ready();
  const std::vector<std::string> contents = {"", "-1\n", std::string("\0\xff\x80garbage", 10),
                                             std::string(70'000, '9')};
  const std::vector<fs::path> files = all_in(picture.root());
  ASSERT_GT(files.size(), 60U);
  // Each look forks, which sanitizers make slow: each way with some of the files there.
  constexpr std::size_t ways = sanitized ? 3 : 1;
  std::size_t turn = 0;
  for (const fs::path& file : files) {
    const fs::path path = picture.root() / file;
    const bool is_link = fs::is_symlink(path);
    const fs::path target = is_link ? fs::read_symlink(path) : fs::path();
    const std::string before = is_link ? std::string() : picture.tree().text(file).value();
    const auto check = [&](const std::string& how) {
      if (++turn % ways != 0) return;
      const Report report = look(picture);
      const auto again = read_report(to_json(report));
      EXPECT_TRUE(again) << file << " " << how << ": " << again.error().reason;
      EXPECT_FALSE(report_text(report).empty());
    };
    fs::remove(path);
    check("missing");
    fs::create_directory(path);
    check("a folder");
    fs::remove(path);
    fs::create_symlink("nowhere", path);
    check("a link to nowhere");
    fs::remove(path);
    fs::create_symlink(path.filename(), path);
    check("a link to itself");
    fs::remove(path);
    for (const std::string& content : contents) {
      std::ofstream(path, std::ios::binary) << content;
      check("garbled");
      fs::remove(path);
    }
    if (is_link) {
      fs::create_symlink(target, path);
    } else {
      picture.write(file, before);
    }
  }
  EXPECT_FALSE(has_failed(look(picture))) << "all is as it was";
}

}  // namespace
}  // namespace ferry::host
