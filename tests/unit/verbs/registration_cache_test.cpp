#include "hw_backend/verbs/registration_cache.hpp"

#include <gtest/gtest.h>

#include <set>

namespace ferry::verbs {
namespace {

constexpr std::size_t page = 4096;

/// A device with so much memory for registrations.
class FakeDevice final : public Registrar {
 public:
  [[nodiscard]] Result<Registration> add(std::uintptr_t begin, std::uintptr_t end,
                                         bool writable) override {
    if (registered + (end - begin) > limit) return failure(FailureKind::refused, "ulimit -l");
    registered += end - begin;
    Registration made;
    made.begin = begin;
    made.end = end;
    made.local_key = ++keys;
    made.writable = writable;
    live.insert(made.local_key);
    return made;
  }
  void remove(const Registration& registration) override {
    registered -= registration.end - registration.begin;
    EXPECT_EQ(live.erase(registration.local_key), 1U) << "it was removed twice";
  }
  std::size_t limit = 1U << 30U;
  std::size_t registered = 0;
  std::uint32_t keys = 0;
  std::set<std::uint32_t> live;
};

const std::byte* at(std::size_t address) { return reinterpret_cast<const std::byte*>(address); }

struct Fixture : testing::Test {
  FakeDevice device;
  RegistrationCache cache{device, Bytes(16 * page)};
  RegistrationCache::Use use(std::size_t address, std::size_t size, bool writable = false) {
    return cache.use(at(address), size, writable).value();
  }
};
using RegistrationCacheTest = Fixture;

TEST_F(RegistrationCacheTest, whole_pages_are_registered) {
  const auto made = use(3 * page + 5, page);
  EXPECT_EQ(made->registration.begin, 3 * page);
  EXPECT_EQ(made->registration.end, 5 * page);
  cache.release(made);
}

TEST_F(RegistrationCacheTest, what_lies_within_is_not_registered_again) {
  const auto large = use(10 * page, 8 * page);
  const auto within = use(12 * page + 7, 100);
  EXPECT_EQ(large, within);
  cache.release(large);
  cache.release(within);
  EXPECT_EQ(use(17 * page, page), large) << "not while it is kept either";
  EXPECT_EQ(cache.made(), 1U);
  EXPECT_NE(use(17 * page, page + 1), large);
}

TEST_F(RegistrationCacheTest, what_is_only_read_does_for_reading_only) {
  const auto reading = use(page, page, false);
  const auto writing = use(page, page, true);
  EXPECT_NE(reading, writing);
  EXPECT_EQ(use(page, 10, true), writing);
}

TEST_F(RegistrationCacheTest, the_oldest_that_is_not_in_use_goes_first) {
  const auto used = use(100 * page, 8 * page);
  for (const std::size_t first : {0U, 10U, 20U}) {
    cache.release(use((200 + first) * page, 8 * page));
  }
  EXPECT_EQ(cache.unused(), Bytes(16 * page));
  EXPECT_EQ(device.registered, 24 * page);
  const std::uint64_t made = cache.made();
  cache.release(use(210 * page, page));
  cache.release(use(220 * page, page));
  EXPECT_EQ(cache.made(), made);
  cache.release(use(200 * page, page));
  EXPECT_EQ(cache.made(), made + 1);
  cache.release(used);
}

TEST_F(RegistrationCacheTest, room_is_made_where_the_device_refuses) {
  device.limit = 10 * page;
  cache.release(use(0x100 * page, 8 * page));
  const auto other = use(0x200 * page, 8 * page);
  EXPECT_EQ(device.registered, 8 * page);
  const auto none = cache.use(at(0x300 * page), 8 * page, false);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().reason, "ulimit -l");
  cache.release(other);
}

TEST_F(RegistrationCacheTest, memory_that_is_forgotten_is_registered_anew) {
  const auto used = use(10 * page, page);
  cache.release(use(20 * page, page));
  cache.forget(at(10 * page), 20 * page);
  EXPECT_EQ(device.live.size(), 1U);
  const auto again = use(10 * page, page);
  EXPECT_NE(again, used);
  cache.release(used);
  EXPECT_EQ(device.live.size(), 1U) << "who used it before kept it for so long";
  cache.release(again);
}

TEST_F(RegistrationCacheTest, nothing_is_left_when_it_is_cleared) {
  static_cast<void>(use(10 * page, page));
  cache.release(use(20 * page, page));
  cache.clear();
  EXPECT_TRUE(device.live.empty());
  static_cast<void>(use(10 * page, page));
  EXPECT_EQ(device.live.size(), 1U);
}

TEST(RegistrationCacheThatKeepsNothing, registers_each_time) {
  FakeDevice device;
  RegistrationCache cache(device, Bytes());
  cache.release(cache.use(at(page), 10, false).value());
  EXPECT_TRUE(device.live.empty());
}

}  // namespace
}  // namespace ferry::verbs
