// New communicators: who is in them, and the number that their messages carry.
#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "core/mpi/engine.hpp"

namespace ferry::mpi {
namespace {

/// What each rank says to all others when a communicator is made.
struct Wish {
  std::int32_t color = 0;
  std::int32_t key = 0;
  std::uint64_t context = 0;  ///< the lowest that it has not used
};

std::vector<Wish> exchange(Communicator& among, const Wish& wish) {
  std::vector<Wish> all(static_cast<std::size_t>(among.size()));
  among.allgather({&wish, sizeof(wish)}, {all.data(), all.size() * sizeof(Wish)});
  return all;
}

}  // namespace

Communicator Communicator::dup() {
  // The next number that no rank has used: it needs no central place, and colors that are disjoint
  // may share it.
  const std::int64_t mine = state_->engine->next_context();
  std::int64_t context = 0;
  allreduce({&mine, sizeof(mine)}, {&context, sizeof(context)}, ElementType::int64,
            Reduction::maximum);
  Group group = state_->group;
  group.name = "dup of " + state_->group.name;
  group.context = static_cast<std::uint32_t>(context);
  return Communicator(state_->engine->add_communicator(std::move(group), *state_));
}

std::optional<Communicator> Communicator::split(std::int32_t color, std::int32_t key) {
  const std::vector<Wish> all = exchange(*this, {color, key, state_->engine->next_context()});
  Group group;
  std::vector<std::pair<std::int32_t, Rank>> members;  // key and rank here
  std::uint64_t context = 0;
  for (Rank i = 0; i < size(); ++i) {
    const Wish& wish = all[static_cast<std::size_t>(i)];
    context = std::max(context, wish.context);
    if (wish.color == color) members.emplace_back(wish.key, i);
  }
  if (color < 0) return std::nullopt;
  std::sort(members.begin(), members.end());
  for (const auto& [member_key, member] : members) {
    if (member == rank()) group.rank = static_cast<Rank>(group.members.size());
    group.members.push_back(state_->group.in_job(member));
  }
  group.name = fmt::format("color {} of {}", color, state_->group.name);
  group.size = static_cast<Rank>(group.members.size());
  group.context = static_cast<std::uint32_t>(context);
  return Communicator(state_->engine->add_communicator(std::move(group), *state_));
}

}  // namespace ferry::mpi
