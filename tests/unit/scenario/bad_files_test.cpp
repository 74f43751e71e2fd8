// Every bad file's messages, whole; and that every kind of error is among them.
//
// FERRY_UPDATE_GOLDEN=1 writes what the program says now: read the difference before keeping it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "core/scenario/cluster_file.hpp"
#include "core/scenario/cluster_fit.hpp"
#include "core/scenario/study.hpp"
#include "files.hpp"

namespace ferry {
namespace {

/// Messages name files as the user did: from inside the folder of bad files.
class InBadFolder {
 public:
  InBadFolder() : before_(std::filesystem::current_path()) {
    std::filesystem::current_path(bad_folder());
  }
  ~InBadFolder() { std::filesystem::current_path(before_); }
  InBadFolder(const InBadFolder&) = delete;
  InBadFolder& operator=(const InBadFolder&) = delete;

 private:
  std::filesystem::path before_;
};

/// Lines `# --set path=value` at the top of a file are its settings.
std::vector<Setting> settings_of(const std::string& text) {
  std::vector<Setting> settings;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    constexpr std::string_view mark = "# --set ";
    if (line.substr(0, mark.size()) != mark) break;
    const std::string setting = line.substr(mark.size());
    const std::size_t equals = setting.find('=');
    settings.push_back({setting.substr(0, equals), setting.substr(equals + 1)});
  }
  return settings;
}

/// A line `# --cluster FILE` at the top of a scenario names the cluster that it should fit.
std::string cluster_of(const std::string& text) {
  constexpr std::string_view mark = "# --cluster ";
  if (text.substr(0, mark.size()) != mark) return {};
  return text.substr(mark.size(), text.find('\n') - mark.size());
}

Diagnostics misfits_of(const std::string& file, const LoadedScenario& loaded) {
  const std::string cluster_file = cluster_of(text_of(file));
  if (cluster_file.empty()) return {};
  const auto cluster = load_cluster(cluster_file);
  if (!cluster) return cluster.error();
  return check_fit(file, loaded.scenario, expand(loaded.scenario), *cluster);
}

Diagnostics problems_of(const std::string& file) {
  const InBadFolder inside;
  const auto kind = detect_file_kind(file);
  if (!kind) return kind.error();
  const std::vector<Setting> settings = settings_of(text_of(file));
  switch (*kind) {
    case FileKind::scenario: {
      const auto loaded = load_scenario(file, settings);
      return loaded ? misfits_of(file, *loaded) : loaded.error();
    }
    case FileKind::study: {
      const auto loaded = load_study(file, settings);
      return loaded ? Diagnostics{} : loaded.error();
    }
    case FileKind::platform: {
      const auto loaded = load_platform(file);
      return loaded ? Diagnostics{} : loaded.error();
    }
    case FileKind::cluster: {
      const auto loaded = load_cluster(file);
      return loaded ? Diagnostics{} : loaded.error();
    }
  }
  return {};
}

std::vector<std::string> bad_files() {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(bad_folder())) {
    if (entry.path().extension() == ".yaml") files.push_back(entry.path().filename().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

class BadFile : public testing::TestWithParam<std::string> {};

TEST_P(BadFile, gets_all_of_its_errors_with_places) {
  const std::filesystem::path golden = (bad_folder() / GetParam()).replace_extension(".expected");
  const std::string messages = to_lines(problems_of(GetParam()));
  ASSERT_NE(messages, "") << "the file is accepted";
  if (std::getenv("FERRY_UPDATE_GOLDEN") != nullptr) {
    std::ofstream(golden, std::ios::binary) << messages;
  }
  EXPECT_EQ(messages, text_of(golden));
}

INSTANTIATE_TEST_SUITE_P(Golden, BadFile, testing::ValuesIn(bad_files()), [](const auto& file) {
  return std::filesystem::path(file.param).stem().string();
});

TEST(BadText, of_ten_megabytes_is_refused_before_it_is_parsed) {
  const auto loaded = read_scenario(std::string(10U << 20U, '['), "big.yaml");
  EXPECT_EQ(errors_of(loaded),
            "big.yaml:1:1: the file has more than 4194304 bytes (4 MiB); use groups with `count` "
            "instead of long lists\n");
}

TEST(BadText, with_thousands_of_errors_shows_the_first_thousand) {
  std::string text = "ferry: 1\njobs: [";
  for (int i = 0; i < 1500; ++i) text += "x,";
  const auto loaded = read_scenario(text + "]", "many.yaml");
  ASSERT_FALSE(loaded);
  ASSERT_EQ(loaded.error().size(), 1001U);
  EXPECT_EQ(loaded.error().back().problem, Problem::too_many_errors);
  EXPECT_THAT(loaded.error().back().message,
              testing::MatchesRegex("50[0-9] more errors are not shown; correct these first"));
}

TEST(BadFiles, have_every_kind_of_error_among_them) {
  // Two kinds need texts too long to keep as files; the tests above have them.
  std::set<Problem> seen = {Problem::too_large, Problem::too_many_errors};
  for (const std::string& file : bad_files()) {
    for (const Diagnostic& diagnostic : problems_of(file)) seen.insert(diagnostic.problem);
  }
  for (std::size_t i = 0; i < problem_count; ++i) {
    const auto problem = static_cast<Problem>(i);
    EXPECT_TRUE(seen.count(problem) > 0) << "no bad file has the error " << to_name(problem);
  }
  EXPECT_GE(bad_files().size(), 60U);
}

}  // namespace
}  // namespace ferry
