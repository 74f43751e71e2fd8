#include <algorithm>

#include "core/mpi/collectives/phases.hpp"

namespace ferry::mpi::phase {
namespace {

/// The tree of gather and scatter: a member stands for the consecutive members of its subtree.
struct Tree {
  const Members& members;
  std::size_t block;  ///< bytes

  /// Members in the subtree of `member`, itself counted.
  [[nodiscard]] Rank subtree(Rank member) const {
    if (member == 0) return members.count;
    return std::min(member & -member, members.count - member);
  }
  [[nodiscard]] std::size_t bytes(Rank blocks) const {
    return static_cast<std::size_t>(blocks) * block;
  }
  /// Calls `visit(child)` for the roots of the subtrees, the largest first.
  template <class Visit>
  void for_each_child(Visit&& visit) const {
    const Rank size = subtree(members.me);
    auto bit = static_cast<Rank>(std::bit_ceil(static_cast<std::uint32_t>(size)));
    for (bit /= 2; bit > 0; bit /= 2)
      if (bit < size) visit(members.me + bit);
  }
  [[nodiscard]] Rank parent() const { return members.at(members.me & (members.me - 1)); }

  /// Where the blocks of a subtree of the root are among those of all, in unturned order.
  struct Place {
    std::size_t begin;    ///< bytes
    std::size_t size;     ///< up to the end of the subtree or of the vector
    std::size_t wrapped;  ///< bytes that go on at the vector's beginning
  };
  [[nodiscard]] Place place(Rank child) const {
    const Rank begin = (child + members.first) % members.count;
    const Rank size = subtree(child);
    const Rank straight = std::min(size, members.count - begin);
    return {bytes(begin), bytes(straight), bytes(size - straight)};
  }
};

void gather_at_root(ScheduleBuilder& to, const Tree& tree, const Piece& from, const Piece& into) {
  Piece turned;  // what wraps arrives here; at most one subtree does
  Tree::Place torn{};
  tree.for_each_child([&](Rank child) {
    const Tree::Place place = tree.place(child);
    if (place.wrapped == 0) {
      to.receive(tree.members.at(child), part(into, place.begin, place.begin + place.size));
      return;
    }
    torn = place;
    turned = to.reserve(place.size + place.wrapped);
    to.receive(tree.members.at(child), turned);
  });
  const std::size_t own = tree.place(0).begin;
  to.copy(from, part(into, own, own + tree.block));
  to.copy(part(turned, 0, torn.size), part(into, torn.begin, torn.begin + torn.size));
  to.copy(part(turned, torn.size, torn.size + torn.wrapped), part(into, 0, torn.wrapped));
  to.end_round();
}

void scatter_at_root(ScheduleBuilder& to, const Tree& tree, const Piece& from, const Piece& into) {
  Piece turned;
  tree.for_each_child([&](Rank child) {
    const Tree::Place place = tree.place(child);
    if (place.wrapped == 0) return;
    turned = to.reserve(place.size + place.wrapped);
    to.copy(part(from, place.begin, place.begin + place.size), part(turned, 0, place.size));
    to.copy(part(from, 0, place.wrapped), part(turned, place.size, turned.size));
  });
  to.end_round();
  tree.for_each_child([&](Rank child) {
    const Tree::Place place = tree.place(child);
    to.send(tree.members.at(child),
            place.wrapped > 0 ? turned : part(from, place.begin, place.begin + place.size));
  });
  const std::size_t own = tree.place(0).begin;
  to.copy(part(from, own, own + tree.block), into);
  to.end_round();
}

}  // namespace

void gather_binomial(ScheduleBuilder& to, const Members& members, const Piece& from,
                     const Piece& into) {
  const Tree tree{members, from.size};
  if (members.me == 0) return gather_at_root(to, tree, from, into);
  const Rank size = tree.subtree(members.me);
  if (size == 1) {
    to.send(tree.parent(), from);
    to.end_round();
    return;
  }
  const Piece blocks = to.reserve(tree.bytes(size));
  tree.for_each_child([&](Rank child) {
    const std::size_t begin = tree.bytes(child - members.me);
    to.receive(members.at(child), part(blocks, begin, begin + tree.bytes(tree.subtree(child))));
  });
  to.copy(from, part(blocks, 0, from.size));
  to.end_round();
  to.send(tree.parent(), blocks);
  to.end_round();
}

void scatter_binomial(ScheduleBuilder& to, const Members& members, const Piece& from,
                      const Piece& into) {
  const Tree tree{members, into.size};
  if (members.me == 0) return scatter_at_root(to, tree, from, into);
  const Rank size = tree.subtree(members.me);
  if (size == 1) {
    to.receive(tree.parent(), into);
    to.end_round();
    return;
  }
  const Piece blocks = to.reserve(tree.bytes(size));
  to.receive(tree.parent(), blocks);
  to.end_round();
  tree.for_each_child([&](Rank child) {
    const std::size_t begin = tree.bytes(child - members.me);
    to.send(members.at(child), part(blocks, begin, begin + tree.bytes(tree.subtree(child))));
  });
  to.copy(part(blocks, 0, into.size), into);
  to.end_round();
}

void gather_linear(ScheduleBuilder& to, const Members& members, const Blocks& blocks,
                   const Piece& from, const Piece& into) {
  if (members.me != 0) {
    to.send(members.at(0), from);
  } else {
    for (Rank index = 1; index < members.count; ++index)
      to.receive(members.at(index), block_of(members, blocks, into, index));
    to.copy(from, block_of(members, blocks, into, 0));
  }
  to.end_round();
}

void scatter_linear(ScheduleBuilder& to, const Members& members, const Blocks& blocks,
                    const Piece& from, const Piece& into) {
  if (members.me != 0) {
    to.receive(members.at(0), into);
  } else {
    for (Rank index = 1; index < members.count; ++index)
      to.send(members.at(index), block_of(members, blocks, from, index));
    to.copy(block_of(members, blocks, from, 0), into);
  }
  to.end_round();
}

}  // namespace ferry::mpi::phase
