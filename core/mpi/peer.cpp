#include "core/mpi/peer.hpp"

#include <algorithm>

namespace ferry::mpi {

Peer& PeerTable::add(RankId rank) {
  if (2 * (count_ + 1) > slots_.size()) {
    std::vector<Slot> old(2 * slots_.size());
    old.swap(slots_);
    last_ = slots_.size() - 1;
    for (Slot& slot : old) {
      if (slot.peer != nullptr) insert(std::move(slot.peer));
    }
  }
  auto made = std::make_unique<Peer>();
  made->rank = rank;
  Peer& peer = *made;
  insert(std::move(made));
  ++count_;
  return peer;
}

void PeerTable::insert(std::unique_ptr<Peer> peer) {
  std::size_t i = home(peer->rank);
  while (slots_[i].peer != nullptr) i = (i + 1) & last_;
  slots_[i].rank = peer->rank;
  slots_[i].peer = std::move(peer);
}

std::vector<Peer*> PeerTable::in_order() const {
  std::vector<Peer*> peers;
  for (const Slot& slot : slots_) {
    if (slot.peer != nullptr) peers.push_back(slot.peer.get());
  }
  std::sort(peers.begin(), peers.end(),
            [](const Peer* a, const Peer* b) { return a->rank < b->rank; });
  return peers;
}

}  // namespace ferry::mpi
