// What users of the MPI engine hold in their hands: buffers, requests, statuses, element types.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/ports/fabric.hpp"
#include "core/units/units.hpp"

namespace ferry::mpi {

/// Rank number in a communicator.
using Rank = std::int32_t;
using Tag = std::int32_t;
inline constexpr Rank any_source = -1;
inline constexpr Tag any_tag = -1;
inline constexpr Tag largest_tag = 0x7fff'fffe;  ///< of users; negative ones are the engine's

/// Memory that a message is sent from: one piece or several, real or phantom (a size alone). What
/// it points to stays until the request is complete.
/// Calls take it by reference and keep a copy if they must wait, so it need not outlive them.
/// (Passed by value, its words would be copied as soon as they are written: that stalls until all
/// earlier stores, as far as those into the last packet's cell, have left the processor.)
class ConstBuffer {
 public:
  ConstBuffer() = default;
  ConstBuffer(const void* data, std::size_t size)
      : one_{static_cast<const std::byte*>(data), size} {}
  /// The pieces themselves also stay.
  explicit ConstBuffer(std::span<const ConstSlice> pieces);
  static ConstBuffer phantom(std::size_t size) { return {nullptr, size}; }

  [[nodiscard]] std::size_t size() const { return one_.size; }
  [[nodiscard]] bool is_phantom() const { return one_.size != 0 && one_.data == nullptr; }
  [[nodiscard]] std::span<const ConstSlice> pieces() const {
    return many_.empty() ? std::span<const ConstSlice>(&one_, 1) : many_;
  }

 private:
  ConstSlice one_;  // of several: where the first one begins, and the size of all
  std::span<const ConstSlice> many_;
};

/// Memory that a message is received into; likewise.
class Buffer {
 public:
  Buffer() = default;
  Buffer(void* data, std::size_t size) : one_{static_cast<std::byte*>(data), size} {}
  explicit Buffer(std::span<const Slice> pieces);
  static Buffer phantom(std::size_t size) { return {nullptr, size}; }

  [[nodiscard]] std::size_t size() const { return one_.size; }
  [[nodiscard]] bool is_phantom() const { return one_.size != 0 && one_.data == nullptr; }
  [[nodiscard]] std::span<const Slice> pieces() const {
    return many_.empty() ? std::span<const Slice>(&one_, 1) : many_;
  }

 private:
  Slice one_;  // likewise
  std::span<const Slice> many_;
};

enum class Error : std::uint8_t {
  none,
  truncated,  ///< the message was longer than the buffer; what fits has been received
  mismatch,   ///< ranks called different collectives, or with different sizes
};

/// How a request ended.
struct Status {
  Rank source = any_source;  ///< of a receive
  Tag tag = any_tag;         ///< of a receive
  std::size_t size = 0;      ///< bytes of the message; with `truncated` what it had
  bool cancelled = false;
  Error error = Error::none;
};

/// A non-blocking operation. Empty once it has been waited for; copies mean the same operation.
struct Request {
  std::uint32_t index = 0;
  std::uint32_t generation = 0;  ///< 0: none
  [[nodiscard]] bool empty() const { return generation == 0; }
};

enum class ElementType : std::uint8_t { byte, int32, int64, uint64, float32, float64 };
[[nodiscard]] std::size_t size_of(ElementType type);

enum class Reduction : std::uint8_t { sum, product, minimum, maximum, bit_and, bit_or, bit_xor };

/// `into[i] = from[i] op into[i]` over whole elements; nothing for phantom memory. All reductions
/// here are commutative; sums of floating-point numbers depend on the order, which is fixed for a
/// given algorithm, number of ranks and size.
void reduce_into(Reduction reduction, ElementType type, ConstSlice from, Slice into);

}  // namespace ferry::mpi
