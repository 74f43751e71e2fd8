#include "core/mpi/peer.hpp"

#include <algorithm>

namespace ferry::mpi {

Peer& PeerTable::add(RankId rank) {
  if (2 * (count_ + 1) > slots_.size()) {
    std::vector<std::unique_ptr<Peer>> old(std::max<std::size_t>(4, 2 * slots_.size()));
    old.swap(slots_);
    for (std::unique_ptr<Peer>& peer : old) {
      if (peer != nullptr) insert(std::move(peer));
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
  while (slots_[i] != nullptr) i = (i + 1) & (slots_.size() - 1);
  slots_[i] = std::move(peer);
}

std::vector<Peer*> PeerTable::in_order() const {
  std::vector<Peer*> peers;
  for (const std::unique_ptr<Peer>& peer : slots_) {
    if (peer != nullptr) peers.push_back(peer.get());
  }
  std::sort(peers.begin(), peers.end(),
            [](const Peer* a, const Peer* b) { return a->rank < b->rank; });
  return peers;
}

}  // namespace ferry::mpi
