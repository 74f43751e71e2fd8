// From names to items: what `vm`, `vm3`, `vm[0-7]` and `*` mean among some groups.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <variant>
#include <vector>

#include "core/scenario/problem.hpp"

namespace ferry {

/// A group of items, or one item without a number.
struct NamedGroup {
  std::string_view name;
  std::uint32_t count = 1;
  bool numbered = false;
};

/// Items in the order of a reference, as ranges: a reference costs what its text is long.
class ItemRanges {
 public:
  struct Range {
    std::uint32_t first;
    std::uint32_t last;  ///< inclusive
  };
  void add(Range range) {
    ranges_.push_back(range);
    size_ += range.last - range.first + 1;
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] const std::vector<Range>& ranges() const { return ranges_; }
  /// The first `most` items, one by one.
  [[nodiscard]] std::vector<std::uint32_t> items(std::size_t most) const;
  [[nodiscard]] std::vector<std::uint32_t> items() const { return items(size_); }

 private:
  std::vector<Range> ranges_;
  std::size_t size_ = 0;
};

struct ReferenceError {
  Problem problem;
  std::string message;
};

class NameTable {
 public:
  /// `noun` is what an item is called in messages: "host". Items are numbered through all groups,
  /// in their order.
  NameTable(std::string_view noun, std::vector<NamedGroup> groups);

  [[nodiscard]] std::uint32_t size() const { return size_; }
  [[nodiscard]] std::string item_name(std::uint32_t item) const;
  [[nodiscard]] std::size_t group_of(std::uint32_t item) const;
  [[nodiscard]] std::uint32_t first_of(std::size_t group) const { return first_[group]; }
  [[nodiscard]] tl::expected<ItemRanges, ReferenceError> resolve(std::string_view text) const;

  /// Two groups with an item of the same name: positions of the groups and the name.
  struct Collision {
    std::size_t first;
    std::size_t second;
    std::string name;
  };
  [[nodiscard]] std::vector<Collision> collisions() const;
  /// Every item, by group name and number: the same whatever the order of the file.
  [[nodiscard]] ItemRanges all() const;

 private:
  tl::expected<ItemRanges::Range, ReferenceError> range_of(std::size_t group,
                                                           std::string_view text) const;
  tl::expected<std::monostate, ReferenceError> add_part(std::string_view part,
                                                        ItemRanges& ranges) const;
  [[nodiscard]] tl::unexpected<ReferenceError> unknown(std::string_view name) const;
  [[nodiscard]] std::string existing() const;

  std::string_view noun_;
  std::vector<NamedGroup> groups_;
  std::vector<std::uint32_t> first_;  ///< item number of each group's first
  std::map<std::string_view, std::size_t> by_name_;
  std::uint32_t size_ = 0;
};

}  // namespace ferry
