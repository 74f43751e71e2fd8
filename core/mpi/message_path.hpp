// What every message passes, without calls: one costs about as much as what is done in it.
#pragma once

#include "core/mpi/checksum.hpp"
#include "core/mpi/engine.hpp"
#include "core/mpi/slices.hpp"

namespace ferry::mpi {

[[gnu::always_inline]] inline const Route& Engine::route_of(Peer& peer) {
  const auto generation = static_cast<std::uint32_t>(ports_.chooser.generation());
  if (generation != peer.route_generation) [[unlikely]] {
    renew_route(peer, generation);
  }
  if (!peer.route->reaches()) [[unlikely]] {
    end_unreachable(peer);
  }
  return *peer.route;
}

[[gnu::always_inline]] inline bool Engine::post_here(Peer& peer, PacketHeader& header,
                                                     std::span<const ConstSlice> body,
                                                     std::uint64_t body_checksum, Channel channel) {
  header.source = rank_.index;
  header.credits = peer.consumed_credits;
  peer.way.channel = channel;
  if (options_.check_packets) header.checksum = body_checksum ^ checksum_of(header, peer.rank);
  if (!ports_.endpoint.post_along(peer.way, header, body)) return false;
  peer.owed_credits = 0;
  return true;
}

[[gnu::always_inline]] inline bool Engine::transmit_here(Peer& peer, PacketHeader& header,
                                                         std::span<const ConstSlice> body,
                                                         std::uint64_t body_checksum,
                                                         Channel channel) {
  header.sequence = peer.next_sequence;
  if (!post_here(peer, header, body, body_checksum, channel)) return false;
  ++peer.next_sequence;
  return true;
}

[[gnu::always_inline]] inline bool Engine::may_be_eager(const Peer& peer, const Choice& choice,
                                                        std::size_t size) const {
  if (choice.protocol != Protocol::eager) return false;
  const std::uint32_t credits = credits_for(size);
  return credits <= options_.credits / 2 && peer.taken_credits + credits <= options_.credits;
}

/// `size`: of all pieces.
[[gnu::always_inline]] inline bool Engine::try_eager_here(Peer& peer, const SendCall& call,
                                                          std::span<const ConstSlice> pieces,
                                                          std::size_t size, std::uint8_t flags,
                                                          std::uint64_t request_name) {
  const Choice& choice = route_of(peer).choose(size);
  if (!may_be_eager(peer, choice, size)) return false;
  PacketHeader header;
  header.kind = static_cast<std::uint8_t>(PacketKind::eager);
  header.flags = flags;
  header.context = call.context;
  header.tag = call.tag;
  header.size = size;
  header.key = request_name;
  header.more = call.collective;
  std::uint64_t sum = 0;
  if (options_.check_bodies && size != 0) {
    sum = pieces.size() == 1 ? checksum_of_piece(pieces.front()) : checksum_of(pieces);
  }
  if (size == 0) pieces = {};
  if (!transmit_here(peer, header, pieces, sum, choice.channel)) return false;
  peer.taken_credits = static_cast<std::uint16_t>(peer.taken_credits + credits_for(size));
  return true;
}

[[gnu::always_inline]] inline std::size_t Engine::note_envelope(Operation& receive,
                                                                const PacketHeader& header) {
  const std::size_t room = receive.into.size();
  if (receive.run != nullptr && header.size == room) return room;  // nobody asks for its status
  return note_status(receive, header);
}

[[gnu::always_inline]] inline void Engine::receive_eager(Peer& peer, Operation& receive,
                                                         const PacketHeader& header,
                                                         const std::byte* body) {
  const std::size_t size = note_envelope(receive, header);
  const std::span<const Slice> pieces = receive.into.pieces();
  if (size == 8 && body != nullptr && pieces.size() == 1 && pieces.front().data != nullptr) {
    std::memcpy(pieces.front().data, body, 8);  // a number
  } else {
    copy_into(pieces, 0, body, size);
  }
  const std::uint32_t credits = credits_for(header.size);
  peer.consumed_credits += credits;
  peer.owed_credits = static_cast<std::uint16_t>(peer.owed_credits + credits);
  if ((header.flags & flag_synchronous) != 0) [[unlikely]] {
    answer_matched(peer, header.key);
  }
}

}  // namespace ferry::mpi
