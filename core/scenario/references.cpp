#include "core/scenario/references.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <tuple>
#include <utility>

#include "core/scenario/report.hpp"
#include "core/units/characters.hpp"
#include "core/units/check.hpp"

namespace ferry {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

/// A whole number without leading zeros; a number beyond 32 bits becomes the largest.
std::optional<std::uint32_t> to_number(std::string_view text) {
  if (text.empty() || !std::all_of(text.begin(), text.end(), is_digit)) return std::nullopt;
  if (text.size() > 1 && text.front() == '0') return std::nullopt;
  std::uint32_t number = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
  return result.ec == std::errc() ? number : ~0U;
}

/// Where the digits at the end of a name begin.
std::size_t digits_begin(std::string_view name) {
  std::size_t at = name.size();
  while (at > 0 && is_digit(name[at - 1])) --at;
  return at;
}

/// vm2 before vm10.
bool natural_less(std::string_view a, std::string_view b) {
  const auto key = [](std::string_view name) {
    const std::string_view stem = name.substr(0, digits_begin(name));
    const std::string_view digits = name.substr(stem.size());
    return std::tuple(stem, digits.size(), digits);
  };
  return key(a) < key(b);
}

tl::unexpected<ReferenceError> error(Problem problem, std::string message) {
  return tl::unexpected<ReferenceError>(ReferenceError{problem, std::move(message)});
}

/// Cuts at commas that stand outside of brackets.
std::vector<std::string_view> parts_of(std::string_view text) {
  std::vector<std::string_view> parts;
  std::size_t start = 0;
  bool inside = false;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i == text.size() || (text[i] == ',' && !inside)) {
      parts.push_back(trimmed(text.substr(start, i - start)));
      start = i + 1;
    } else if (text[i] == '[') {
      inside = true;
    } else if (text[i] == ']') {
      inside = false;
    }
  }
  return parts;
}

}  // namespace

std::vector<std::uint32_t> ItemRanges::items(std::size_t most) const {
  std::vector<std::uint32_t> items;
  items.reserve(std::min(most, size_));
  for (const Range& range : ranges_) {
    for (std::uint32_t item = range.first; item <= range.last; ++item) {
      if (items.size() >= most) return items;
      items.push_back(item);
    }
  }
  return items;
}

NameTable::NameTable(std::string_view noun, std::vector<NamedGroup> groups)
    : noun_(noun), groups_(std::move(groups)) {
  first_.reserve(groups_.size());
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    first_.push_back(size_);
    size_ += groups_[i].count;
    by_name_.emplace(groups_[i].name, i);
  }
}

std::size_t NameTable::group_of(std::uint32_t item) const {
  check(item < size_, "an item's number is beyond its table");
  const auto after = std::upper_bound(first_.begin(), first_.end(), item);
  return static_cast<std::size_t>(after - first_.begin()) - 1;
}

std::string NameTable::item_name(std::uint32_t item) const {
  const std::size_t group = group_of(item);
  std::string name(groups_[group].name);
  if (groups_[group].numbered) name += std::to_string(item - first_[group]);
  return name;
}

std::string NameTable::existing() const {
  constexpr std::size_t most = 10;
  std::string text;
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    if (i == most) return text + fmt::format(" and {} more", groups_.size() - most);
    if (i > 0) text += ", ";
    text += groups_[i].name;
    if (groups_[i].numbered) text += fmt::format("[0-{}]", groups_[i].count - 1);
  }
  return text;
}

tl::unexpected<ReferenceError> NameTable::unknown(std::string_view name) const {
  std::vector<std::string_view> names;
  names.reserve(groups_.size());
  for (const NamedGroup& group : groups_) names.push_back(group.name);
  const std::string_view near = nearest(name, names);
  if (near.empty()) {
    return error(Problem::unknown_reference, fmt::format("there is no {} {}; there are: {}", noun_,
                                                         in_quotes(name), existing()));
  }
  return error(Problem::unknown_reference,
               fmt::format("there is no {} {}; did you mean '{}'? There are: {}", noun_,
                           in_quotes(name), near, existing()));
}

tl::expected<ItemRanges::Range, ReferenceError> NameTable::range_of(std::size_t group,
                                                                    std::string_view text) const {
  const NamedGroup& owner = groups_[group];
  const std::string_view clean = trimmed(text);
  const std::size_t dash = clean.find('-');
  const std::optional<std::uint32_t> from = to_number(trimmed(clean.substr(0, dash)));
  const std::optional<std::uint32_t> last =
      dash == std::string_view::npos ? from : to_number(trimmed(clean.substr(dash + 1)));
  if (!from || !last) {
    return error(Problem::bad_reference,
                 fmt::format("{} is no range of numbers; write {}[0-3] or {}[0,2,5-7]",
                             in_quotes(clean), owner.name, owner.name));
  }
  if (*last < *from) {
    return error(Problem::reversed_range, fmt::format("the range ends before it starts; write "
                                                      "{}[{}-{}]",
                                                      owner.name, *last, *from));
  }
  if (*last >= owner.count) {
    return error(Problem::index_beyond,
                 fmt::format("there is no {} {}{}; {} has count {}: {}0 to {}{}", noun_, owner.name,
                             trimmed(clean.substr(dash == std::string_view::npos ? 0 : dash + 1)),
                             owner.name, owner.count, owner.name, owner.name, owner.count - 1));
  }
  return ItemRanges::Range{first_[group] + *from, first_[group] + *last};
}

tl::expected<std::monostate, ReferenceError> NameTable::add_part(std::string_view part,
                                                                 ItemRanges& ranges) const {
  const auto bad = [&] {
    return error(
        Problem::bad_reference,
        fmt::format("{} names no {}s; write a name, with numbers as in {}[0-3]; there are: "
                    "{}",
                    in_quotes(part), noun_, groups_.empty() ? noun_ : groups_.front().name,
                    existing()));
  };
  if (part == "*") {
    const ItemRanges everything = all();
    for (const ItemRanges::Range& range : everything.ranges()) ranges.add(range);
    return std::monostate{};
  }
  if (part.empty()) return bad();
  const std::size_t bracket = part.find('[');
  if (bracket != std::string_view::npos) {
    if (part.back() != ']' || bracket == 0) return bad();
    const std::string_view name = part.substr(0, bracket);
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) return unknown(name);
    if (!groups_[found->second].numbered) {
      return error(Problem::index_beyond, fmt::format("{} is a single {} without a count; write {}",
                                                      in_quotes(name), noun_, name));
    }
    const std::string_view inside = part.substr(bracket + 1, part.size() - bracket - 2);
    std::size_t start = 0;
    for (std::size_t i = 0; i <= inside.size(); ++i) {
      if (i < inside.size() && inside[i] != ',') continue;
      const auto range = range_of(found->second, inside.substr(start, i - start));
      if (!range) return tl::unexpected<ReferenceError>(range.error());
      ranges.add(*range);
      start = i + 1;
    }
    return std::monostate{};
  }
  const auto found = by_name_.find(part);
  if (found != by_name_.end()) {
    const std::uint32_t first = first_[found->second];
    ranges.add({first, first + groups_[found->second].count - 1});
    return std::monostate{};
  }
  // An item of a group: name and number. The name itself may end in digits.
  std::optional<std::size_t> beyond;
  for (std::size_t cut = digits_begin(part); cut < part.size(); ++cut) {
    const std::optional<std::uint32_t> number = to_number(part.substr(cut));
    const auto group = by_name_.find(part.substr(0, cut));
    if (!number || group == by_name_.end() || !groups_[group->second].numbered) continue;
    if (*number < groups_[group->second].count) {
      const std::uint32_t item = first_[group->second] + *number;
      ranges.add({item, item});
      return std::monostate{};
    }
    beyond = group->second;
  }
  if (beyond) {
    const NamedGroup& group = groups_[*beyond];
    return error(Problem::index_beyond,
                 fmt::format("there is no {} {}; {} has count {}: {}0 to {}{}", noun_, part,
                             group.name, group.count, group.name, group.name, group.count - 1));
  }
  return unknown(part);
}

tl::expected<ItemRanges, ReferenceError> NameTable::resolve(std::string_view text) const {
  ItemRanges ranges;
  for (const std::string_view part : parts_of(text)) {
    const auto added = add_part(part, ranges);
    if (!added) return tl::unexpected<ReferenceError>(added.error());
  }
  std::vector<ItemRanges::Range> sorted = ranges.ranges();
  std::sort(
      sorted.begin(), sorted.end(),
      [](const ItemRanges::Range& a, const ItemRanges::Range& b) { return a.first < b.first; });
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i].first <= sorted[i - 1].last) {
      return error(Problem::named_twice, fmt::format("{} is named twice; name each {} once",
                                                     item_name(sorted[i].first), noun_));
    }
  }
  return ranges;
}

std::vector<NameTable::Collision> NameTable::collisions() const {
  std::vector<Collision> found;
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    const std::string_view name = groups_[i].name;
    if (name.empty()) continue;
    const std::size_t first = by_name_.find(name)->second;
    if (first != i) {
      found.push_back({first, i, std::string(name)});
      continue;
    }
    // Does another group number an item so that it is called like (the first item of) this one?
    for (std::size_t cut = digits_begin(name); cut < name.size(); ++cut) {
      const auto other = by_name_.find(name.substr(0, cut));
      if (other == by_name_.end() || !groups_[other->second].numbered) continue;
      std::string digits(name.substr(cut));
      // With a number of its own, name0 is the one with the smallest number.
      if (groups_[i].numbered) digits += '0';
      const std::optional<std::uint32_t> number = to_number(digits);
      if (number && *number < groups_[other->second].count) {
        found.push_back({std::min(i, other->second), std::max(i, other->second),
                         std::string(name.substr(0, cut)) + digits});
      }
    }
  }
  return found;
}

ItemRanges NameTable::all() const {
  std::vector<std::size_t> order(groups_.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return natural_less(groups_[a].name, groups_[b].name);
  });
  ItemRanges ranges;
  for (const std::size_t group : order) {
    ranges.add({first_[group], first_[group] + groups_[group].count - 1});
  }
  return ranges;
}

}  // namespace ferry
