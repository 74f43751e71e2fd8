// How messages leave: at once with their bytes, or announced.
#include <fmt/format.h>

#include <algorithm>

#include "core/mpi/checksum.hpp"
#include "core/mpi/message_path.hpp"
#include "core/mpi/slices.hpp"
#include "core/mpi/suspension.hpp"
#include "core/units/check.hpp"

namespace ferry::mpi {
namespace {

std::uint8_t flags_of(const ConstBuffer& from, bool synchronous) {
  return static_cast<std::uint8_t>((from.is_phantom() ? flag_phantom : 0) |
                                   (synchronous ? flag_synchronous : 0));
}

}  // namespace

Peer& Engine::add_peer(RankId rank) {
  Peer& peer = peers_.add(rank);
  peer.way.to = ports_.directory.address_of(rank);
  peer.route_generation = static_cast<std::uint32_t>(ports_.chooser.generation());
  peer.route = &ports_.chooser.route(rank_, rank);
  if (suspension_ != nullptr) suspension_->meet(peer);
  return peer;
}

void Engine::renew_route(Peer& peer, std::uint32_t generation) {
  peer.route_generation = generation;
  peer.route = &ports_.chooser.route(rank_, peer.rank);
}

void Engine::end_unreachable(const Peer& peer) {
  const std::string why = fmt::format("rank {} cannot reach rank {}: {}", rank_.index,
                                      peer.rank.index, peer.route->unreachable());
  fail(why);
  const std::string* const first = aborted_.load(std::memory_order_acquire);
  throw JobAborted(first != nullptr ? *first : why);
}

Operation* Engine::start_send(const SendCall& call, Rank to, const ConstBuffer& from) {
  leave_if_aborted();
  const RankId rank{call.in.group.in_job(to)};
  if (rank != rank_) [[likely]] {
    return start_send_to(peer_of(rank), call, from);
  }
  Operation* send = nullptr;
  send_to_self(call, from, send);
  return send;
}

Operation* Engine::start_send_to(Peer& peer, const SendCall& call, const ConstBuffer& from) {
  if (!call.synchronous && peer.may_send() && try_eager(peer, call, from, 0)) return nullptr;
  return &start_late_send(peer, call, from);
}

Operation& Engine::start_late_send(Peer& peer, const SendCall& call, const ConstBuffer& from) {
  Operation& send = requests_.take(Operation::Kind::send, Operation::State::queued);
  send.synchronous = call.synchronous;
  send.source = peer.rank.index;
  send.tag = call.tag;
  send.context = call.context;
  send.group = &call.in.group;
  send.from = from;
  send.remote = call.collective;
  send.moved = 0;
  if (!peer.may_send() || !leave(peer, send)) queue_send(peer, send);
  return send;
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
  return try_eager_here(peer, call, from.pieces(), from.size(), flags_of(from, call.synchronous),
                        request_name);
}

bool Engine::leave(Peer& peer, Operation& send) {
  const Choice& choice = route_of(peer).choose(send.from.size());
  const Communicator::State& in = *communicators_[send.context / 2];
  const SendCall call{in, send.context, send.tag, send.synchronous, send.remote};
  if (try_eager(peer, call, send.from, send.synchronous ? send.name().packed() : 0)) {
    if (send.synchronous) {
      send.state = Operation::State::finishing;
    } else {
      complete(send);
    }
    return true;
  }
  // Who may leave its bytes there waits for room to do so, not for a receive.
  return !may_be_eager(peer, choice, send.from.size()) && announce(peer, send, choice);
}

bool Engine::announce(Peer& peer, Operation& send, const Choice& choice) {
  const bool reads = choice.protocol == Protocol::rendezvous_read && send.from.size() != 0 &&
                     (send.exposed || expose(send, choice));
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
  peer.has_sends = true;
  backlog(peer);
}

void Engine::answer(Peer& peer, PacketHeader header) {
  if (peer.may_answer() && transmit(peer, header, {}, 0, route_of(peer).control())) return;
  Answer& waiting = answers_.take();
  waiting.header = header;
  peer.answers.push_back(waiting);
  backlog(peer);
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

std::size_t Engine::left_to_post() const {
  std::size_t count = 0;
  for (const Peer* peer = backlog_.front(); peer != nullptr;
       peer = decltype(backlog_)::next(*peer)) {
    count += peer->answers.count() + peer->sends.count() + peer->streams.count();
  }
  return count;
}

void Engine::flush_backlog() {
  const std::size_t left = waiting_ ? left_to_post() : 0;
  for (Peer* peer = backlog_.front(); peer != nullptr;) {
    Peer* next = decltype(backlog_)::next(*peer);
    flush(*peer);
    peer = next;
  }
  // The rank's other task waits for its sends, or for all to have left.
  if (waiting_ && left_to_post() != left) tell_who_waits();
}

void Engine::flush(Peer& peer) {
  flush_answers(peer);
  while (Operation* send = peer.sends.front()) {
    if (peer.connection != Peer::Connection::open) break;
    peer.sends.remove(*send);
    peer.has_sends = !peer.sends.empty();
    if (!leave(peer, *send)) {
      peer.sends.insert_after(nullptr, *send);
      peer.has_sends = true;
      break;
    }
  }
  flush_streams(peer);
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
