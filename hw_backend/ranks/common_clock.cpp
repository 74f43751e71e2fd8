#include "hw_backend/ranks/common_clock.hpp"

#include <cstdint>

namespace ferry::ranks {
namespace {

constexpr int questions = 8;
constexpr mpi::Tag question_tag = 1;

}  // namespace

Duration to_common_clock(mpi::Communicator& world, const Clock& clock) {
  // In a communicator of its own: the program's messages are the program's.
  mpi::Communicator among = world.dup();
  std::int64_t there = 0;
  if (among.rank() == 0) {
    for (mpi::Rank rank = 1; rank < among.size(); ++rank) {
      for (int i = 0; i < questions; ++i) {
        among.recv({}, rank, question_tag);
        there = clock.now().since_start().count_nanoseconds();
        among.send({&there, sizeof(there)}, rank, question_tag);
      }
    }
    among.barrier();
    return Duration::zero();
  }
  Duration shortest = Duration::max();
  Duration difference;
  for (int i = 0; i < questions; ++i) {
    const TimePoint asked = clock.now();
    among.send({}, 0, question_tag);
    among.recv({&there, sizeof(there)}, 0, question_tag);
    const TimePoint answered = clock.now();
    const Duration took = answered - asked;
    if (took >= shortest) continue;
    shortest = took;
    difference = Duration::nanoseconds(there) - (asked.since_start() + took * 0.5);
  }
  among.barrier();
  return difference;
}

}  // namespace ferry::ranks
