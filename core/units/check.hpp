// Programmer errors: kept in release builds, with a message that names the broken promise.
#pragma once

#include <source_location>
#include <string_view>

namespace ferry {

/// Prints file, line and reason on standard error and aborts.
[[noreturn]] void check_failed(std::string_view why, const std::source_location& where);

/// Ends the program if `condition` is false: the caller broke a promise of this interface.
inline void check(bool condition, std::string_view why,
                  const std::source_location& where = std::source_location::current()) {
  if (!condition) check_failed(why, where);
}

}  // namespace ferry
