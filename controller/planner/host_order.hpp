// The hosts of a list, best first, while how good they are changes.
#pragma once

#include <cstdint>
#include <limits>
#include <set>
#include <utility>
#include <vector>

#include "core/ports/types.hpp"

namespace ferry {

/// A host's rank; lower is better. Hosts of one rank stay in the order of the list.
class HostOrder {
 public:
  using Rank = std::uint64_t;
  /// Rank and place in the list.
  using Entry = std::pair<Rank, std::uint32_t>;

  /// `hosts`: each once, and it outlives this. `rank_of(HostId)` gives the ranks to begin with;
  /// `host_count`: of the cluster.
  template <class RankOf>
  HostOrder(const std::vector<HostId>& hosts, std::size_t host_count, const RankOf& rank_of)
      : hosts_(hosts), ranks_(hosts.size()), places_(host_count, nowhere) {
    std::vector<Entry> entries;
    for (std::uint32_t place = 0; place < hosts.size(); ++place) {
      places_[hosts[place].index] = place;
      ranks_[place] = rank_of(hosts[place]);
      entries.emplace_back(ranks_[place], place);
    }
    order_ = std::set<Entry>(entries.begin(), entries.end());
  }

  /// Nothing if the host is not in the list.
  void update(HostId host, Rank rank) {
    const std::uint32_t place = places_[host.index];
    if (place == nowhere || ranks_[place] == rank) return;
    auto node = order_.extract({ranks_[place], place});
    ranks_[place] = rank;
    node.value() = {rank, place};
    order_.insert(std::move(node));
  }

  [[nodiscard]] auto begin() const { return order_.begin(); }
  [[nodiscard]] auto end() const { return order_.end(); }
  [[nodiscard]] HostId host(const Entry& entry) const { return hosts_[entry.second]; }

 private:
  static constexpr std::uint32_t nowhere = std::numeric_limits<std::uint32_t>::max();

  const std::vector<HostId>& hosts_;
  std::vector<Rank> ranks_;            ///< by place in the list
  std::vector<std::uint32_t> places_;  ///< by host
  std::set<Entry> order_;
};

}  // namespace ferry
