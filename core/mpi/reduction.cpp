// Elements, and what reductions do to them.
#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>

#include "core/mpi/types.hpp"
#include "core/units/check.hpp"

namespace ferry::mpi {
namespace {

struct Minimum {
  template <class T>
  T operator()(T a, T b) const {
    return a < b ? a : b;
  }
};
struct Maximum {
  template <class T>
  T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};

/// Sums and products of signed integers wrap round, as those of unsigned ones.
template <class T, class Operation>
T combine(T a, T b, Operation operation) {
  constexpr bool arithmetic =
      std::is_same_v<Operation, std::plus<>> || std::is_same_v<Operation, std::multiplies<>>;
  if constexpr (arithmetic && std::is_integral_v<T>) {
    using Unsigned = std::make_unsigned_t<T>;
    return static_cast<T>(operation(static_cast<Unsigned>(a), static_cast<Unsigned>(b)));
  } else {
    return static_cast<T>(operation(a, b));
  }
}

/// Buffers of users need no alignment, so elements go through `memcpy`, of which compilers make
/// plain loads and stores, and vector instructions of the loop.
template <class T, class Operation>
void reduce_elements(const std::byte* __restrict from, std::byte* __restrict into,
                     std::size_t count, Operation operation) {
  for (std::size_t i = 0; i < count; ++i) {
    T left;
    T right;
    std::memcpy(&left, from + i * sizeof(T), sizeof(T));
    std::memcpy(&right, into + i * sizeof(T), sizeof(T));
    right = combine(left, right, operation);
    std::memcpy(into + i * sizeof(T), &right, sizeof(T));
  }
}

template <class T>
void reduce_as(Reduction reduction, ConstSlice from, Slice into) {
  const std::size_t count = into.size / sizeof(T);
  const auto run = [&](auto operation) {
    reduce_elements<T>(from.data, into.data, count, operation);
  };
  switch (reduction) {
    case Reduction::sum: return run(std::plus<>());
    case Reduction::product: return run(std::multiplies<>());
    case Reduction::minimum: return run(Minimum());
    case Reduction::maximum: return run(Maximum());
    default: break;
  }
  if constexpr (std::is_integral_v<T>) {
    switch (reduction) {
      case Reduction::bit_and: return run(std::bit_and<>());
      case Reduction::bit_or: return run(std::bit_or<>());
      case Reduction::bit_xor: return run(std::bit_xor<>());
      default: break;
    }
  }
  check(false, "bits of floating-point numbers are not reduced");
}

}  // namespace

std::size_t size_of(ElementType type) {
  static constexpr std::array<std::size_t, 6> sizes = {1, 4, 8, 8, 4, 8};
  return sizes[static_cast<std::size_t>(type)];
}

void reduce_into(Reduction reduction, ElementType type, ConstSlice from, Slice into) {
  // All sizes are powers of two; a division takes longer than a small reduction.
  check(from.size == into.size && (into.size & (size_of(type) - 1)) == 0, "as many whole elements");
  if (from.data == nullptr || into.data == nullptr) return;
  switch (type) {
    case ElementType::byte: return reduce_as<std::uint8_t>(reduction, from, into);
    case ElementType::int32: return reduce_as<std::int32_t>(reduction, from, into);
    case ElementType::int64: return reduce_as<std::int64_t>(reduction, from, into);
    case ElementType::uint64: return reduce_as<std::uint64_t>(reduction, from, into);
    case ElementType::float32: return reduce_as<float>(reduction, from, into);
    case ElementType::float64: return reduce_as<double>(reduction, from, into);
  }
}

}  // namespace ferry::mpi
