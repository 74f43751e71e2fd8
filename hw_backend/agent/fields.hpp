// Values as bytes: little-endian, one description for both ways. Who reads takes nothing for
// granted: what does not fit makes it fail, and it never reads or allocates beyond what is there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace ferry::agent {

using Bytes8 = std::vector<std::byte>;

/// `writer(a)(b)...` appends; structs by their `fields`.
class FieldWriter {
 public:
  template <class T>
  FieldWriter& operator()(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      put(value ? 1U : 0U, 1);
    } else if constexpr (std::is_enum_v<T>) {
      put(static_cast<std::uint64_t>(value), sizeof(T));
    } else if constexpr (std::is_integral_v<T>) {
      put(static_cast<std::uint64_t>(value), sizeof(T));
    } else {
      fields(*this, value);
    }
    return *this;
  }
  FieldWriter& operator()(std::string& text) {
    put(text.size(), 4);
    append(std::as_bytes(std::span(text)));
    return *this;
  }
  FieldWriter& operator()(Bytes8& bytes) {
    put(bytes.size(), 4);
    append(bytes);
    return *this;
  }
  template <class T>
  FieldWriter& operator()(std::vector<T>& list) {
    put(list.size(), 4);
    for (T& each : list) (*this)(each);
    return *this;
  }
  [[nodiscard]] Bytes8 take() { return std::move(bytes_); }

 private:
  void put(std::uint64_t value, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) bytes_.push_back(static_cast<std::byte>(value >> 8 * i));
  }
  void append(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  Bytes8 bytes_;
};

class FieldReader {
 public:
  explicit FieldReader(std::span<const std::byte> bytes) : left_(bytes) {}

  template <class T>
  FieldReader& operator()(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      const std::uint64_t read = get(1);
      if (read > 1) fail();
      value = read == 1;
    } else if constexpr (std::is_enum_v<T> || std::is_integral_v<T>) {
      value = static_cast<T>(get(sizeof(T)));
    } else {
      fields(*this, value);
    }
    return *this;
  }
  FieldReader& operator()(std::string& text) {
    const std::span<const std::byte> bytes = cut(get(4));
    text.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return *this;
  }
  FieldReader& operator()(Bytes8& into) {
    const std::span<const std::byte> bytes = cut(get(4));
    into.assign(bytes.begin(), bytes.end());
    return *this;
  }
  template <class T>
  FieldReader& operator()(std::vector<T>& list) {
    const std::uint64_t count = get(4);
    if (count > left_.size()) fail();  // each takes a byte at least
    list.clear();
    for (std::uint64_t i = 0; ok_ && i < count; ++i) (*this)(list.emplace_back());
    return *this;
  }
  void fail() {
    ok_ = false;
    left_ = {};
  }
  /// Whether all was there until now.
  [[nodiscard]] bool ok() const { return ok_; }
  /// And nothing is left.
  [[nodiscard]] bool done() const { return ok_ && left_.empty(); }

 private:
  std::span<const std::byte> cut(std::uint64_t size) {
    if (size > left_.size()) {
      fail();
      return {};
    }
    const std::span<const std::byte> bytes = left_.first(static_cast<std::size_t>(size));
    left_ = left_.subspan(bytes.size());
    return bytes;
  }
  std::uint64_t get(std::size_t size) {
    const std::span<const std::byte> bytes = cut(size);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      value |= std::to_integer<std::uint64_t>(bytes[i]) << 8 * i;
    }
    return value;
  }
  std::span<const std::byte> left_;
  bool ok_ = true;
};

}  // namespace ferry::agent
