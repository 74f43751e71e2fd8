// Whether this is a build with sanitizers, where tests may draw less: the optimised build draws all.
#pragma once

namespace ferry {

#ifdef FERRY_SANITIZED
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

}  // namespace ferry
