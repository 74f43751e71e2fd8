#include <algorithm>

#include "core/mpi/collectives/phases.hpp"
#include "core/units/check.hpp"

namespace ferry::mpi::phase {
namespace {

/// How many members the subtree of `member` has in a binomial tree from member 0, itself counted,
/// if there were no end: the lowest bit of its number.
Rank subtree(Rank member, Rank count) {
  if (member != 0) return member & -member;
  return static_cast<Rank>(std::bit_ceil(static_cast<std::uint32_t>(count)));
}

Piece range(const Piece& data, const Blocks& blocks, Rank begin, Rank end) {
  return part(data, blocks.begin(static_cast<std::size_t>(begin)),
              blocks.begin(static_cast<std::size_t>(end)));
}

/// Member i gets blocks [i, i + subtree).
void scatter_blocks(ScheduleBuilder& to, const Members& members, const Blocks& blocks,
                    const Piece& data) {
  const auto piece = [&](Rank begin, Rank end) {
    return range(data, blocks, begin, std::min(end, members.count));
  };
  const Rank below = subtree(members.me, members.count);
  if (members.me != 0)
    to.receive(members.at(members.me - below), piece(members.me, members.me + below));
  to.end_round();
  for (Rank bit = below / 2; bit > 0; bit /= 2) {
    const Rank child = members.me + bit;
    if (child < members.count) to.send(members.at(child), piece(child, child + bit));
  }
  to.end_round();
}

/// Whether the scatter has already brought blocks [begin, end) to `member`.
bool has(const Members& members, Rank member, Rank begin, Rank end) {
  return begin >= member && end <= member + subtree(member, members.count);
}

}  // namespace

void bcast_binomial(ScheduleBuilder& to, const Members& members, const Piece& data) {
  const Rank below = subtree(members.me, members.count);
  if (members.me != 0) to.receive(members.at(members.me - below), data);
  to.end_round();
  for (Rank bit = below / 2; bit > 0; bit /= 2)
    if (members.me + bit < members.count) to.send(members.at(members.me + bit), data);
  to.end_round();
}

void bcast_scatter_ring(ScheduleBuilder& to, const Members& members, const Piece& data) {
  const Rank count = members.count;
  const Blocks blocks = Blocks::split(static_cast<std::size_t>(count), data.size, 1);
  scatter_blocks(to, members, blocks, data);
  const Rank next = members.further(1);
  for (Rank round = 0; round + 1 < count; ++round) {
    const Rank sent = members.further(-round);
    const Rank received = members.further(-round - 1);
    if (!has(members, next, sent, sent + 1))
      to.send(members.at(next), range(data, blocks, sent, sent + 1));
    if (!has(members, members.me, received, received + 1))
      to.receive(members.at(members.further(-1)), range(data, blocks, received, received + 1));
    to.end_round();
  }
}

void bcast_scatter_doubling(ScheduleBuilder& to, const Members& members, const Piece& data) {
  const Rank count = members.count;
  check(std::has_single_bit(static_cast<std::uint32_t>(count)), "a power of two members");
  const Blocks blocks = Blocks::split(static_cast<std::size_t>(count), data.size, 1);
  scatter_blocks(to, members, blocks, data);
  for (Rank bit = 1; bit < count; bit *= 2) {
    const Rank peer = members.me ^ bit;
    const Rank mine = members.me & -bit;
    const Rank theirs = peer & -bit;
    if (!has(members, peer, mine, mine + bit))
      to.send(members.at(peer), range(data, blocks, mine, mine + bit));
    if (!has(members, members.me, theirs, theirs + bit))
      to.receive(members.at(peer), range(data, blocks, theirs, theirs + bit));
    to.end_round();
  }
}

}  // namespace ferry::mpi::phase
