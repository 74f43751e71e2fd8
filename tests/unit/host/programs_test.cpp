#include "hw_backend/host/programs.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hw_backend/host/machine.hpp"

namespace ferry::host {
namespace {

using testing::HasSubstr;

constexpr Duration plenty = Duration::milliseconds(60'000);

TEST(Programs, what_a_program_says_and_its_status_are_kept) {
  const ProgramResult result =
      run_program({{"sh", "-c", "echo out; echo wrong >&2; cat; exit 3"}, plenty});
  EXPECT_EQ(result.status, 3);
  EXPECT_EQ(result.output, "out\n");
  EXPECT_EQ(result.errors, "wrong\n");
}

TEST(Programs, one_that_is_not_there_has_no_status) {
  const ProgramResult result = run_program({{"ferry-no-such-program"}, plenty});
  EXPECT_EQ(result.status, -1);
  EXPECT_THAT(result.errors, HasSubstr("ferry-no-such-program: No such file"));
}

TEST(Programs, one_that_takes_too_long_is_killed_even_if_it_has_closed_its_output) {
  const Duration little = Duration::milliseconds(100);
  for (const char* const command : {"sleep 600", "exec >&- 2>&-; sleep 600"}) {
    const ProgramResult result = run_program({{"sh", "-c", command}, little});
    EXPECT_EQ(result.status, -1);
    EXPECT_EQ(result.errors, "it took too long");
  }
}

TEST(Programs, one_that_says_too_much_is_killed) {
  const ProgramResult result = run_program({{"cat", "/dev/zero"}, plenty});
  EXPECT_EQ(result.status, -1);
  EXPECT_EQ(result.errors, "it said more than 16 MiB");
}

TEST(Programs, results_of_many_are_in_their_order) {
  std::vector<Program> programs;
  for (int i = 0; i < 40; ++i) programs.push_back({{"echo", std::to_string(i)}, plenty});
  const auto results = run_programs(programs);
  ASSERT_EQ(results.size(), 40U);
  for (int i = 0; i < 40; ++i) {
    EXPECT_EQ(results[static_cast<std::size_t>(i)].output, std::to_string(i) + "\n");
  }
}

TEST(Versions, are_found_in_what_programs_say_of_themselves) {
  EXPECT_EQ(version_in("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright (c) 2003"),
            "7.2.22");
  EXPECT_EQ(version_in("libvirtd (libvirt) 9.0.0\n"), "9.0.0");
  EXPECT_EQ(version_in("no version 7 here"), "");
  EXPECT_EQ(version_in(""), "");
}

}  // namespace
}  // namespace ferry::host
