// Reduce-scatter by recursive halving and its reverse, which several collectives have in common.
#pragma once

#include "core/mpi/collectives/phases.hpp"

namespace ferry::mpi::phase {

/// Blocks of a vector by actor of a fold: `blocks` are by actor, or, if `by_member`, by member, of
/// which an actor has its own and those of who is folded into it.
struct ActorBlocks {
  const Fold& fold;
  const Blocks& blocks;
  bool by_member = false;

  [[nodiscard]] Piece range(const Piece& vector, Rank begin, Rank end) const {
    return part(vector, offset(begin), offset(end));
  }

 private:
  [[nodiscard]] std::size_t offset(Rank actor) const {
    return blocks.begin(static_cast<std::size_t>(by_member ? fold.member(actor) : actor));
  }
};

/// For members that act: afterwards the blocks of this actor are reduced over all members in
/// `into`, which is as long as `from`; the rest of `into` is undefined. Idle ones just send `from`.
void reduce_to_actors(ScheduleBuilder& to, const Members& members, const ActorBlocks& blocks,
                      const Piece& from, const Piece& into);
/// From each actor having its blocks in `vector` to every one having all.
void allgather_of_actors(ScheduleBuilder& to, const Members& members, const ActorBlocks& blocks,
                         const Piece& vector);

}  // namespace ferry::mpi::phase
