#include "sim_backend/stacks.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "sim_backend/fiber.hpp"

namespace ferry {
namespace {

TEST(StackPoolTest, stacks_do_not_overlap_with_or_without_guards) {
  StackPool pool(100);
  std::vector<Stack> stacks;
  for (int i = 0; i < 400; ++i) stacks.push_back(pool.take());
  for (std::size_t i = 0; i < stacks.size(); ++i) {
    EXPECT_EQ(stacks[i].guarded, i < 100);
    EXPECT_GE(stacks[i].size, 64U * 1024U);
    std::memset(stacks[i].bottom, static_cast<int>(i % 250 + 1), stacks[i].size);
  }
  for (std::size_t i = 0; i < stacks.size(); ++i) {
    const auto* const bytes = static_cast<const unsigned char*>(stacks[i].bottom);
    EXPECT_EQ(bytes[0], i % 250 + 1);
    EXPECT_EQ(bytes[stacks[i].size - 1], i % 250 + 1);
  }
}

TEST(StackPoolTest, sees_that_an_unguarded_stack_was_written_to_its_end) {
  StackPool pool(0);
  const Stack stack = pool.take();
  EXPECT_TRUE(StackPool::intact(stack));
  auto* const bytes = static_cast<unsigned char*>(stack.bottom);
  bytes[4096] = 1;
  EXPECT_TRUE(StackPool::intact(stack));
  bytes[63] = 1;
  EXPECT_FALSE(StackPool::intact(stack));
}

TEST(StackPoolDeathTest, a_guard_page_ends_the_process) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        StackPool pool(1);
        const Stack stack = pool.take();
        static_cast<volatile char*>(stack.bottom)[-1] = 1;
      },
      "");
}

TEST(StackPoolDeathTest, so_does_one_that_is_a_memory_map) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        StackPool pool(1, StackPool::Guards::maps);
        const Stack stack = pool.take();
        static_cast<volatile char*>(stack.bottom)[-1] = 1;
      },
      "");
}

TEST(StackPoolTest, more_stacks_than_the_system_has_maps_for_guard_pages) {
  StackPool pool;
  std::vector<std::unique_ptr<Fiber>> fibers;
  int ran = 0;
  for (int i = 0; i < 70'000; ++i) {
    fibers.push_back(std::make_unique<Fiber>(pool.take()));
    if (i % 1000 != 0) continue;  // a page is touched only where something runs
    fibers.back()->assign([&ran] { ++ran; });
    fibers.back()->resume();
  }
  EXPECT_EQ(ran, 70);
}

}  // namespace
}  // namespace ferry
