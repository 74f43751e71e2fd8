#include <algorithm>

#include "core/mpi/collectives/phases.hpp"

namespace ferry::mpi::phase {
void alltoall_bruck(ScheduleBuilder& to, const Members& members, std::size_t block,
                    const Piece& from, const Piece& into) {
  const Rank count = members.count;
  const auto bytes = [block](Rank blocks) { return static_cast<std::size_t>(blocks) * block; };
  const auto blocks = [&](const Piece& all, Rank begin, Rank end) {
    return part(all, bytes(begin), bytes(end));
  };
  if (count == 1) return to.copy(from, into);
  // Blocks by how far they have to go. In the round of a bit those that have it in their distance
  // go so far; what comes takes their places.
  const Piece turned = to.reserve(from.size);
  to.copy(blocks(from, members.me, count), blocks(turned, 0, count - members.me));
  to.copy(blocks(from, 0, members.me), blocks(turned, count - members.me, count));
  const Piece packed = to.reserve(bytes((count + 1) / 2));
  const Piece arrived = to.reserve(bytes((count + 1) / 2));
  for (Rank bit = 1; bit < count; bit *= 2) {
    Rank moved = 0;
    const auto for_each_run = [&](auto&& visit) {
      moved = 0;
      for (Rank begin = bit; begin < count; begin += 2 * bit) {
        const Rank end = std::min(begin + bit, count);
        visit(blocks(turned, begin, end), moved, moved + end - begin);
        moved += end - begin;
      }
    };
    for_each_run(
        [&](const Piece& run, Rank begin, Rank end) { to.copy(run, blocks(packed, begin, end)); });
    to.send(members.at(members.further(bit)), blocks(packed, 0, moved));
    to.receive(members.at(members.further(-bit)), blocks(arrived, 0, moved));
    for_each_run(
        [&](const Piece& run, Rank begin, Rank end) { to.copy(blocks(arrived, begin, end), run); });
  }
  for (Rank distance = 0; distance < count; ++distance) {
    const Rank source = (members.me - distance + count) % count;
    to.copy(blocks(turned, distance, distance + 1), blocks(into, source, source + 1));
  }
  to.end_round();
}

void alltoall_pairwise(ScheduleBuilder& to, const Members& members, const Blocks& sent,
                       const Blocks& received, const Piece& from, const Piece& into) {
  const bool pairs = std::has_single_bit(static_cast<std::uint32_t>(members.count));
  const auto copy_own = [&] {
    to.copy(block_of(members, sent, from, members.me),
            block_of(members, received, into, members.me));
  };
  if (members.count == 1) return copy_own();
  for (Rank round = 1; round < members.count; ++round) {
    const Rank target = pairs ? members.me ^ round : members.further(round);
    const Rank source = pairs ? target : members.further(-round);
    to.send(members.at(target), block_of(members, sent, from, target));
    to.receive(members.at(source), block_of(members, received, into, source));
    if (round == 1) copy_own();  // while the first messages are under way
    to.end_round();
  }
}

void alltoall_linear(ScheduleBuilder& to, const Members& members, const Blocks& sent,
                     const Blocks& received, const Piece& from, const Piece& into, Rank window) {
  const auto copy_own = [&] {
    to.copy(block_of(members, sent, from, members.me),
            block_of(members, received, into, members.me));
  };
  if (members.count == 1) return copy_own();
  for (Rank begin = 1; begin < members.count; begin += window) {
    const Rank end = std::min(begin + window, members.count);
    for (Rank distance = begin; distance < end; ++distance) {
      const Rank source = members.further(-distance);
      to.receive(members.at(source), block_of(members, received, into, source));
    }
    for (Rank distance = begin; distance < end; ++distance) {
      const Rank target = members.further(distance);
      to.send(members.at(target), block_of(members, sent, from, target));
    }
    if (begin == 1) copy_own();
    to.end_round();
  }
}

}  // namespace ferry::mpi::phase
