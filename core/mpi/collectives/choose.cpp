#include "core/mpi/collectives/choose.hpp"

#include <fmt/format.h>

#include <bit>

namespace ferry::mpi {
namespace {

using enum Algorithm;

AlgorithmChoice use(Algorithm algorithm, std::string_view reason) {
  return {algorithm, algorithm, reason};
}

bool power_of_two(Rank ranks) { return std::has_single_bit(static_cast<std::uint32_t>(ranks)); }

AlgorithmChoice choose_bcast(Rank ranks, std::size_t bytes) {
  if (bytes < threshold::bcast_short) return use(binomial, "the message is short");
  if (ranks < threshold::bcast_fewest_ranks) return use(binomial, "the ranks are few");
  // The tree sends all bytes lg p times, scatter and ring twice, with p-1 messages more.
  const auto rounds =
      static_cast<std::size_t>(std::bit_width(static_cast<std::uint32_t>(ranks - 1)));
  const std::size_t block = bytes / static_cast<std::size_t>(ranks);
  const bool ring_pays = block * (rounds - 2) >= threshold::ring_block;
  if (power_of_two(ranks) && (bytes < threshold::bcast_long || !ring_pays))
    return use(scatter_doubling, "the message is not short, the ranks a power of two");
  if (ring_pays) return use(scatter_ring, "the message is long, also for each rank");
  return use(binomial, "the message is short for so many ranks");
}

AlgorithmChoice choose_reduce(Rank, std::size_t bytes) {
  if (bytes <= threshold::reduce_short) return use(binomial, "the vector is short");
  return use(rabenseifner, "the vector is long");
}

AlgorithmChoice choose_allreduce(Rank ranks, std::size_t bytes) {
  if (bytes <= threshold::allreduce_short) return use(recursive_doubling, "the vector is short");
  if (!power_of_two(ranks) && bytes / static_cast<std::size_t>(ranks) >= threshold::ring_block)
    return use(ring, "the vector is long and the ranks are no power of two");
  return use(rabenseifner, "the vector is long");
}

AlgorithmChoice choose_rooted(Rank, std::size_t block) {
  if (block < threshold::rooted_linear) return use(binomial, "the blocks are short");
  return use(linear, "the blocks are long");
}

AlgorithmChoice choose_allgather(Rank ranks, std::size_t total) {
  const bool long_blocks = total / static_cast<std::size_t>(ranks) >= threshold::ring_block;
  if (power_of_two(ranks) && (total < threshold::allgather_long || !long_blocks))
    return use(recursive_doubling, "the blocks are not long, the ranks a power of two");
  if (total < threshold::allgather_short || !long_blocks)
    return use(bruck, "the blocks are not long");
  return use(ring, "the blocks are long");
}

AlgorithmChoice choose_alltoall(Rank ranks, std::size_t block) {
  if (block <= threshold::alltoall_short && ranks >= threshold::alltoall_fewest_ranks)
    return use(bruck, "the blocks are short");
  if (block <= threshold::alltoall_medium) return use(linear, "the blocks are of middle size");
  return use(pairwise, "the blocks are long");
}

AlgorithmChoice choose_reduce_scatter(Rank, std::size_t total) {
  if (total < threshold::reduce_scatter_long) return use(recursive_halving, "the vector is short");
  return use(pairwise, "the vector is long");
}

AlgorithmChoice choose_flat(Collective collective, Rank ranks, std::size_t bytes) {
  switch (collective) {
    case Collective::barrier: return use(dissemination, "there is one way");
    case Collective::bcast: return choose_bcast(ranks, bytes);
    case Collective::reduce: return choose_reduce(ranks, bytes);
    case Collective::allreduce: return choose_allreduce(ranks, bytes);
    case Collective::gather:
    case Collective::scatter: return choose_rooted(ranks, bytes);
    case Collective::gatherv:
    case Collective::scatterv: return use(linear, "only the root knows the sizes");
    case Collective::allgather:
      return choose_allgather(ranks, bytes * static_cast<std::size_t>(ranks));
    case Collective::allgatherv: return choose_allgather(ranks, bytes);
    case Collective::alltoall: return choose_alltoall(ranks, bytes);
    case Collective::alltoallv: return use(linear, "no rank knows all sizes");
    case Collective::reduce_scatter: return choose_reduce_scatter(ranks, bytes);
    case Collective::scan: return use(recursive_doubling, "there is one way");
    case Collective::none: break;
  }
  return {};
}

/// Whether leaders help. As in MPICH, a long bcast does without: a ring through ranks in the order
/// of their groups already crosses between them once.
bool leaders_help(Collective collective, Rank ranks, std::size_t bytes) {
  switch (collective) {
    case Collective::barrier:
    case Collective::reduce:
    case Collective::allreduce: return true;
    case Collective::bcast: return choose_flat(collective, ranks, bytes).algorithm != scatter_ring;
    case Collective::allgather:
      return bytes * static_cast<std::size_t>(ranks) < threshold::allgather_short;
    default: return false;
  }
}

AlgorithmChoice choose_two_level(Collective collective, const LocalityGroups& groups,
                                 std::size_t bytes, std::string_view reason) {
  const auto leaders = static_cast<Rank>(groups.count());
  // What leaders exchange in allgather are the blocks of their groups.
  const bool blocks = collective == Collective::allgather;
  const std::size_t between_bytes =
      blocks ? bytes * static_cast<std::size_t>(groups.ranks()) / groups.count() : bytes;
  return {two_level, choose_flat(collective, leaders, between_bytes).algorithm, reason};
}

}  // namespace

tl::expected<Algorithm, std::string> parse_algorithm(Collective collective, std::string_view name) {
  std::string known;
  for (const AlgorithmEntry& entry : all_algorithms()) {
    if (entry.collective != collective) continue;
    if (to_name(entry.algorithm) == name) return entry.algorithm;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", to_name(entry.algorithm));
  }
  return tl::unexpected(
      fmt::format("'{}' is no algorithm of {}; write one of {}", name, to_name(collective), known));
}

AlgorithmChoice choose_algorithm(Collective collective, Rank ranks, std::size_t bytes,
                                 const LocalityGroups* groups, const CollectiveSettings& settings) {
  const bool hierarchy = groups != nullptr && !groups->flat();
  const std::optional<Algorithm> set = settings.algorithm[static_cast<std::size_t>(collective)];
  if (set && applies(*set, collective, ranks) && (*set != two_level || hierarchy)) {
    if (*set == two_level) return choose_two_level(collective, *groups, bytes, "it was set");
    return use(*set, "it was set");
  }
  if (hierarchy && settings.two_level && leaders_help(collective, ranks, bytes))
    return choose_two_level(collective, *groups, bytes, "ranks are in groups that are near");
  return choose_flat(collective, ranks, bytes);
}

}  // namespace ferry::mpi
