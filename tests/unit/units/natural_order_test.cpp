#include "core/units/natural_order.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace ferry {
namespace {

TEST(natural_order, numbers_in_names_count_as_numbers) {
  std::vector<std::string> names = {"vm10",
                                    "vm2",
                                    "vm",
                                    "vm02",
                                    "a9b",
                                    "a10",
                                    "vm2x",
                                    "vm0",
                                    "",
                                    "vm18446744073709551617",
                                    "vm18446744073709551616"};
  std::sort(names.begin(), names.end(), natural_less);
  const std::vector<std::string> expected = {"",
                                             "a9b",
                                             "a10",
                                             "vm",
                                             "vm0",
                                             "vm02",
                                             "vm2",
                                             "vm2x",
                                             "vm10",
                                             "vm18446744073709551616",
                                             "vm18446744073709551617"};
  EXPECT_EQ(names, expected);
}

TEST(natural_order, is_a_strict_order_that_tells_all_names_apart) {
  const std::vector<std::string> names = {"", "0", "00", "01", "1", "a", "a0", "a00", "a1", "b-2"};
  for (const std::string& a : names) {
    for (const std::string& b : names) {
      if (a == b) {
        EXPECT_FALSE(natural_less(a, b)) << a;
      } else {
        EXPECT_NE(natural_less(a, b), natural_less(b, a)) << a << " and " << b;
      }
      for (const std::string& c : names) {
        if (natural_less(a, b) && natural_less(b, c)) {
          EXPECT_TRUE(natural_less(a, c)) << a << " " << b << " " << c;
        }
      }
    }
  }
}

}  // namespace
}  // namespace ferry
