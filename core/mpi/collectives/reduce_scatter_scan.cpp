#include "core/mpi/collectives/halving.hpp"

namespace ferry::mpi::phase {

void reduce_scatter_halving(ScheduleBuilder& to, const Members& members, const Blocks& blocks,
                            const Piece& from, const Piece& into) {
  if (members.count == 1) return to.copy(from, into);
  const Fold fold(members.count);
  const bool idle = fold.idle(members.me);
  const Piece sum = idle ? from : to.reserve(from.size);
  reduce_to_actors(to, members, {fold, blocks, true}, from, sum);
  const auto block = [&](Rank member) {
    const auto at = static_cast<std::size_t>(member);
    return part(sum, blocks.begin(at), blocks.end(at));
  };
  if (idle) {
    to.receive(members.at(members.me - 1), into);
  } else {
    if (fold.paired(members.me)) to.send(members.at(members.me + 1), block(members.me + 1));
    to.copy(block(members.me), into);
  }
  to.end_round();
}

void reduce_scatter_pairwise(ScheduleBuilder& to, const Members& members, const Blocks& blocks,
                             const Piece& from, const Piece& into) {
  const auto block = [&](Rank member) {
    const auto at = static_cast<std::size_t>(member);
    return part(from, blocks.begin(at), blocks.end(at));
  };
  if (members.count == 1) return to.copy(from, into);
  const Piece arrived = members.count > 2 ? to.reserve(into.size) : into;
  for (Rank round = 1; round < members.count; ++round) {
    const Rank target = members.further(round);
    to.send(members.at(target), block(target));
    to.receive(members.at(members.further(-round)), round == 1 ? into : arrived);
    to.reduce(round == 1 ? block(members.me) : arrived, into);
    to.end_round();
  }
}

void scan_doubling(ScheduleBuilder& to, const Members& members, const Piece& from,
                   const Piece& into) {
  // As in allreduce, the sum goes back and forth between two places and ends in `into`.
  int left = std::bit_width(static_cast<std::uint32_t>(members.me));
  if (left == 0) to.copy(from, into);
  const Piece other = left > 1 ? to.reserve(from.size) : into;
  Piece sum = from;
  for (Rank distance = 1; distance < members.count; distance *= 2) {
    if (members.me + distance < members.count) to.send(members.at(members.me + distance), sum);
    if (members.me >= distance) {
      --left;
      const Piece next = left % 2 == 0 ? into : other;
      to.receive(members.at(members.me - distance), next);
      to.reduce(sum, next);
      sum = next;
    }
    to.end_round();
  }
}

}  // namespace ferry::mpi::phase
