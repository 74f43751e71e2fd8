#include <optional>

#include "core/mpi/collectives/halving.hpp"

namespace ferry::mpi::phase {

void reduce_binomial(ScheduleBuilder& to, const Members& members, const Piece& from,
                     const Piece& into) {
  std::optional<Piece> sum;
  std::optional<Piece> arrived;
  for (Rank bit = 1; bit < members.count; bit *= 2) {
    if ((members.me & bit) != 0) {
      to.send(members.at(members.me - bit), sum.value_or(from));
      to.end_round();
      return;
    }
    if (members.me + bit >= members.count) continue;
    const Rank child = members.at(members.me + bit);
    if (!sum) {
      sum = members.me == 0 ? into : to.reserve(from.size);
      to.receive(child, *sum);
      to.reduce(from, *sum);
    } else {
      if (!arrived) arrived = to.reserve(from.size);
      to.receive(child, *arrived);
      to.reduce(*arrived, *sum);
    }
    to.end_round();
  }
  if (!sum) to.copy(from, into);
}

void reduce_rabenseifner(ScheduleBuilder& to, const Members& members, const Piece& from,
                         const Piece& into, std::size_t element) {
  const Fold fold(members.count);
  const Blocks parts = Blocks::split(static_cast<std::size_t>(fold.actors), from.size, element);
  const ActorBlocks blocks{fold, parts};
  const bool idle = fold.idle(members.me);
  const Piece sum = members.me == 0 ? into : idle ? from : to.reserve(from.size);
  reduce_to_actors(to, members, blocks, from, sum);
  if (idle) return;
  const Rank me = fold.actor(members.me);
  for (Rank bit = 1; bit < fold.actors; bit *= 2) {
    const Rank peer = members.at(fold.member(me ^ bit));
    if ((me & bit) != 0) {
      to.send(peer, blocks.range(sum, me, me + bit));
      to.end_round();
      return;
    }
    to.receive(peer, blocks.range(sum, me + bit, me + 2 * bit));
    to.end_round();
  }
}

void allreduce_doubling(ScheduleBuilder& to, const Members& members, const Piece& from,
                        const Piece& into) {
  const Fold fold(members.count);
  if (fold.idle(members.me)) {
    to.send(members.at(members.me - 1), from);
    to.end_round();
    to.receive(members.at(members.me - 1), into);
    to.end_round();
    return;
  }
  const bool paired = fold.paired(members.me);
  int left = std::countr_zero(static_cast<std::uint32_t>(fold.actors)) + (paired ? 1 : 0);
  if (left == 0) to.copy(from, into);
  // The sum goes back and forth between two places, so that no round writes what it sends, and
  // ends in `into`.
  const Piece other = left > 1 ? to.reserve(from.size) : into;
  Piece sum = from;
  const auto add = [&](Rank peer) {
    --left;
    const Piece next = left % 2 == 0 ? into : other;
    to.receive(peer, next);
    to.reduce(sum, next);
    to.end_round();
    sum = next;
  };
  if (paired) add(members.at(members.me + 1));
  const Rank me = fold.actor(members.me);
  for (Rank bit = 1; bit < fold.actors; bit *= 2) {
    const Rank peer = members.at(fold.member(me ^ bit));
    to.send(peer, sum);
    add(peer);
  }
  if (paired) to.send(members.at(members.me + 1), into);
  to.end_round();
}

void allreduce_rabenseifner(ScheduleBuilder& to, const Members& members, const Piece& from,
                            const Piece& into, std::size_t element) {
  const Fold fold(members.count);
  const Blocks parts = Blocks::split(static_cast<std::size_t>(fold.actors), from.size, element);
  const ActorBlocks blocks{fold, parts};
  reduce_to_actors(to, members, blocks, from, into);
  allgather_of_actors(to, members, blocks, into);
  if (fold.idle(members.me))
    to.receive(members.at(members.me - 1), into);
  else if (fold.paired(members.me))
    to.send(members.at(members.me + 1), into);
  to.end_round();
}

void allreduce_ring(ScheduleBuilder& to, const Members& members, const Piece& from,
                    const Piece& into, std::size_t element) {
  const Rank count = members.count;
  const Blocks blocks = Blocks::split(static_cast<std::size_t>(count), from.size, element);
  const auto block = [&](const Piece& vector, Rank index) {
    const auto at = static_cast<std::size_t>((index + 2 * count) % count);
    return part(vector, blocks.begin(at), blocks.end(at));
  };
  if (count == 1) to.copy(from, into);
  const Rank next = members.at(members.further(1));
  const Rank previous = members.at(members.further(-1));
  for (Rank round = 0; round + 1 < count; ++round) {
    const Rank received = members.me - round - 1;
    to.send(next, block(round == 0 ? from : into, members.me - round));
    to.receive(previous, block(into, received));
    to.reduce(block(from, received), block(into, received));
    to.end_round();
  }
  for (Rank round = 0; round + 1 < count; ++round) {
    to.send(next, block(into, members.me + 1 - round));
    to.receive(previous, block(into, members.me - round));
    to.end_round();
  }
}

}  // namespace ferry::mpi::phase
