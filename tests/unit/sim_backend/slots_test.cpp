#include "sim_backend/slots.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

namespace ferry {
namespace {

TEST(SlotsTest, slots_do_not_overlap_and_begin_at_cache_lines) {
  constexpr std::size_t size = 100;
  Slots slots(size);
  std::vector<unsigned char*> taken;
  for (int i = 0; i < 2'000; ++i) {  // several slabs
    taken.push_back(static_cast<unsigned char*>(slots.take()));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(taken.back()) % 64, 0U);
    std::memset(taken.back(), i % 250, size);
  }
  for (std::size_t i = 0; i < taken.size(); ++i) {
    EXPECT_EQ(taken[i][0], i % 250);
    EXPECT_EQ(taken[i][size - 1], i % 250);
  }
}

TEST(SlotsTest, lie_in_few_pages) {
  Slots slots(100);
  std::set<std::uintptr_t> pages;
  for (int i = 0; i < 320; ++i) pages.insert(reinterpret_cast<std::uintptr_t>(slots.take()) / 4096);
  EXPECT_EQ(pages.size(), 10U);  // of 128 bytes each
}

TEST(SlotsTest, what_was_given_back_last_is_taken_first) {
  Slots slots(64);
  void* const first = slots.take();
  void* const second = slots.take();
  slots.give(first);
  slots.give(second);
  EXPECT_EQ(slots.take(), second);
  EXPECT_EQ(slots.take(), first);
}

}  // namespace
}  // namespace ferry
