// Which ranks of a communicator are near each other: those of one VM, or of one host.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/mpi/types.hpp"

namespace ferry::mpi {

/// Ranks by group. The same on every rank of a communicator, for as long as it is in use there.
class LocalityGroups {
 public:
  /// `group_of[r]`: any number that ranks of one group share. Groups are numbered by their lowest
  /// rank.
  explicit LocalityGroups(std::span<const std::uint32_t> group_of);

  [[nodiscard]] Rank ranks() const { return static_cast<Rank>(group_.size()); }
  [[nodiscard]] std::size_t count() const { return first_.size() - 1; }
  [[nodiscard]] std::size_t group_of(Rank rank) const {
    return group_[static_cast<std::size_t>(rank)];
  }
  /// Ascending.
  [[nodiscard]] std::span<const Rank> members(std::size_t group) const {
    return std::span(members_).subspan(first_[group], first_[group + 1] - first_[group]);
  }
  bool operator==(const LocalityGroups&) const = default;
  /// Whether there is nothing to gain: all ranks in one group, or each in its own.
  [[nodiscard]] bool flat() const { return count() <= 1 || count() == group_.size(); }

 private:
  std::vector<std::uint32_t> group_;
  std::vector<std::uint32_t> first_;  ///< index in `members_` by group, and the end
  std::vector<Rank> members_;
};

/// Where the ranks of a job are, for all of them. Never changes; another one follows it.
struct JobLocality {
  /// `group_of` by rank in the job: the same for those that are near each other.
  explicit JobLocality(std::vector<std::uint32_t> groups)
      : group_of(std::move(groups)), world(std::make_shared<LocalityGroups>(group_of)) {}
  /// Of a communicator with these ranks of the job, in their order; empty: of all. Null if there is
  /// nothing to gain by it.
  [[nodiscard]] std::shared_ptr<const LocalityGroups> among(
      std::span<const std::uint32_t> members) const;

  std::vector<std::uint32_t> group_of;
  std::shared_ptr<const LocalityGroups> world;
};

}  // namespace ferry::mpi
