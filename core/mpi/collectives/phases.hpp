// The algorithms, each as what one member of a set of ranks does. Hierarchical collectives put
// several of them after each other. Costs are given in the terms of Thakur, Rabenseifner and Gropp
// ("Optimization of Collective Communication Operations in MPICH", IJHPCA 19(1), 2005): p ranks, n
// bytes (of the whole vector; of one rank's block for gather, scatter and allgather; of one pair
// for alltoall), a the time of an empty message, b per byte, c per byte reduced; lg is the
// logarithm to base 2, rounded up unless said otherwise.
#pragma once

#include <bit>
#include <cstddef>
#include <span>

#include "core/mpi/collectives/blocks.hpp"
#include "core/mpi/collectives/schedule_builder.hpp"

namespace ferry::mpi {

/// Who takes part in a phase. Members have indices, beginning with `first` and going round.
struct Members {
  Rank me = 0;                  ///< index of this rank
  Rank count = 1;               ///< of members
  std::span<const Rank> ranks;  ///< of the members before they are turned; empty: 0, 1, 2...
  Rank first = 0;

  [[nodiscard]] Rank at(Rank index) const {
    Rank turned = index + first;
    if (turned >= count) turned -= count;
    return ranks.empty() ? turned : ranks[static_cast<std::size_t>(turned)];
  }
  /// The same with member `root` as index 0.
  [[nodiscard]] Members from(Rank root) const {
    return {(me - root + count) % count, count, ranks, (first + root) % count};
  }
  /// Index of the member `distance` (of either sign, less than `count`) further on.
  [[nodiscard]] Rank further(Rank distance) const { return (me + distance + count) % count; }
};

/// A member's block of `all`, which has them in the order of `ranks`.
[[nodiscard]] inline Piece block_of(const Members& members, const Blocks& blocks, const Piece& all,
                                    Rank index) {
  const auto at = static_cast<std::size_t>((index + members.first) % members.count);
  return part(all, blocks.begin(at), blocks.end(at));
}

/// Where `count` is not a power of two, pairs of members act as one: of the first 2 x `pairs`, odd
/// ones hand over to the even one before them. Those that act are numbered afresh. So member 0
/// always acts, and what actors stand for is consecutive.
struct Fold {
  explicit Fold(Rank count)
      : actors(static_cast<Rank>(std::bit_floor(static_cast<std::uint32_t>(count)))),
        pairs(count - actors) {}
  Rank actors;
  Rank pairs;

  [[nodiscard]] bool idle(Rank member) const { return member < 2 * pairs && member % 2 == 1; }
  [[nodiscard]] bool paired(Rank member) const { return member < 2 * pairs; }
  [[nodiscard]] Rank actor(Rank member) const {
    return paired(member) ? member / 2 : member - pairs;
  }
  /// The member that acts as `actor`; for `actors` the number of members.
  [[nodiscard]] Rank member(Rank actor) const { return actor < pairs ? 2 * actor : actor + pairs; }
};

namespace phase {

/// Hensgen, Finkel, Manber, "Two algorithms for barrier synchronization", IJPP 17(1), 1988. In
/// round k to the member 2^k further on. p lg p messages; a lg p.
void barrier_dissemination(ScheduleBuilder& to, const Members& members);
/// All signals come to member 0 by a binomial tree. p-1 messages; a lg p.
void signal_up(ScheduleBuilder& to, const Members& members);
/// A signal goes from member 0 to all by a binomial tree. p-1 messages; a lg p.
void signal_down(ScheduleBuilder& to, const Members& members);

/// Binomial tree from member 0. p-1 messages; (a + n b) lg p.
void bcast_binomial(ScheduleBuilder& to, const Members& members, const Piece& data);
/// van de Geijn: Barnett et al., "Interprocessor collective communication library (InterCom)",
/// SHPCC 1994: member 0 scatters by a binomial tree, then allgather round a ring, without the
/// blocks that a member had from the tree. a (lg p + p-1) + 2 (p-1)/p n b.
void bcast_scatter_ring(ScheduleBuilder& to, const Members& members, const Piece& data);
/// The same with allgather by recursive doubling; a power of two members.
/// 2 a lg p + 2 (p-1)/p n b.
void bcast_scatter_doubling(ScheduleBuilder& to, const Members& members, const Piece& data);

/// Binomial tree to member 0, which alone has `into`. p-1 messages; (a + n b + n c) lg p.
void reduce_binomial(ScheduleBuilder& to, const Members& members, const Piece& from,
                     const Piece& into);
/// Rabenseifner, "Optimization of collective reduction operations", ICCS 2004: reduce-scatter by
/// recursive halving, then gather to member 0 by a binomial tree. For powers of two:
/// 2 a lg p + 2 (p-1)/p n b + (p-1)/p n c; else a + n b + n c more.
void reduce_rabenseifner(ScheduleBuilder& to, const Members& members, const Piece& from,
                         const Piece& into, std::size_t element);

/// In round k with the member whose number differs in bit k. For powers of two:
/// (a + n b + n c) lg p and p lg p messages; else lg is rounded down, two more rounds of n bytes,
/// and two messages more per pair that acts as one.
void allreduce_doubling(ScheduleBuilder& to, const Members& members, const Piece& from,
                        const Piece& into);
/// As its reduce, with allgather by recursive doubling instead of the gather. For powers of two:
/// 2 a lg p + 2 (p-1)/p n b + (p-1)/p n c; else 2 a + 2 n b + n c more.
void allreduce_rabenseifner(ScheduleBuilder& to, const Members& members, const Piece& from,
                            const Piece& into, std::size_t element);
/// Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations",
/// JPDC 69(2), 2009: reduce-scatter and allgather round a ring. For any number of members:
/// 2 (p-1) a + 2 (p-1)/p n b + (p-1)/p n c; 2 p (p-1) messages.
void allreduce_ring(ScheduleBuilder& to, const Members& members, const Piece& from,
                    const Piece& into, std::size_t element);

/// Binomial tree to member 0, which has `into`: blocks of `from.size` in the order of unturned
/// indices. p-1 messages; a lg p + (p-1) n b.
void gather_binomial(ScheduleBuilder& to, const Members& members, const Piece& from,
                     const Piece& into);
/// All to member 0, which alone knows `blocks` (of unturned indices) of `into`. p-1 messages;
/// (p-1)(a + n b) at the root.
void gather_linear(ScheduleBuilder& to, const Members& members, const Blocks& blocks,
                   const Piece& from, const Piece& into);
/// The reverse of gather: member 0 has `from`.
void scatter_binomial(ScheduleBuilder& to, const Members& members, const Piece& from,
                      const Piece& into);
void scatter_linear(ScheduleBuilder& to, const Members& members, const Blocks& blocks,
                    const Piece& from, const Piece& into);

/// Bruck, Ho, Kipnis, Upfal, Weathersby, "Efficient algorithms for all-to-all communications in
/// multiport message-passing systems", TPDS 8(11), 1997. p lg p messages; a lg p + (p-1) n b, and
/// one copy of all.
void allgather_bruck(ScheduleBuilder& to, const Members& members, const Blocks& blocks,
                     const Piece& from, const Piece& into);
/// A power of two members. p lg p messages; a lg p + (p-1) n b.
void allgather_doubling(ScheduleBuilder& to, const Members& members, const Blocks& blocks,
                        const Piece& from, const Piece& into);
/// p (p-1) messages; (p-1)(a + n b), all between neighbours.
void allgather_ring(ScheduleBuilder& to, const Members& members, const Blocks& blocks,
                    const Piece& from, const Piece& into);

/// Bruck et al. as above: blocks travel by the bits of their distance. p lg p messages;
/// (a + p/2 n b) lg p, and packing.
void alltoall_bruck(ScheduleBuilder& to, const Members& members, std::size_t block,
                    const Piece& from, const Piece& into);
/// p-1 rounds, each with one partner (a power of two members), or to one and from another.
/// p (p-1) messages; (p-1)(a + n b).
void alltoall_pairwise(ScheduleBuilder& to, const Members& members, const Blocks& sent,
                       const Blocks& received, const Piece& from, const Piece& into);
/// Rounds of `window` partners. p (p-1) messages; (p-1)(g + n b) + a p/window.
void alltoall_linear(ScheduleBuilder& to, const Members& members, const Blocks& sent,
                     const Blocks& received, const Piece& from, const Piece& into, Rank window);

/// Recursive halving (Thakur et al. as above). For powers of two:
/// a lg p + (p-1)/p n b + (p-1)/p n c; else 2 a + (n + n/p) b + n c more.
void reduce_scatter_halving(ScheduleBuilder& to, const Members& members, const Blocks& blocks,
                            const Piece& from, const Piece& into);
/// In round k to the member k further on, from the one k before. p (p-1) messages;
/// (p-1) a + (p-1)/p n b + (p-1)/p n c.
void reduce_scatter_pairwise(ScheduleBuilder& to, const Members& members, const Blocks& blocks,
                             const Piece& from, const Piece& into);

/// Hillis and Steele, "Data parallel algorithms", CACM 29(12), 1986: in round k to the member 2^k
/// further on. (a + n b + n c) lg p.
void scan_doubling(ScheduleBuilder& to, const Members& members, const Piece& from,
                   const Piece& into);

}  // namespace phase
}  // namespace ferry::mpi
