// How messages leave: at once with their bytes, or announced.
#include <fmt/format.h>

#include <algorithm>

#include "core/mpi/checksum.hpp"
#include "core/mpi/engine.hpp"
#include "core/mpi/slices.hpp"
#include "core/mpi/suspension.hpp"
#include "core/units/check.hpp"

namespace ferry::mpi {
namespace {

std::span<const ConstSlice> body_of(const ConstBuffer& buffer) {
  return buffer.size() == 0 ? std::span<const ConstSlice>() : buffer.pieces();
}

std::uint8_t flags_of(const ConstBuffer& from, bool synchronous) {
  return static_cast<std::uint8_t>((from.is_phantom() ? flag_phantom : 0) |
                                   (synchronous ? flag_synchronous : 0));
}

}  // namespace

Peer& Engine::peer_of(RankId rank) {
  if (Peer* peer = peers_.find(rank)) return *peer;
  Peer& peer = peers_.add(rank);
  peer.address = ports_.directory.address_of(rank);
  peer.route_generation = ports_.chooser.generation();
  peer.route = &ports_.chooser.route(rank_, rank);
  if (suspension_ != nullptr) suspension_->meet(peer);
  return peer;
}

const Route& Engine::route_of(Peer& peer) {
  const std::uint64_t generation = ports_.chooser.generation();
  if (generation != peer.route_generation) {
    peer.route_generation = generation;
    peer.route = &ports_.chooser.route(rank_, peer.rank);
  }
  if (!peer.route->reaches()) {
    fail(fmt::format("rank {} cannot reach rank {}: {}", rank_.index, peer.rank.index,
                     peer.route->unreachable()));
    throw JobAborted(*aborted_.load());
  }
  return *peer.route;
}

Operation* Engine::start_send(const SendCall& call, const ConstBuffer& from) {
  const std::uint32_t to = call.in.group.in_job(call.to);
  Operation* send = nullptr;
  if (to == rank_.index) {
    send_to_self(call, from, send);
    return send;
  }
  Peer& peer = peer_of(RankId{to});
  if (!call.synchronous && peer.may_send() && try_eager(peer, call, from, 0)) return nullptr;
  send = &requests_.take(Operation::Kind::send, Operation::State::queued);
  send->synchronous = call.synchronous;
  send->source = to;
  send->tag = call.tag;
  send->context = call.context;
  send->group = &call.in.group;
  send->from = from;
  send->remote = call.collective;
  send->moved = 0;
  if (!peer.may_send() || !leave(peer, *send)) queue_send(peer, *send);
  return send;
}

// Where messages pass, what posts them is not called: it would take more of each rank's stack.
[[gnu::always_inline]] inline bool Engine::post_here(Peer& peer, PacketHeader& header,
                                                     std::span<const ConstSlice> body,
                                                     std::uint64_t body_checksum, Channel channel) {
  header.source = rank_.index;
  header.credits = static_cast<std::uint16_t>(peer.consumed_credits);
  header.acknowledged = static_cast<std::uint32_t>(peer.expected_sequence - 1);
  if (options_.check_packets) header.checksum = body_checksum ^ checksum_of(header, peer.rank);
  if (!ports_.endpoint.post(peer.address, channel, header, body)) return false;
  peer.told_credits = peer.consumed_credits;
  peer.told_sequence = peer.expected_sequence - 1;
  return true;
}

[[gnu::always_inline]] inline bool Engine::transmit_here(Peer& peer, PacketHeader& header,
                                                         std::span<const ConstSlice> body,
                                                         std::uint64_t body_checksum,
                                                         Channel channel) {
  header.sequence = peer.next_sequence;
  if (!post_here(peer, header, body, body_checksum, channel)) return false;
  ++peer.next_sequence;
  if (can_lose(channel)) retain(peer, header, body);
  return true;
}

bool Engine::transmit(Peer& peer, PacketHeader& header, std::span<const ConstSlice> body,
                      std::uint64_t body_checksum, Channel channel) {
  return transmit_here(peer, header, body, body_checksum, channel);
}

bool Engine::post(Peer& peer, PacketHeader& header, std::span<const ConstSlice> body,
                  std::uint64_t body_checksum, Channel channel) {
  return post_here(peer, header, body, body_checksum, channel);
}

bool Engine::try_eager(Peer& peer, const SendCall& call, const ConstBuffer& from,
                       std::uint64_t request_name) {
  const Choice& choice = route_of(peer).choose(from.size());
  if (choice.protocol != Protocol::eager) return false;
  const std::uint32_t credits = credits_for(from.size());
  const std::uint32_t used = peer.used_credits - peer.returned_credits;
  if (credits > options_.credits / 2 || used + credits > options_.credits) return false;
  PacketHeader header;
  header.kind = static_cast<std::uint8_t>(PacketKind::eager);
  header.flags = flags_of(from, call.synchronous);
  header.context = call.context;
  header.tag = call.tag;
  header.size = from.size();
  header.key = request_name;
  header.more = call.collective;
  const std::uint64_t sum =
      options_.check_bodies && from.size() != 0 ? checksum_of(from.pieces()) : 0;
  if (!transmit_here(peer, header, body_of(from), sum, choice.channel)) return false;
  peer.used_credits += credits;
  return true;
}

bool Engine::leave(Peer& peer, Operation& send) {
  const Choice& choice = route_of(peer).choose(send.from.size());
  const Communicator::State& in = *communicators_[send.context / 2];
  const SendCall call{in, send.context, 0, send.tag, send.synchronous, send.remote};
  if (try_eager(peer, call, send.from, send.synchronous ? send.name().packed() : 0)) {
    if (send.synchronous) {
      send.state = Operation::State::finishing;
    } else {
      complete(send);
    }
    return true;
  }
  return announce(peer, send, choice);
}

bool Engine::announce(Peer& peer, Operation& send, const Choice& choice) {
  const bool reads = choice.protocol == Protocol::rendezvous_read && send.from.size() != 0;
  if (reads && !send.exposed) {
    send.data = choice.data;
    send.key = ports_.endpoint.expose(choice.data, send.from.pieces()).value;
    send.exposed = true;
  }
  PacketHeader header;
  header.kind = static_cast<std::uint8_t>(PacketKind::announce);
  header.flags = flags_of(send.from, send.synchronous);
  if (reads) {
    header.flags = static_cast<std::uint8_t>(
        header.flags | flag_reads | static_cast<unsigned>(send.data) << flag_channel_shift);
  }
  header.context = send.context;
  header.tag = send.tag;
  header.size = send.from.size();
  header.key = reads ? send.key : 0;
  header.more = send.name().packed() | (send.remote & ~below_collective);
  const std::uint64_t sum = reads && options_.check_bodies ? checksum_of(send.from.pieces()) : 0;
  if (!transmit(peer, header, {}, sum, route_of(peer).control())) return false;
  send.state = Operation::State::announced;
  return true;
}

void Engine::queue_send(Peer& peer, Operation& send) {
  send.state = Operation::State::queued;
  peer.sends.push_back(send);
  backlog(peer);
}

void Engine::retain(Peer& peer, const PacketHeader& header, std::span<const ConstSlice> body) {
  Retained& kept = retained_.take();
  kept.header = header;
  if (!body.empty() && (header.flags & flag_phantom) == 0) {
    const std::size_t size = header.size;
    copy_from(body, 0, kept.body.make(blocks_, size), size);
  }
  peer.retained.push_back(kept);
}

void Engine::answer(Peer& peer, PacketHeader header) {
  if (peer.may_answer() && transmit(peer, header, {}, 0, route_of(peer).control())) return;
  Answer& waiting = answers_.take();
  waiting.header = header;
  peer.answers.push_back(waiting);
  backlog(peer);
}

bool Engine::owes(const Peer& peer) const {
  return peer.consumed_credits - peer.told_credits >= options_.credits / 2 ||
         peer.expected_sequence - 1 - peer.told_sequence >= options_.credits;
}

void Engine::return_credits_if_due(Peer& peer) {
  if (!owes(peer) || peer.connection == Peer::Connection::held) return;
  PacketHeader header;
  header.kind = static_cast<std::uint8_t>(PacketKind::returns);
  if (!post(peer, header, {}, 0, route_of(peer).control())) backlog(peer);
}

void Engine::backlog(Peer& peer) {
  if (peer.backlogged) return;
  peer.backlogged = true;
  backlog_.push_back(peer);
}

void Engine::flush_backlog() {
  for (Peer* peer = backlog_.front(); peer != nullptr;) {
    Peer* next = decltype(backlog_)::next(*peer);
    flush(*peer);
    peer = next;
  }
}

void Engine::flush(Peer& peer) {
  flush_answers(peer);
  while (Operation* send = peer.sends.front()) {
    if (peer.connection != Peer::Connection::open) break;
    peer.sends.remove(*send);
    if (!leave(peer, *send)) {
      peer.sends.insert_after(nullptr, *send);
      break;
    }
  }
  while (Operation* send = peer.streams.front()) {
    if (peer.connection == Peer::Connection::held) break;
    if (peer.connection == Peer::Connection::draining && send->moved == 0) break;
    if (!stream(peer, *send)) break;
    peer.streams.remove(*send);
    if (send->state == Operation::State::moving) end_stream(*send);
  }
  return_credits_if_due(peer);
  if (!peer.answers.empty() || !peer.sends.empty() || !peer.streams.empty() || owes(peer)) return;
  backlog_.remove(peer);
  peer.backlogged = false;
}

void Engine::flush_answers(Peer& peer) {
  while (Answer* waiting = peer.answers.front()) {
    if (peer.connection == Peer::Connection::held) return;
    if (!transmit(peer, waiting->header, {}, 0, route_of(peer).control())) return;
    peer.answers.remove(*waiting);
    answers_.give_back(*waiting);
  }
}

void Engine::send_to_self(const SendCall& call, const ConstBuffer& from, Operation*& send) {
  Unexpected& message = unexpected_.take();
  message.source = rank_.index;
  message.tag = call.tag;
  message.header.kind = static_cast<std::uint8_t>(PacketKind::eager);
  message.header.flags = flags_of(from, call.synchronous);
  message.header.source = rank_.index;
  message.header.context = call.context;
  message.header.tag = call.tag;
  message.header.size = from.size();
  Operation& held = requests_.take(Operation::Kind::send, Operation::State::announced);
  held.source = rank_.index;
  held.tag = call.tag;
  held.context = call.context;
  held.group = &call.in.group;
  held.from = from;
  message.own = &held;
  send = &held;
  Matching& queues = matching(call.context);
  if (Operation* receive = queues.match_message(envelope_of(message))) {
    receive_from_self(*receive, message);
    return;
  }
  queues.keep(message);
  const std::uint32_t credits = credits_for(from.size());
  if (call.synchronous || own_credits_ + credits > options_.credits) return;
  own_credits_ += credits;
  if (from.size() != 0 && !from.is_phantom()) {
    copy_from(from.pieces(), 0, message.body.make(blocks_, from.size()), from.size());
  }
  message.own = nullptr;
  complete(held);
}

}  // namespace ferry::mpi
