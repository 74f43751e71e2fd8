#include "core/units/check.hpp"

#include <cstdio>
#include <cstdlib>

namespace ferry {

void check_failed(std::string_view why, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: internal error: %.*s\n", file, line, static_cast<int>(why.size()),
               why.data());
  std::abort();
}

}  // namespace ferry
