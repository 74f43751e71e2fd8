// Expected outcomes of calls on ports, as values. Exceptions are left to broken set-ups.
#pragma once

#include <string>

#include <tl/expected.hpp>

namespace ferry {

enum class FailureKind {
  timed_out,  ///< the deadline passed; what was asked may still complete later
  cancelled,  ///< the waiting task was cancelled
  refused,    ///< the other side said no, and nothing has changed
  failed,     ///< it was tried and did not work; nothing has changed
  lost,       ///< the VM or host that was asked is gone
};

struct Failure {
  FailureKind kind = FailureKind::failed;
  std::string reason;  ///< a sentence without final stop, for `reason` columns and the user
};

template <class T = void>
using Result = tl::expected<T, Failure>;

inline tl::unexpected<Failure> failure(FailureKind kind, std::string reason) {
  return tl::unexpected<Failure>(Failure{kind, std::move(reason)});
}

}  // namespace ferry
