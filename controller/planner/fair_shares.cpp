#include "controller/planner/fair_shares.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

namespace ferry {

FairShares::FairShares(const LinkMap& links) {
  links_.resize(links.link_count());
  for (std::uint32_t i = 0; i < links_.size(); ++i) {
    links_[i].bandwidth = links.bandwidth(LinkId{i}).to_bytes_per_second();
  }
}

std::uint32_t FairShares::add(const LinkMap::Route& route, Bandwidth limit) {
  std::uint32_t slot = 0;
  if (free_.empty()) {
    slot = static_cast<std::uint32_t>(transfers_.size());
    transfers_.emplace_back();
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  Transfer& transfer = transfers_[slot];
  transfer = {};
  transfer.route = route;
  transfer.limit = limit.to_bytes_per_second();
  transfer.place = static_cast<std::uint32_t>(active_.size());
  active_.push_back(slot);
  for (std::size_t i = 0; i < route.size(); ++i) {
    const std::uint32_t index = (route.begin() + i)->index;
    Link& link = links_[index];
    if (!link.listed) {
      link.listed = true;
      used_.push_back(index);
    }
    transfer.on_link[i] = static_cast<std::uint32_t>(link.users.size());
    link.users.push_back(slot);
  }
  return slot;
}

void FairShares::remove(std::uint32_t slot) {
  const Transfer& transfer = transfers_[slot];
  for (std::size_t i = 0; i < transfer.route.size(); ++i) {
    const LinkId link = *(transfer.route.begin() + i);
    std::vector<std::uint32_t>& users = links_[link.index].users;
    const std::uint32_t moved = users.back();
    users[transfer.on_link[i]] = moved;
    users.pop_back();
    const LinkMap::Route& route = transfers_[moved].route;
    const auto found = std::find(route.begin(), route.end(), link);
    transfers_[moved].on_link[static_cast<std::size_t>(found - route.begin())] =
        transfer.on_link[i];
  }
  const std::uint32_t last = active_.back();
  active_[transfer.place] = last;
  transfers_[last].place = transfer.place;
  active_.pop_back();
  free_.push_back(slot);
}

void FairShares::fix(Transfer& transfer, double share) {
  transfer.fixed = true;
  transfer.next = share;
  for (const LinkId id : transfer.route) {
    Link& link = links_[id.index];
    link.left -= share;
    link.open -= 1;
  }
  work_ += transfer.route.size();
}

const std::vector<std::uint32_t>& FairShares::solve() {
  heap_.clear();
  by_limit_.clear();
  changed_.clear();
  std::size_t kept = 0;
  for (const std::uint32_t index : used_) {
    Link& link = links_[index];
    if (link.users.empty()) {
      link.listed = false;
      continue;
    }
    used_[kept++] = index;
    link.left = link.bandwidth;
    link.open = static_cast<std::uint32_t>(link.users.size());
    heap_.emplace_back(link.left / link.open, index);
  }
  used_.resize(kept);
  work_ += kept;
  std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
  for (const std::uint32_t slot : active_) {
    transfers_[slot].fixed = false;
    by_limit_.emplace_back(transfers_[slot].limit, slot);
  }
  const auto unequal = std::adjacent_find(by_limit_.begin(), by_limit_.end(),
                                          [](auto& a, auto& b) { return a.first != b.first; });
  if (unequal != by_limit_.end()) std::sort(by_limit_.begin(), by_limit_.end());

  std::size_t next_limit = 0;
  while (next_limit < by_limit_.size()) {
    const auto [limit, slot] = by_limit_[next_limit];
    if (transfers_[slot].fixed) {
      ++next_limit;
      continue;
    }
    // The share of a link in the heap may be outdated; the true one is only larger.
    while (!heap_.empty() && links_[heap_.front().second].open == 0) {
      std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
      heap_.pop_back();
    }
    if (heap_.empty() || limit <= heap_.front().first) {
      fix(transfers_[slot], limit);
      ++next_limit;
      continue;
    }
    const auto [known, index] = heap_.front();
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
    heap_.pop_back();
    Link& link = links_[index];
    const double share = std::max(0.0, link.left) / link.open;
    if (share > known && !heap_.empty() && share > heap_.front().first) {
      heap_.emplace_back(share, index);
      std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
      continue;
    }
    if (limit < share) {  // looked at again with the true share
      heap_.emplace_back(share, index);
      std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
      continue;
    }
    for (const std::uint32_t user : link.users) {
      if (!transfers_[user].fixed) fix(transfers_[user], share);
    }
  }
  for (const std::uint32_t slot : active_) {
    Transfer& transfer = transfers_[slot];
    // Sums in another order differ in the last digits; that is no change.
    const bool same = std::abs(transfer.next - transfer.share) <= 1e-12 * transfer.next;
    if (same && transfer.share > 0) continue;
    transfer.share = transfer.next;
    changed_.push_back(slot);
  }
  return changed_;
}

}  // namespace ferry
