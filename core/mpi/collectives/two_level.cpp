#include "core/mpi/collectives/two_level.hpp"

#include <algorithm>
#include <vector>

#include "core/mpi/collectives/phases.hpp"
#include "core/units/check.hpp"

namespace ferry::mpi {
namespace {

/// One rank's place in the hierarchy. Member 0 of `group` is its leader.
struct Place {
  Place(const CollectiveShape& shape, const LocalityGroups& groups)
      : own_group(groups.group_of(shape.rank)), root_group(groups.group_of(shape.root)) {
    leader_ranks.reserve(groups.count());
    for (std::size_t i = 0; i < groups.count(); ++i)
      leader_ranks.push_back(i == root_group ? shape.root : groups.members(i).front());
    const std::span<const Rank> members = groups.members(own_group);
    const auto index_of = [&members](Rank rank) {
      return static_cast<Rank>(std::lower_bound(members.begin(), members.end(), rank) -
                               members.begin());
    };
    group = {index_of(shape.rank), static_cast<Rank>(members.size()), members, 0};
    group = group.from(index_of(leader_ranks[own_group]));
    leaders = {static_cast<Rank>(own_group), static_cast<Rank>(groups.count()), leader_ranks, 0};
    leaders = leaders.from(static_cast<Rank>(root_group));
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  [[nodiscard]] bool leads() const { return group.me == 0; }

  std::size_t own_group;
  std::size_t root_group;
  std::vector<Rank> leader_ranks;
  Members group;
  Members leaders;  ///< the root's is member 0; only for who leads
};

Algorithm between_or(Algorithm wanted, Algorithm otherwise, Collective kind, const Place& place) {
  const bool possible =
      wanted != Algorithm::two_level && applies(wanted, kind, place.leaders.count);
  return possible ? wanted : otherwise;
}

void build_barrier(const Place& place, ScheduleBuilder& to) {
  phase::signal_up(to, place.group);
  if (place.leads()) phase::barrier_dissemination(to, place.leaders);
  phase::signal_down(to, place.group);
}

void build_bcast(const CollectiveShape& shape, Algorithm between, const Place& place,
                 ScheduleBuilder& to) {
  const Piece data{Region::output, 0, shape.size};
  if (place.leads()) {
    switch (between_or(between, Algorithm::binomial, shape.kind, place)) {
      case Algorithm::scatter_ring: phase::bcast_scatter_ring(to, place.leaders, data); break;
      case Algorithm::scatter_doubling:
        phase::bcast_scatter_doubling(to, place.leaders, data);
        break;
      default: phase::bcast_binomial(to, place.leaders, data);
    }
  }
  phase::bcast_binomial(to, place.group, data);
}

/// Reduces within the group; the result for who leads.
Piece reduce_group(const CollectiveShape& shape, const Place& place, ScheduleBuilder& to) {
  const Piece from{Region::input, 0, shape.size};
  if (place.group.count == 1) return from;
  const Piece sum = place.leads() ? to.reserve(shape.size) : Piece{};
  phase::reduce_binomial(to, place.group, from, sum);
  return sum;
}

void build_reduce(const CollectiveShape& shape, Algorithm between, const Place& place,
                  ScheduleBuilder& to) {
  const Piece sum = reduce_group(shape, place, to);
  if (!place.leads()) return;
  const Piece into{Region::output, 0, shape.size};
  if (between_or(between, Algorithm::binomial, shape.kind, place) == Algorithm::rabenseifner)
    phase::reduce_rabenseifner(to, place.leaders, sum, into, shape.element);
  else
    phase::reduce_binomial(to, place.leaders, sum, into);
}

void build_allreduce(const CollectiveShape& shape, Algorithm between, const Place& place,
                     ScheduleBuilder& to) {
  const Piece sum = reduce_group(shape, place, to);
  const Piece into{Region::output, 0, shape.size};
  if (place.leads()) {
    switch (between_or(between, Algorithm::recursive_doubling, shape.kind, place)) {
      case Algorithm::rabenseifner:
        phase::allreduce_rabenseifner(to, place.leaders, sum, into, shape.element);
        break;
      case Algorithm::ring:
        phase::allreduce_ring(to, place.leaders, sum, into, shape.element);
        break;
      default: phase::allreduce_doubling(to, place.leaders, sum, into);
    }
  }
  phase::bcast_binomial(to, place.group, into);
}

/// Blocks of all ranks, sorted by group, to the order of ranks; consecutive ranks in one copy.
void sort_by_rank(const CollectiveShape& shape, const LocalityGroups& groups, const Piece& by_group,
                  const Piece& into, ScheduleBuilder& to) {
  std::size_t begin = 0;
  for (std::size_t i = 0; i < groups.count(); ++i) {
    const std::span<const Rank> members = groups.members(i);
    for (std::size_t first = 0; first < members.size();) {
      std::size_t end = first + 1;
      while (end < members.size() && members[end] == members[end - 1] + 1) ++end;
      const std::size_t size = (end - first) * shape.size;
      const std::size_t target = static_cast<std::size_t>(members[first]) * shape.size;
      to.copy(part(by_group, begin, begin + size), part(into, target, target + size));
      begin += size;
      first = end;
    }
  }
  to.end_round();
}

void build_allgather(const CollectiveShape& shape, Algorithm between, const Place& place,
                     const LocalityGroups& groups, ScheduleBuilder& to) {
  const Piece from{Region::input, 0, shape.size};
  const Piece into{Region::output, 0, shape.size * static_cast<std::size_t>(shape.ranks)};
  if (!place.leads()) {
    phase::gather_binomial(to, place.group, from, {});
  } else {
    const Piece own = to.reserve(shape.size * static_cast<std::size_t>(place.group.count));
    const Piece by_group = to.reserve(into.size);
    phase::gather_binomial(to, place.group, from, own);
    to.end_round();
    std::vector<std::size_t> sizes;
    for (std::size_t i = 0; i < groups.count(); ++i)
      sizes.push_back(groups.members(i).size() * shape.size);
    const Blocks blocks = Blocks::of(sizes);
    switch (between_or(between, Algorithm::ring, shape.kind, place)) {
      case Algorithm::recursive_doubling:
        phase::allgather_doubling(to, place.leaders, blocks, own, by_group);
        break;
      case Algorithm::bruck:
        phase::allgather_bruck(to, place.leaders, blocks, own, by_group);
        break;
      default: phase::allgather_ring(to, place.leaders, blocks, own, by_group);
    }
    sort_by_rank(shape, groups, by_group, into, to);
  }
  phase::bcast_binomial(to, place.group, into);
}

}  // namespace

void build_two_level(const CollectiveShape& shape, Algorithm between, const LocalityGroups& groups,
                     ScheduleBuilder& to) {
  const Place place(shape, groups);
  switch (shape.kind) {
    case Collective::barrier: return build_barrier(place, to);
    case Collective::bcast: return build_bcast(shape, between, place, to);
    case Collective::reduce: return build_reduce(shape, between, place, to);
    case Collective::allreduce: return build_allreduce(shape, between, place, to);
    case Collective::allgather: return build_allgather(shape, between, place, groups, to);
    default: check(false, "this collective has no two-level algorithm");
  }
}

}  // namespace ferry::mpi
