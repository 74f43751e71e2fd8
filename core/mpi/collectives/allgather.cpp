#include <algorithm>

#include "core/mpi/collectives/phases.hpp"
#include "core/units/check.hpp"

namespace ferry::mpi::phase {
namespace {

Piece range(const Blocks& blocks, const Piece& all, Rank begin, Rank end) {
  return part(all, blocks.begin(static_cast<std::size_t>(begin)),
              blocks.begin(static_cast<std::size_t>(end)));
}

}  // namespace

void allgather_bruck(ScheduleBuilder& to, const Members& members, const Blocks& blocks,
                     const Piece& from, const Piece& into) {
  const Rank count = members.count;
  if (count == 1) return to.copy(from, into);
  // Blocks in the order of distance from their owner, beginning with our own.
  const Piece turned = to.reserve(into.size);
  const auto bytes = [&](Rank distance) {
    const auto end = static_cast<std::size_t>((members.me + distance) % count);
    const bool wraps = members.me + distance >= count;
    return blocks.begin(end) + (wraps ? into.size : 0) -
           blocks.begin(static_cast<std::size_t>(members.me));
  };
  to.copy(from, part(turned, 0, from.size));
  for (Rank distance = 1; distance < count; distance *= 2) {
    const Rank more = std::min(distance, count - distance);
    to.send(members.at(members.further(-distance)), part(turned, 0, bytes(more)));
    to.receive(members.at(members.further(distance)),
               part(turned, bytes(distance), bytes(distance + more)));
    to.end_round();
  }
  const std::size_t before = blocks.begin(static_cast<std::size_t>(members.me));
  to.copy(part(turned, 0, into.size - before), part(into, before, into.size));
  to.copy(part(turned, into.size - before, into.size), part(into, 0, before));
  to.end_round();
}

void allgather_doubling(ScheduleBuilder& to, const Members& members, const Blocks& blocks,
                        const Piece& from, const Piece& into) {
  check(std::has_single_bit(static_cast<std::uint32_t>(members.count)), "a power of two members");
  for (Rank bit = 1; bit < members.count; bit *= 2) {
    const Rank peer = members.me ^ bit;
    const Rank mine = members.me & -bit;
    const Rank theirs = peer & -bit;
    to.send(members.at(peer), bit == 1 ? from : range(blocks, into, mine, mine + bit));
    to.receive(members.at(peer), range(blocks, into, theirs, theirs + bit));
    if (bit == 1) to.copy(from, range(blocks, into, members.me, members.me + 1));
    to.end_round();
  }
  if (members.count == 1) to.copy(from, into);
}

void allgather_ring(ScheduleBuilder& to, const Members& members, const Blocks& blocks,
                    const Piece& from, const Piece& into) {
  const auto block = [&](Rank index) { return range(blocks, into, index, index + 1); };
  const Rank next = members.at(members.further(1));
  const Rank previous = members.at(members.further(-1));
  for (Rank round = 0; round + 1 < members.count; ++round) {
    to.send(next, round == 0 ? from : block(members.further(-round)));
    to.receive(previous, block(members.further(-round - 1)));
    if (round == 0) to.copy(from, block(members.me));
    to.end_round();
  }
  if (members.count == 1) to.copy(from, into);
}

}  // namespace ferry::mpi::phase
