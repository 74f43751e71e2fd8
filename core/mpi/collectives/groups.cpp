#include "core/mpi/collectives/groups.hpp"

#include <map>

namespace ferry::mpi {

LocalityGroups::LocalityGroups(std::span<const std::uint32_t> group_of) {
  std::map<std::uint32_t, std::uint32_t> number_of;
  std::vector<std::uint32_t> sizes;
  group_.reserve(group_of.size());
  for (const std::uint32_t name : group_of) {
    const auto [entry, added] =
        number_of.emplace(name, static_cast<std::uint32_t>(number_of.size()));
    if (added) sizes.push_back(0);
    group_.push_back(entry->second);
    ++sizes[entry->second];
  }
  first_.push_back(0);
  for (const std::uint32_t size : sizes) first_.push_back(first_.back() + size);
  std::vector<std::uint32_t> next(first_.begin(), first_.end() - 1);
  members_.resize(group_.size());
  for (std::size_t rank = 0; rank < group_.size(); ++rank)
    members_[next[group_[rank]]++] = static_cast<Rank>(rank);
}

std::shared_ptr<const LocalityGroups> JobLocality::among(
    std::span<const std::uint32_t> members) const {
  std::shared_ptr<const LocalityGroups> groups = world;
  if (!members.empty()) {
    std::vector<std::uint32_t> group;
    group.reserve(members.size());
    for (const std::uint32_t member : members) group.push_back(group_of[member]);
    groups = std::make_shared<LocalityGroups>(group);
  }
  return groups->flat() ? nullptr : groups;
}

}  // namespace ferry::mpi
