// A schedule as its rank goes through it: one row of small records, read from the first to the
// last. Ranks have many of them, and the processor's caches little room.
#pragma once

#include <cstdint>
#include <vector>

#include "core/mpi/collectives/schedule.hpp"
#include "core/mpi/group.hpp"

namespace ferry::mpi {

struct Peer;

/// A round, whose legs come after it, or a step.
struct Leg {
  enum class Kind : std::uint8_t { round, send, receive, copy, reduce };

  // The first word: of a round, `offset` counts its legs.
  Kind kind : 4 = Kind::round;
  Region region : 4 = Region::input;  ///< of what is sent, received, copied or reduced
  std::uint64_t offset : 56 = 0;      ///< likewise
  /// Of a step, in bytes. Of a round, how many sends have to have ended: the lower half before it,
  /// the upper half before its copies and reductions.
  std::uint64_t size = 0;
  /// Of a send: its peer once that is known; before, as of a receive, the rank in the job, doubled
  /// and odd. Of a copy or reduction: the region (in the highest byte) and offset that it goes to.
  /// Of a round: how many of its legs are sends and receives; these come first.
  std::uint64_t other = 0;

  [[nodiscard]] bool knows_peer() const { return (other & 1U) == 0; }
  [[nodiscard]] Peer& peer() const { return *reinterpret_cast<Peer*>(other); }
  void know(Peer& found) { other = reinterpret_cast<std::uintptr_t>(&found); }
  [[nodiscard]] RankId rank() const { return RankId{static_cast<std::uint32_t>(other >> 1U)}; }

  [[nodiscard]] Region into_region() const { return static_cast<Region>(other >> 56U); }
  [[nodiscard]] std::size_t into_offset() const { return other & (~std::uint64_t{0} >> 8U); }

  [[nodiscard]] std::uint32_t sends_ended_before() const {
    return static_cast<std::uint32_t>(size);
  }
  [[nodiscard]] std::uint32_t sends_ended_between() const {
    return static_cast<std::uint32_t>(size >> 32U);
  }
};
static_assert(sizeof(Leg) == 24);

struct Course {
  std::vector<Leg> legs;
  std::size_t scratch = 0;  ///< bytes
};

/// Of a schedule of a rank of `group`.
[[nodiscard]] Course make_course(const Schedule& schedule, const Group& group);

}  // namespace ferry::mpi
