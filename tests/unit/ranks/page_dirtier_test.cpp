// Memory as a scenario says it.
#include "hw_backend/ranks/page_dirtier.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace ferry::ranks {
namespace {

VmSpec guest() {
  VmSpec vm;
  vm.memory = Bytes::mebi(1000);
  vm.zero = Ratio(0.25);
  vm.working_set = Bytes::mebi(100);
  vm.dirty_rate = Bandwidth::bytes_per_second(20'000'000);
  vm.idle_dirty_rate = Bandwidth::bytes_per_second(1'000'000);
  return vm;
}

TEST(PagePlan, follows_from_the_scenarios_vm) {
  const PagePlan plan = page_plan(guest());
  EXPECT_EQ(plan.nonzero, Bytes::mebi(750));
  EXPECT_EQ(plan.working_set, Bytes::mebi(100));
}

TEST(BytesToFill, are_what_is_missing_as_far_as_there_is_room) {
  const PagePlan plan = page_plan(guest());
  const struct {
    Bytes all, free, available, expected;
    const char* why;
  } cases[] = {
      {Bytes::mebi(1000), Bytes::mebi(900), Bytes::mebi(900), Bytes::mebi(550),
       "100 are used, 100 are the working set"},
      {Bytes::mebi(1000), Bytes::mebi(200), Bytes::mebi(500), Bytes(), "more is used already"},
      {Bytes::mebi(1000), Bytes::mebi(900), Bytes::mebi(300), Bytes::mebi(168),
       "no more than there is, less a reserve"},
      {Bytes::mebi(64'000), Bytes::mebi(1000), Bytes::mebi(9000), Bytes(), "a host is no guest"},
  };
  for (const auto& test : cases) {
    EXPECT_EQ(bytes_to_fill(plan, {test.all, test.free, test.available}), test.expected)
        << test.why;
  }
}

TEST(MachineMemory, is_known) {
  const MachineMemory memory = machine_memory();
  EXPECT_GT(memory.all, memory.free);
  EXPECT_GT(memory.available, Bytes());
}

TEST(PageDirtier, writes_more_while_programs_run) {
  PagePlan plan;
  plan.working_set = Bytes::mebi(1);
  plan.rate = Bandwidth::bytes_per_second(40'000'000);
  PageDirtier dirtier(plan);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(dirtier.pages_written(), 0U);
  dirtier.set_running(true);
  while (dirtier.pages_written() < 1000) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

TEST(PageDirtier, without_a_working_set_does_nothing) {
  PagePlan plan;
  plan.rate = Bandwidth::bytes_per_second(40'000'000);
  PageDirtier dirtier(plan);
  dirtier.set_running(true);
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  EXPECT_EQ(dirtier.pages_written(), 0U);
}

}  // namespace
}  // namespace ferry::ranks
