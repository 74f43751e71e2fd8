#include "core/mpi/collectives/halving.hpp"

#include <optional>

namespace ferry::mpi::phase {

void reduce_to_actors(ScheduleBuilder& to, const Members& members, const ActorBlocks& blocks,
                      const Piece& from, const Piece& into) {
  const Fold& fold = blocks.fold;
  if (fold.idle(members.me)) {
    to.send(members.at(members.me - 1), from);
    to.end_round();
    return;
  }
  // Until something of `into` is written, what arrives goes there and our part is added to it:
  // that saves the copy of the vector.
  bool fresh = true;
  if (fold.paired(members.me)) {
    to.receive(members.at(members.me + 1), into);
    to.reduce(from, into);
    to.end_round();
    fresh = false;
  }
  if (fold.actors == 1 && fresh) to.copy(from, into);
  const Rank me = fold.actor(members.me);
  std::optional<Piece> arrived;
  Rank begin = 0;
  for (Rank half = fold.actors / 2; half > 0; half /= 2) {
    const Rank peer = members.at(fold.member(me ^ half));
    const Rank kept = (me & half) != 0 ? begin + half : begin;
    const Rank given = (me & half) != 0 ? begin : begin + half;
    const Piece mine = blocks.range(into, kept, kept + half);
    to.send(peer, blocks.range(fresh ? from : into, given, given + half));
    if (fresh) {
      to.receive(peer, mine);
      to.reduce(blocks.range(from, kept, kept + half), mine);
    } else {
      if (!arrived) arrived = to.reserve(mine.size);  // later ones are parts of this one
      to.receive(peer, part(*arrived, 0, mine.size));
      to.reduce(part(*arrived, 0, mine.size), mine);
    }
    to.end_round();
    begin = kept;
    fresh = false;
  }
}

void allgather_of_actors(ScheduleBuilder& to, const Members& members, const ActorBlocks& blocks,
                         const Piece& vector) {
  const Fold& fold = blocks.fold;
  if (fold.idle(members.me)) return;
  const Rank me = fold.actor(members.me);
  for (Rank bit = 1; bit < fold.actors; bit *= 2) {
    const Rank peer = me ^ bit;
    const Rank mine = me & -bit;
    const Rank theirs = peer & -bit;
    to.send(members.at(fold.member(peer)), blocks.range(vector, mine, mine + bit));
    to.receive(members.at(fold.member(peer)), blocks.range(vector, theirs, theirs + bit));
    to.end_round();
  }
}

}  // namespace ferry::mpi::phase
