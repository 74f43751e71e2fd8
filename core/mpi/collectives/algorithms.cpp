#include "core/mpi/collectives/algorithms.hpp"

#include <bit>

#include "core/mpi/collectives/phases.hpp"
#include "core/mpi/collectives/two_level.hpp"
#include "core/units/check.hpp"

namespace ferry::mpi {
namespace {

using enum Collective;
using enum Algorithm;

// p ranks in g groups of s ranks, w: alltoall_window.
constexpr AlgorithmEntry entries[] = {
    {barrier, dissemination, false, "a lg p"},
    {barrier, two_level, false, "a (2 lg s + lg g)"},
    {bcast, binomial, false, "(a + n b) lg p"},
    {bcast, scatter_ring, false, "a (lg p + p - 1) + 2 n b (p-1)/p"},
    {bcast, scatter_doubling, true, "2 a lg p + 2 n b (p-1)/p"},
    {bcast, two_level, false, "(a + n b) lg s, and as chosen between leaders"},
    {reduce, binomial, false, "(a + n b + n c) lg p"},
    {reduce, rabenseifner, false, "2 a lg p + (2 n b + n c)(p-1)/p, a + n b + n c more if folded"},
    {reduce, two_level, false, "(a + n b + n c) lg s, and as chosen between leaders"},
    {allreduce, recursive_doubling, false,
     "(a + n b + n c) lg p, 2 a + 2 n b + n c more if folded"},
    {allreduce, rabenseifner, false,
     "2 a lg p + (2 n b + n c)(p-1)/p, 2 a + 2 n b + n c more if folded"},
    {allreduce, ring, false, "2 (p-1) a + (2 n b + n c)(p-1)/p"},
    {allreduce, two_level, false, "(2 a + 2 n b + n c) lg s, and as chosen between leaders"},
    {gather, binomial, false, "a lg p + (p-1) n b"},
    {gather, linear, false, "(p-1)(a + n b)"},
    {gatherv, linear, false, "(p-1) a + b (sum of sizes)"},
    {scatter, binomial, false, "a lg p + (p-1) n b"},
    {scatter, linear, false, "(p-1)(a + n b)"},
    {scatterv, linear, false, "(p-1) a + b (sum of sizes)"},
    {allgather, recursive_doubling, true, "a lg p + (p-1) n b"},
    {allgather, bruck, false, "a lg p + (p-1) n b, and a copy of all"},
    {allgather, ring, false, "(p-1)(a + n b)"},
    {allgather, two_level, false,
     "gather to leaders, as chosen between them, bcast of p n bytes within groups"},
    {allgatherv, recursive_doubling, true, "a lg p + b (sum of sizes)"},
    {allgatherv, bruck, false, "a lg p + b (sum of sizes), and a copy of all"},
    {allgatherv, ring, false, "(p-1)(a + b (largest size))"},
    {alltoall, bruck, false, "(a + n b p/2) lg p, and packing"},
    {alltoall, linear, false, "a p/w + (p-1) n b"},
    {alltoall, pairwise, false, "(p-1)(a + n b)"},
    {alltoallv, linear, false, "a p/w + b (sum of sizes)"},
    {alltoallv, pairwise, false, "(p-1) a + b (sum of the largest of each round)"},
    {reduce_scatter, recursive_halving, false,
     "a lg p + (n b + n c)(p-1)/p, 2 a + (n + n/p) b + n c more if folded"},
    {reduce_scatter, pairwise, false, "(p-1) a + (n b + n c)(p-1)/p"},
    {scan, recursive_doubling, false, "(a + n b + n c) lg p"},
};

const AlgorithmEntry* find(Algorithm algorithm, Collective collective) {
  for (const AlgorithmEntry& entry : entries)
    if (entry.collective == collective && entry.algorithm == algorithm) return &entry;
  return nullptr;
}

std::size_t sum_of(std::span<const std::size_t> sizes) {
  std::size_t sum = 0;
  for (const std::size_t size : sizes) sum += size;
  return sum;
}

Piece input(std::size_t size) { return {Region::input, 0, size}; }
Piece output(std::size_t size) { return {Region::output, 0, size}; }

void build_bcast(Algorithm algorithm, const Members& members, std::size_t size,
                 ScheduleBuilder& to) {
  switch (algorithm) {
    case binomial: return phase::bcast_binomial(to, members, output(size));
    case scatter_ring: return phase::bcast_scatter_ring(to, members, output(size));
    default: return phase::bcast_scatter_doubling(to, members, output(size));
  }
}

void build_reduction(Algorithm algorithm, const Members& members, const CollectiveShape& shape,
                     ScheduleBuilder& to) {
  const Piece from = input(shape.size);
  const Piece into = output(shape.size);
  if (shape.kind == scan) return phase::scan_doubling(to, members, from, into);
  if (shape.kind == reduce) {
    if (algorithm == binomial) return phase::reduce_binomial(to, members, from, into);
    return phase::reduce_rabenseifner(to, members, from, into, shape.element);
  }
  switch (algorithm) {
    case recursive_doubling: return phase::allreduce_doubling(to, members, from, into);
    case ring: return phase::allreduce_ring(to, members, from, into, shape.element);
    default: return phase::allreduce_rabenseifner(to, members, from, into, shape.element);
  }
}

void build_reduce_scatter(Algorithm algorithm, const Members& members, const CollectiveShape& shape,
                          ScheduleBuilder& to) {
  const Blocks blocks = Blocks::of(shape.sizes);
  const Piece from = input(sum_of(shape.sizes));
  const Piece into = output(shape.sizes[static_cast<std::size_t>(shape.rank)]);
  if (algorithm == pairwise) return phase::reduce_scatter_pairwise(to, members, blocks, from, into);
  phase::reduce_scatter_halving(to, members, blocks, from, into);
}

void build_rooted(Algorithm algorithm, const Members& members, const CollectiveShape& shape,
                  ScheduleBuilder& to) {
  const bool gathers = shape.kind == gather || shape.kind == gatherv;
  const bool own_sizes = shape.kind == gatherv || shape.kind == scatterv;
  const auto ranks = static_cast<std::size_t>(shape.ranks);
  const std::size_t all = own_sizes ? sum_of(shape.sizes) : shape.size * ranks;
  const Piece from = input(gathers ? shape.size : all);
  const Piece into = output(gathers ? all : shape.size);
  if (algorithm == binomial) {
    if (gathers) return phase::gather_binomial(to, members, from, into);
    return phase::scatter_binomial(to, members, from, into);
  }
  const bool sizes_known = own_sizes && shape.rank == shape.root;
  const Blocks blocks = sizes_known ? Blocks::of(shape.sizes) : Blocks::equal(shape.size);
  if (gathers) return phase::gather_linear(to, members, blocks, from, into);
  phase::scatter_linear(to, members, blocks, from, into);
}

void build_allgather(Algorithm algorithm, const Members& members, const CollectiveShape& shape,
                     ScheduleBuilder& to) {
  const bool own_sizes = shape.kind == allgatherv;
  const auto rank = static_cast<std::size_t>(shape.rank);
  const Blocks blocks = own_sizes ? Blocks::of(shape.sizes) : Blocks::equal(shape.size);
  const Piece from = input(blocks.size(rank));
  const Piece into = output(blocks.begin(static_cast<std::size_t>(shape.ranks)));
  switch (algorithm) {
    case bruck: return phase::allgather_bruck(to, members, blocks, from, into);
    case ring: return phase::allgather_ring(to, members, blocks, from, into);
    default: return phase::allgather_doubling(to, members, blocks, from, into);
  }
}

void build_alltoall(Algorithm algorithm, const Members& members, const CollectiveShape& shape,
                    ScheduleBuilder& to) {
  const bool own_sizes = shape.kind == alltoallv;
  const auto ranks = static_cast<std::size_t>(shape.ranks);
  const Blocks sent = own_sizes ? Blocks::of(shape.sizes) : Blocks::equal(shape.size);
  const Blocks received = own_sizes ? Blocks::of(shape.receive_sizes) : Blocks::equal(shape.size);
  const Piece from = input(sent.begin(ranks));
  const Piece into = output(received.begin(ranks));
  switch (algorithm) {
    case bruck: return phase::alltoall_bruck(to, members, shape.size, from, into);
    case pairwise: return phase::alltoall_pairwise(to, members, sent, received, from, into);
    default:
      return phase::alltoall_linear(to, members, sent, received, from, into, alltoall_window);
  }
}

void build_flat(Algorithm algorithm, const CollectiveShape& shape, ScheduleBuilder& to) {
  const Members all{shape.rank, shape.ranks, {}, 0};
  switch (shape.kind) {
    case barrier: return phase::barrier_dissemination(to, all);
    case bcast: return build_bcast(algorithm, all.from(shape.root), shape.size, to);
    case reduce: return build_reduction(algorithm, all.from(shape.root), shape, to);
    case allreduce:
    case scan: return build_reduction(algorithm, all, shape, to);
    case gather:
    case gatherv:
    case scatter:
    case scatterv: return build_rooted(algorithm, all.from(shape.root), shape, to);
    case allgather:
    case allgatherv: return build_allgather(algorithm, all, shape, to);
    case alltoall:
    case alltoallv: return build_alltoall(algorithm, all, shape, to);
    case reduce_scatter: return build_reduce_scatter(algorithm, all, shape, to);
    case none: break;
  }
}

}  // namespace

std::string_view to_name(Algorithm algorithm) {
  static constexpr std::array<std::string_view, 12> names = {"dissemination",
                                                             "binomial",
                                                             "scatter_ring",
                                                             "scatter_doubling",
                                                             "recursive_doubling",
                                                             "recursive_halving",
                                                             "rabenseifner",
                                                             "ring",
                                                             "bruck",
                                                             "pairwise",
                                                             "linear",
                                                             "two_level"};
  return names[static_cast<std::size_t>(algorithm)];
}

std::span<const AlgorithmEntry> all_algorithms() { return entries; }

bool applies(Algorithm algorithm, Collective collective, Rank ranks) {
  const AlgorithmEntry* const entry = find(algorithm, collective);
  return entry != nullptr &&
         (!entry->power_of_two || std::has_single_bit(static_cast<std::uint32_t>(ranks)));
}

void build_schedule(const AlgorithmChoice& choice, const CollectiveShape& shape,
                    const LocalityGroups* groups, Schedule& into) {
  check(applies(choice.algorithm, shape.kind, shape.ranks), "the algorithm does this collective");
  check(shape.rank >= 0 && shape.rank < shape.ranks && shape.root >= 0 && shape.root < shape.ranks,
        "rank and root are of the communicator");
  ScheduleBuilder builder(into);
  if (choice.algorithm == two_level) {
    check(groups != nullptr && groups->ranks() == shape.ranks, "two levels have groups");
    build_two_level(shape, choice.between, *groups, builder);
  } else {
    build_flat(choice.algorithm, shape, builder);
  }
  builder.finish();
}

}  // namespace ferry::mpi
