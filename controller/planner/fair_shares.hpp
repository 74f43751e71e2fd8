// What each of many transfers gets of the links that they share.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/topology/link_map.hpp"

namespace ferry {

/// Max-min fair shares (Bertsekas and Gallager, Data Networks, section 6.5.2; what the simulated
/// world's engine computes too): nobody can get more without somebody with as little or less
/// getting less still. Transfers have slots that are used again.
class FairShares {
 public:
  explicit FairShares(const LinkMap& links);

  /// A transfer over `route` that never gets more than `limit`. Its share is zero until `solve`.
  std::uint32_t add(const LinkMap::Route& route, Bandwidth limit);
  void remove(std::uint32_t slot);
  /// Computes all shares; the slots whose share has changed. O(links of all transfers + L log L)
  /// for L links in use.
  const std::vector<std::uint32_t>& solve();

  [[nodiscard]] Bandwidth share(std::uint32_t slot) const {
    return Bandwidth::bytes_per_second(transfers_[slot].share);
  }
  [[nodiscard]] std::size_t users(LinkId link) const { return links_[link.index].users.size(); }
  /// Links that all solutions together have looked at: the work done, the same on every machine.
  [[nodiscard]] std::uint64_t work() const { return work_; }

 private:
  struct Transfer {
    LinkMap::Route route;
    double limit = 0;
    double share = 0;
    double next = 0;  ///< the share in the making
    bool fixed = false;
    std::uint32_t place = 0;                 ///< in `active_`
    std::array<std::uint32_t, 8> on_link{};  ///< for each link of the route: place in its `users`
  };
  struct Link {
    double bandwidth = 0;
    std::vector<std::uint32_t> users;  ///< slots
    double left = 0;
    std::uint32_t open = 0;  ///< users whose share is not fixed
    bool listed = false;     ///< in `used_`
  };

  void fix(Transfer& transfer, double share);

  std::vector<Link> links_;
  std::vector<Transfer> transfers_;
  std::vector<std::uint32_t> free_;
  std::vector<std::uint32_t> active_;  ///< slots
  std::vector<std::uint32_t> used_;    ///< links with users, and some that had
  std::vector<std::pair<double, std::uint32_t>> heap_;
  std::vector<std::pair<double, std::uint32_t>> by_limit_;
  std::vector<std::uint32_t> changed_;
  std::uint64_t work_ = 0;
};

}  // namespace ferry
