#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "core/mpi/types.hpp"

namespace ferry::mpi {
namespace {

template <class T>
std::vector<T> reduced(Reduction op, ElementType type, const std::vector<T>& from,
                       const std::vector<T>& into, std::size_t shift = 0) {
  std::vector<std::byte> source(from.size() * sizeof(T) + shift);
  std::vector<std::byte> target(into.size() * sizeof(T) + shift);
  const std::size_t size = from.size() * sizeof(T);
  std::memcpy(source.data() + shift, from.data(), size);
  std::memcpy(target.data() + shift, into.data(), size);
  reduce_into(op, type, {source.data() + shift, size}, {target.data() + shift, size});
  std::vector<T> result(into.size());
  std::memcpy(result.data(), target.data() + shift, size);
  return result;
}

template <class T>
void expect_all_operations(ElementType type) {
  EXPECT_EQ(size_of(type), sizeof(T));
  const std::vector<T> a = {1, 7, 100, 0, 12, 5, 6, 7, 8};
  const std::vector<T> b = {3, 2, 27, 9, 10, 1, 6, 9, 4};
  const auto each = [&](auto operation) {
    std::vector<T> result;
    for (std::size_t i = 0; i < a.size(); ++i)
      result.push_back(static_cast<T>(operation(a[i], b[i])));
    return result;
  };
  for (const std::size_t shift : {0, 1}) {  // memory of users need not be aligned
    EXPECT_EQ(reduced(Reduction::sum, type, a, b, shift), each([](T x, T y) { return x + y; }));
    EXPECT_EQ(reduced(Reduction::product, type, a, b, shift), each([](T x, T y) { return x * y; }));
    EXPECT_EQ(reduced(Reduction::minimum, type, a, b, shift),
              each([](T x, T y) { return x < y ? x : y; }));
    EXPECT_EQ(reduced(Reduction::maximum, type, a, b, shift),
              each([](T x, T y) { return x > y ? x : y; }));
    if constexpr (std::is_integral_v<T>) {
      EXPECT_EQ(reduced(Reduction::bit_and, type, a, b, shift),
                each([](T x, T y) { return x & y; }));
      EXPECT_EQ(reduced(Reduction::bit_or, type, a, b, shift),
                each([](T x, T y) { return x | y; }));
      EXPECT_EQ(reduced(Reduction::bit_xor, type, a, b, shift),
                each([](T x, T y) { return x ^ y; }));
    }
  }
}

TEST(Reductions, do_what_they_say_for_every_type) {
  expect_all_operations<std::uint8_t>(ElementType::byte);
  expect_all_operations<std::int32_t>(ElementType::int32);
  expect_all_operations<std::int64_t>(ElementType::int64);
  expect_all_operations<std::uint64_t>(ElementType::uint64);
  expect_all_operations<float>(ElementType::float32);
  expect_all_operations<double>(ElementType::float64);
}

TEST(Reductions, know_signs_and_wrap_round) {
  constexpr std::int32_t largest = std::numeric_limits<std::int32_t>::max();
  EXPECT_EQ(reduced<std::int32_t>(Reduction::sum, ElementType::int32, {largest}, {1})[0],
            std::numeric_limits<std::int32_t>::min());
  EXPECT_EQ(reduced<std::int64_t>(Reduction::minimum, ElementType::int64, {-1}, {1})[0], -1);
  EXPECT_EQ(reduced<std::uint64_t>(Reduction::minimum, ElementType::uint64, {~0ULL}, {1})[0], 1U);
  EXPECT_EQ(reduced<double>(Reduction::maximum, ElementType::float64, {-2.5}, {-3.5})[0], -2.5);
}

TEST(Reductions, leave_phantom_memory_alone) {
  std::int32_t value = 5;
  const Slice real{reinterpret_cast<std::byte*>(&value), sizeof value};
  reduce_into(Reduction::sum, ElementType::int32, {nullptr, sizeof value}, real);
  reduce_into(Reduction::sum, ElementType::int32, {real.data, real.size}, {nullptr, sizeof value});
  EXPECT_EQ(value, 5);
}

TEST(ReductionsDeathTest, of_what_cannot_be_are_the_programs_error) {
  float values[2] = {};
  const Slice slice{reinterpret_cast<std::byte*>(values), sizeof values};
  const ConstSlice same{slice.data, slice.size};
  EXPECT_DEATH(reduce_into(Reduction::bit_or, ElementType::float32, same, slice),
               "bits of floating-point numbers are not reduced");
  EXPECT_DEATH(reduce_into(Reduction::sum, ElementType::int32, {slice.data, 6}, {slice.data, 6}),
               "as many whole elements");
}

}  // namespace
}  // namespace ferry::mpi
