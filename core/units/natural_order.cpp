#include "core/units/natural_order.hpp"

#include <cstddef>

#include "core/units/characters.hpp"

namespace ferry {
namespace {

/// The run of digits at `position` without leading zeros; moves `position` behind the run.
std::string_view take_number(std::string_view text, std::size_t& position) {
  while (position < text.size() && text[position] == '0') ++position;
  const std::size_t first = position;
  while (position < text.size() && is_digit(text[position])) ++position;
  return text.substr(first, position - first);
}

}  // namespace

bool natural_less(std::string_view a, std::string_view b) {
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < a.size() && j < b.size()) {
    if (is_digit(a[i]) && is_digit(b[j])) {
      const std::string_view number_a = take_number(a, i);
      const std::string_view number_b = take_number(b, j);
      if (number_a.size() != number_b.size()) return number_a.size() < number_b.size();
      if (number_a != number_b) return number_a < number_b;
    } else if (a[i] != b[j]) {
      return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[j]);
    } else {
      ++i;
      ++j;
    }
  }
  const std::size_t rest_a = a.size() - i;
  const std::size_t rest_b = b.size() - j;
  return rest_a != rest_b ? rest_a < rest_b : a < b;
}

}  // namespace ferry
