// What a rank sends: counted as it calls, and expected from formulas.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/mpi/collectives/call.hpp"

namespace ferry::mpi {

/// The calls of one kind that a rank made.
struct CallCount {
  std::uint64_t calls = 0;
  /// What the rank itself gave to them: of gatherv its part, of alltoallv all its parts, of bcast
  /// and scatter(v) all of it at the root and nothing elsewhere.
  std::uint64_t bytes = 0;
  bool operator==(const CallCount&) const = default;
};

struct Traffic {
  std::uint64_t messages = 0;  ///< point to point, sent by this rank
  std::uint64_t bytes = 0;     ///< of these
  std::array<CallCount, collective_count> collectives;

  void send(std::size_t size) {
    ++messages;
    bytes += size;
  }
  void call(Collective kind, std::size_t size) {
    CallCount& count = collectives[static_cast<std::size_t>(kind)];
    ++count.calls;
    count.bytes += size;
  }
  [[nodiscard]] const CallCount& of(Collective kind) const {
    return collectives[static_cast<std::size_t>(kind)];
  }
  bool operator==(const Traffic&) const = default;
};

}  // namespace ferry::mpi
