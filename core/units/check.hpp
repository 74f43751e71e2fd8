// Programmer errors: kept in release builds, with a message that names the broken promise.
#pragma once

#include <string_view>

namespace ferry {

/// Prints file, line and reason on standard error and aborts.
[[noreturn]] void check_failed(std::string_view why, const char* file, int line);

/// Ends the program if `condition` is false: the caller broke a promise of this interface. The last
/// two arguments are the caller's place (std::source_location is not in every compiler that builds
/// this).
inline void check(bool condition, std::string_view why, const char* file = __builtin_FILE(),
                  int line = __builtin_LINE()) {
  if (!condition) check_failed(why, file, line);
}

}  // namespace ferry
