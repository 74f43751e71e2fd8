// The order in which people list numbered names: vm2 before vm10.
#pragma once

#include <string_view>

namespace ferry {

/// Whether `a` comes before `b`: runs of digits compare as numbers, everything else by byte. Names
/// that differ only in leading zeros compare by byte, so different names are never equal.
bool natural_less(std::string_view a, std::string_view b);

/// For ordered containers and algorithms.
struct NaturalLess {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const { return natural_less(a, b); }
};

}  // namespace ferry
