// Packets without their heads: both sides expect the same, and what is unexpected keeps its head.
#include "hw_backend/verbs/head_cache.hpp"

#include <gtest/gtest.h>

#include <random>

namespace ferry::verbs {
namespace {

HeadCache::Head head_of(std::uint32_t number, std::uint32_t taken, std::size_t size) {
  HeadCache::Head head;
  head.number = number;
  head.taken = taken;
  head.header.kind = 1;
  head.header.epoch = 3;
  head.header.source = 5;
  head.header.tag = 7;
  head.header.sequence = number + 100;
  head.header.size = size;
  head.header.checksum = ~std::uint64_t{number};
  return head;
}

bool is_same(const HeadCache::Head& one, const HeadCache::Head& other) {
  return one.number == other.number && one.taken == other.taken &&
         std::memcmp(&one.header, &other.header, sizeof one.header) == 0;
}

TEST(HeadCache, expects_nothing_of_the_first_packet_of_a_link) {
  HeadCache cache;
  EXPECT_FALSE(cache.knows());
  EXPECT_FALSE(cache.expects(head_of(0, 0, 8), 8));
  cache.note(head_of(0, 0, 8), 8);
  EXPECT_TRUE(cache.knows());
  EXPECT_TRUE(cache.expects(head_of(1, 0, 8), 8));
  cache.forget();
  EXPECT_FALSE(cache.knows());
  EXPECT_FALSE(cache.expects(head_of(1, 0, 8), 8));
}

TEST(HeadCache, expects_what_goes_on_as_before) {
  HeadCache cache;
  for (std::uint32_t i = 0; i < 10; ++i) {  // there and back: one is taken for each that leaves
    HeadCache::Head head = head_of(0xffff'fffc + i, i, 1024);
    head.header.credits = 0xffff'fff0 + 5 * i;
    head.header.tag = static_cast<std::int32_t>(0x7fff'fffe + i);
    EXPECT_EQ(cache.expects(head, 1024), i >= 2) << i;
    cache.note(head, 1024);
  }
}

TEST(HeadCache, expects_the_size_of_the_body_where_it_was_that) {
  HeadCache cache;
  cache.note(head_of(0, 0, 8), 8);
  EXPECT_TRUE(cache.expects(head_of(1, 0, 500), 500));
  EXPECT_FALSE(cache.expects(head_of(1, 0, 8), 500));
  cache.note(head_of(1, 0, 10'000), 500);  // the rest of the message goes another way
  EXPECT_TRUE(cache.expects(head_of(2, 0, 10'000), 600));
  EXPECT_FALSE(cache.expects(head_of(2, 0, 600), 600));
}

TEST(HeadCache, does_not_expect_another_field) {
  using Change = void (*)(HeadCache::Head&);
  const Change changes[] = {
      [](HeadCache::Head& head) { ++head.number; },
      [](HeadCache::Head& head) { ++head.taken; },
      [](HeadCache::Head& head) { ++head.header.kind; },
      [](HeadCache::Head& head) { ++head.header.flags; },
      [](HeadCache::Head& head) { ++head.header.epoch; },
      [](HeadCache::Head& head) { ++head.header.source; },
      [](HeadCache::Head& head) { ++head.header.context; },
      [](HeadCache::Head& head) { ++head.header.tag; },
      [](HeadCache::Head& head) { ++head.header.credits; },
      [](HeadCache::Head& head) { ++head.header.sequence; },
      [](HeadCache::Head& head) { ++head.header.size; },
      [](HeadCache::Head& head) { ++head.header.key; },
      [](HeadCache::Head& head) { ++head.header.more; },
  };
  for (const Change change : changes) {
    HeadCache cache;
    cache.note(head_of(0, 0, 8), 8);
    cache.note(head_of(1, 0, 8), 8);
    HeadCache::Head head = head_of(2, 0, 8);
    EXPECT_TRUE(cache.expects(head, 8));
    change(head);
    EXPECT_FALSE(cache.expects(head, 8)) << &change - changes;
  }
}

/// One side leaves heads out wherever they are expected, the other puts them in again.
TEST(HeadCache, gives_the_other_side_every_head) {
  std::size_t left_out = 0;
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    const auto one_of = [&](unsigned count) { return random() % count; };
    HeadCache here;
    HeadCache there;
    HeadCache::Head head = head_of(random(), random(), 8);
    head.header.credits = random();
    for (int i = 0; i < 200; ++i) {
      ++head.number;
      ++head.header.sequence;
      head.header.checksum = (std::uint64_t{random()} << 32U) | random();
      if (one_of(3) == 0) head.taken += one_of(3);
      if (one_of(4) == 0) head.header.credits += one_of(4);
      head.header.tag = static_cast<std::int32_t>(one_of(8) == 0 ? one_of(2) : i / 4);
      if (one_of(30) == 0) head.header.sequence += one_of(3);
      const std::size_t body = 1 + one_of(3);
      head.header.size = one_of(9) == 0 ? 100'000 : body;
      if (one_of(40) == 0) {
        here.forget();
        there.forget();
      }
      HeadCache::Head got = head;
      if (here.expects(head, body)) {
        ++left_out;
        ASSERT_TRUE(there.knows());
        got = there.expected(body);
        got.header.checksum = head.header.checksum;
      }
      ASSERT_TRUE(is_same(got, head)) << "seed " << seed << ", packet " << i;
      here.note(head, body);
      there.note(got, body);
    }
  }
  EXPECT_GT(left_out, 1000);
}

}  // namespace
}  // namespace ferry::verbs
