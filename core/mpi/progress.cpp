// What happens to packets that arrive.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "core/mpi/checksum.hpp"
#include "core/mpi/engine_call.hpp"
#include "core/mpi/message_path.hpp"
#include "core/units/check.hpp"
#include "core/units/fetch_lines.hpp"

namespace ferry::mpi {

void Engine::progress() {
  const Call call(*this);
  progress_until([] { return false; });
}

void Engine::finish() {
  const Call call(*this);
  block_until([this] { return backlog_.empty(); });
}

void Engine::leave() {
  if (suspension_ != nullptr) suspension_->leave();
}

void Engine::take_arrivals() {
  progress_until([] { return false; });
}

void Engine::take_part() {
  suspension_->step();
  if (suspension_->keeps_program()) block_until([] { return true; });
}

void Engine::tell_who_waits() {
  if (waiting_) ports_.wait_set.notify();
}

Wake Engine::wait_for_something() {
  if (mutex_ == nullptr) return ports_.wait_set.wait(TimePoint::never());
  // One waits for all of them, who then look again: what it took in may be what another waits for.
  if (waiting_) return turn_->wait_until(*mutex_, TimePoint::never());
  waiting_ = true;
  mutex_->unlock();
  const Wake woken = ports_.wait_set.wait(TimePoint::never());
  mutex_->lock();
  waiting_ = false;
  turn_->notify_all();
  return woken;
}

// How many lines of each: what a message uses (8 B, recursive doubling).
void Engine::fetch(int step) const {
  switch (step) {
    case 0:
      fetch_lines(this, 4);
      fetch_lines(&of_world_[1], 1);
      return fetch_lines(&ports_.endpoint, 1);
    case 1:
      if (soon_.peer != nullptr) fetch_lines(soon_.peer, 1);
      if (latest_peer_ != nullptr) fetch_lines(latest_peer_, 1);
      if (soon_.run != nullptr) {
        fetch_lines(soon_.run, 2);
        fetch_lines(soon_.round, 4);
      }
      if (soon_.communicator != nullptr) fetch_lines(soon_.communicator, 2);
      if (const Operation* const receive = of_world_[1].only_posted()) {
        fetch_lines(receive, 2);
      } else if (const Operation* const next = requests_.next()) {
        fetch_lines(next, 3);
      }
      return;
    default:
      if (soon_.run != nullptr) {
        for (const std::byte* const region : soon_.run->regions) ask_for_lines(region, 1);
      }
      if (const Peer* const peer = soon_.run != nullptr ? soon_.peer : latest_peer_) {
        ports_.endpoint.fetch(peer->way);
      }
  }
}

void Engine::pause() {
  if (mutex_ != nullptr) mutex_->unlock();
  ports_.wait_set.pause();
  if (mutex_ != nullptr) mutex_->lock();
}

void Engine::handle(const Arrival& arrival) {
  switch (arrival.kind) {
    case Arrival::Kind::packet: return take_packet(arrival);
    case Arrival::Kind::read_done: return take_read(arrival.cookie, true);
    case Arrival::Kind::read_failed: return take_read(arrival.cookie, false);
  }
}

[[gnu::always_inline]] inline void Engine::verify(const Arrival& arrival) const {
  const PacketHeader& header = arrival.header;
  if (!options_.check_packets) return;
  const auto kind = static_cast<PacketKind>(header.kind);
  const bool says_more = kind == PacketKind::announce && (header.flags & flag_reads) != 0 &&
                         (header.flags & flag_phantom) == 0;
  if (says_more && options_.check_bodies) return;  // of the bytes too: when they have been read
  std::uint64_t sum = checksum_of(header, rank_);
  if (options_.check_bodies && !arrival.body.empty()) {
    sum ^= checksum_of_piece({arrival.body.data(), arrival.body.size()});
  }
  if (((sum ^ header.checksum) & arrival.checksum_bits) == 0) [[likely]] {
    return;
  }
  check(false, fmt::format("packet {} from rank {} to rank {} is not what was sent",
                           header.sequence, header.source, rank_.index));
}

[[gnu::always_inline]] inline void Engine::take_returns(Peer& peer, const PacketHeader& header) {
  // Packets of several channels overtake each other: what an older one says is known already.
  const auto returned = static_cast<std::int32_t>(header.credits - peer.returned_credits);
  if (returned <= 0) return;
  check(returned <= peer.taken_credits, "a peer returns no more credits than it was asked for");
  peer.returned_credits = header.credits;
  peer.taken_credits = static_cast<std::uint16_t>(peer.taken_credits - returned);
}

[[gnu::always_inline]] inline Operation* Engine::take_message(Peer& peer, const Packet& packet) {
  const PacketHeader& header = packet.header;
  Operation* receive = matching(header.context).match_message({header.source, header.tag});
  const bool is_eager = static_cast<PacketKind>(header.kind) == PacketKind::eager;
  if (collective_of(header) != Collective::none) {
    if (receive == nullptr || receive->run == nullptr) {
      check_collective(header);
    } else if (!is_eager || header.more != receive->run->mark) {
      const CollectiveRun& run = *receive->run;
      check_collective(*run.communicator, {run.number, run.call}, header);
    }
  }
  if (receive == nullptr) {
    keep_unexpected(packet);
    return nullptr;
  }
  if (!is_eager) {
    receive_announced(peer, *receive, header);
    return nullptr;
  }
  receive_eager(peer, *receive, header, packet.body);
  return receive;
}

[[gnu::always_inline]] inline Operation* Engine::dispatch(Peer& peer, const Packet& packet) {
  switch (static_cast<PacketKind>(packet.header.kind)) {
    case PacketKind::eager:
    case PacketKind::announce: return take_message(peer, packet);
    default: dispatch_control(peer, packet.header); return nullptr;
  }
}

/// The next one in order. What a receive's end sets going begins here and not further down: it
/// leads far down itself, and less of a stack in use is more of it in the caches.
[[gnu::always_inline]] inline void Engine::take_next(Peer& peer, const Packet& packet) {
  ++peer.expected_sequence;
  Operation* const received = dispatch(peer, packet);
  if (received != nullptr) complete(*received);
}

[[gnu::noinline]] void Engine::take_early(Peer& peer, Channel channel) {
  while (Early* early = peer.early.front()) {
    if (early->header.sequence != peer.expected_sequence) break;
    peer.early.remove(*early);
    peer.has_early = !peer.early.empty();
    take_next(peer, {early->header, early->body.data(), early->body_size, channel});
    early->body.drop(blocks_);
    early_.give_back(*early);
  }
}

void Engine::take_packet(const Arrival& arrival) {
  const Packet packet{arrival.header, arrival.body.data(), arrival.body_size, arrival.channel};
  const PacketHeader& header = arrival.header;
  check(header.source < job_size_, "packets come from ranks of the job");
  // Looked up before the packet is checked: that takes about as long as memory does to come.
  Peer& peer = peer_of(RankId{header.source});
  verify(arrival);
  take_returns(peer, header);
  if (peer.connection != Peer::Connection::open) suspension_->heard(peer);
  switch (static_cast<PacketKind>(header.kind)) {
    case PacketKind::returns: return;
    case PacketKind::fragment: return take_fragment(peer, packet);
    default: break;
  }
  if (header.sequence != peer.expected_sequence) {
    if (header.sequence > peer.expected_sequence) keep_early(peer, packet);
    return;  // else it is a double
  }
  take_next(peer, packet);
  if (peer.has_early) take_early(peer, packet.channel);
  if (owes(peer)) return_credits_if_due(peer);
}

void Engine::keep_early(Peer& peer, const Packet& packet) {
  Early* before = peer.early.back();
  while (before != nullptr && before->header.sequence > packet.header.sequence) {
    before = before->links.previous;
  }
  if (before != nullptr && before->header.sequence == packet.header.sequence) return;  // a double
  Early& early = early_.take();
  early.header = packet.header;
  early.body_size = packet.body_size;
  if (packet.body != nullptr && packet.body_size != 0) {
    std::memcpy(early.body.make(blocks_, packet.body_size), packet.body, packet.body_size);
  }
  peer.early.insert_after(before, early);
  peer.has_early = true;
}

void Engine::dispatch_control(Peer& peer, const PacketHeader& header) {
  switch (static_cast<PacketKind>(header.kind)) {
    case PacketKind::matched: return take_matched(header);
    case PacketKind::clear: return take_clear(peer, header);
    case PacketKind::done: return take_done(header);
    case PacketKind::lost: return take_lost(peer, header);
    case PacketKind::renewed: return take_renewed(peer, header);
    case PacketKind::flush:
      check(suspension_ != nullptr, "only ranks that can be suspended flush");
      return suspension_->take_flush(peer, header);
    default: break;
  }
  check(false, "packets are of a kind that the engine knows");
}

void Engine::keep_unexpected(const Packet& packet) {
  Unexpected& message = unexpected_.take();
  message.source = packet.header.source;
  message.tag = packet.header.tag;
  message.header = packet.header;
  if (packet.body != nullptr && packet.body_size != 0) {
    std::memcpy(message.body.make(blocks_, packet.body_size), packet.body, packet.body_size);
  }
  matching(packet.header.context).keep(message);
}

}  // namespace ferry::mpi
