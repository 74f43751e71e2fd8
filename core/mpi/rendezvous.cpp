// Messages whose bytes wait until their receiver is known: it reads them, or clears them to be
// sent.
#include <algorithm>

#include "core/mpi/checksum.hpp"
#include "core/mpi/message_path.hpp"
#include "core/mpi/slices.hpp"
#include "core/units/check.hpp"

namespace ferry::mpi {
namespace {

/// Of a message, before the next one that goes to the same rank has its turn.
constexpr int fragments_in_turn = 4;

PacketHeader answer_of(PacketKind kind, std::uint64_t request) {
  PacketHeader header;
  header.kind = static_cast<std::uint8_t>(kind);
  header.more = request;
  return header;
}

}  // namespace

// --- The receiver. ---

void Engine::receive_announced(Peer& peer, Operation& receive, const PacketHeader& header) {
  receive.wanted = note_envelope(receive, header);
  receive.moved = 0;
  receive.remote = header.more & below_collective;
  if (receive.wanted == 0) {
    answer_done(peer, receive);
    return complete(receive);
  }
  receive.reads = (header.flags & flag_reads) != 0;
  if (!receive.reads) return clear_to_send(peer, receive);
  receive.key = header.key;
  receive.data = data_channel_of(header);
  const bool whole = receive.wanted == header.size && !receive.into.is_phantom() &&
                     (header.flags & flag_phantom) == 0;
  receive.checked_whole = options_.check_bodies && whole;
  receive.checksum = header.checksum ^ checksum_of(header, rank_);
  start_read(peer, receive);
}

void Engine::clear_to_send(Peer& peer, Operation& receive) {
  receive.state = Operation::State::moving;
  PacketHeader clear = answer_of(PacketKind::clear, receive.remote);
  clear.key = receive.name().packed();
  clear.size = receive.wanted;
  answer(peer, clear);
}

void Engine::start_read(Peer& peer, Operation& receive) {
  if (peer.connection != Peer::Connection::open) {
    receive.state = Operation::State::unread;
    return;
  }
  receive.state = Operation::State::reading;
  receive.read_key = receive.key;
  ++peer.hold.reads;
  std::span<const Slice> into = receive.into.pieces();
  if (receive.wanted != receive.into.size()) {
    receive.trimmed.clear();
    cut(into, 0, receive.wanted, receive.trimmed);
    into = receive.trimmed;
  }
  ports_.endpoint.read(peer.way.to, receive.data, MemoryKey{receive.key}, 0, into,
                       receive.name().packed());
}

void Engine::take_read(std::uint64_t cookie, bool done) {
  Operation* receive = requests_.find(RequestName::unpack(cookie));
  check(receive != nullptr && receive->state == Operation::State::reading,
        "a read ends once, and its receive waits for it");
  Peer& peer = peer_of(RankId{receive->source});
  --peer.hold.reads;
  if (!done) {
    receive->state = Operation::State::unread;
    if (receive->renewed) return take_up_renewal(peer, *receive);
    PacketHeader lost = answer_of(PacketKind::lost, receive->remote);
    lost.key = receive->read_key;
    return answer(peer, lost);
  }
  if (receive->checked_whole) {
    const bool whole = receive->wanted == receive->into.size();
    const std::span<const Slice> read = whole ? receive->into.pieces() : receive->trimmed;
    check(checksum_of(read) == receive->checksum, "what was read is what was announced");
  }
  answer_done(peer, *receive);
  complete(*receive);
}

/// What was announced is elsewhere now, or is to be cleared.
void Engine::take_up_renewal(Peer& peer, Operation& receive) {
  receive.renewed = false;
  if (receive.reads) return start_read(peer, receive);
  clear_to_send(peer, receive);
}

void Engine::answer_done(Peer& peer, const Operation& receive) {
  answer(peer, answer_of(PacketKind::done, receive.remote));
}

void Engine::take_fragment(Peer& peer, const Packet& packet) {
  const PacketHeader& header = packet.header;
  ++peer.hold.fragments_taken;
  Operation* receive = requests_.find(RequestName::unpack(header.more));
  if (receive == nullptr || receive->state != Operation::State::moving) return;  // a double
  if (header.key < receive->moved) return;                                       // likewise
  check(header.key == receive->moved, "the fragments of a message come in order");
  copy_into(receive->into.pieces(), receive->moved, packet.body, packet.body_size);
  receive->moved += packet.body_size;
  check(receive->moved <= receive->wanted, "no more is sent than was asked for");
  if (receive->moved != receive->wanted) return;
  if ((header.flags & flag_synchronous) != 0) answer_done(peer, *receive);
  complete(*receive);
}

void Engine::take_renewed(Peer& peer, const PacketHeader& header) {
  const std::uint64_t remote = header.more;
  for (std::uint32_t i = 0; i < requests_.places(); ++i) {
    Operation& receive = requests_.at(i);
    const bool reads = receive.state == Operation::State::reading;
    if (!reads && receive.state != Operation::State::unread) continue;
    if (receive.remote != remote || receive.source != header.source) continue;
    receive.key = header.key;
    receive.data = data_channel_of(header);
    receive.reads = (header.flags & flag_reads) != 0;
    receive.renewed = true;
    if (!reads) take_up_renewal(peer, receive);
    return;
  }
  for_each_matching([&](const Matching& queues) {
    for (Unexpected* message = queues.first_unexpected(); message != nullptr;
         message = Matching::next_unexpected(*message)) {
      if (message->source != header.source ||
          static_cast<PacketKind>(message->header.kind) != PacketKind::announce ||
          (message->header.more & below_collective) != remote) {
        continue;
      }
      const std::uint64_t whole = message->header.checksum ^ checksum_of(message->header, rank_);
      message->header.key = header.key;
      message->header.flags = header.flags;
      message->header.checksum = whole ^ checksum_of(message->header, rank_);
    }
  });
}

// --- The sender. ---

void Engine::take_clear(Peer& peer, const PacketHeader& header) {
  Operation* send = requests_.find(RequestName::unpack(header.more));
  if (send == nullptr || send->is_complete()) return;
  send->state = Operation::State::moving;
  send->key = header.key;
  send->wanted = header.size;
  send->moved = 0;
  choose_data(peer, *send);
  const bool first = peer.connection == Peer::Connection::open && peer.streams.empty();
  peer.streams.push_back(*send);
  if (first) flush_streams(peer);
  if (!peer.streams.empty()) backlog(peer);
}

void Engine::choose_data(Peer& peer, Operation& send) {
  const Choice& choice = route_of(peer).choose(send.from.size());
  send.data = choice.protocol == Protocol::rendezvous_fragments ? choice.data : choice.channel;
}

void Engine::flush_streams(Peer& peer) {
  Operation* send = peer.streams.front();
  while (send != nullptr && peer.connection != Peer::Connection::held) {
    Operation* const next = decltype(peer.streams)::next(*send);
    if (peer.connection == Peer::Connection::draining && send->moved == 0) {
      send = next;
      continue;
    }
    if (!stream(peer, *send)) return;
    peer.streams.remove(*send);
    const bool goes_on = send->moved != send->wanted;
    if (goes_on) {
      peer.streams.push_back(*send);
    } else if (send->state == Operation::State::moving) {
      end_stream(*send);
    }
    send = goes_on && next != nullptr ? next : peer.streams.front();
  }
}

bool Engine::stream(Peer& peer, Operation& send) {
  const std::size_t largest = std::min<std::size_t>(
      route_of(peer).choose(send.from.size()).fragment, ports_.endpoint.largest_body(send.data));
  for (int i = 0; i < fragments_in_turn && send.moved != send.wanted; ++i) {
    const std::size_t size = std::min(largest, send.wanted - send.moved);
    cut(send.from.pieces(), send.moved, size, cut_);
    PacketHeader header;
    header.kind = static_cast<std::uint8_t>(PacketKind::fragment);
    if (send.from.is_phantom()) header.flags = flag_phantom;
    if (send.moved + size == send.wanted && can_lose(send.data)) {
      header.flags = static_cast<std::uint8_t>(header.flags | flag_synchronous);
    }
    header.more = send.key;
    header.key = send.moved;
    header.size = size;
    const std::uint64_t sum =
        options_.check_bodies ? checksum_of(std::span<const ConstSlice>(cut_)) : 0;
    if (!post(peer, header, cut_, sum, send.data)) return false;
    ++peer.hold.fragments_sent;
    send.moved += size;
  }
  return true;
}

void Engine::end_stream(Operation& send) {
  if (can_lose(send.data)) {
    send.state = Operation::State::finishing;
  } else {
    complete(send);
  }
}

void Engine::take_done(const PacketHeader& header) {
  Operation* send = requests_.find(RequestName::unpack(header.more));
  if (send == nullptr || send->is_complete()) return;
  unexpose(*send);
  complete(*send);
}

void Engine::take_matched(const PacketHeader& header) {
  Operation* send = requests_.find(RequestName::unpack(header.more));
  if (send != nullptr && !send->is_complete()) complete(*send);
}

void Engine::take_lost(Peer& peer, const PacketHeader& header) {
  Operation* send = requests_.find(RequestName::unpack(header.more));
  if (send == nullptr || send->is_complete()) return;
  if (!send->exposed || send->key != header.key) return;  // its renewal is on its way, or will be
  unexpose(*send);
  send->withdrawn = true;
  if (peer.connection == Peer::Connection::open) renew(peer, *send);
}

void Engine::renew(Peer& peer, Operation& send) {
  send.withdrawn = false;
  PacketHeader renewed = answer_of(PacketKind::renewed, send.name().packed());
  if (send.from.is_phantom()) renewed.flags = flag_phantom;
  const Choice& choice = route_of(peer).choose(send.from.size());
  if (choice.protocol == Protocol::rendezvous_read && expose(send, choice)) {
    renewed.key = send.key;
    renewed.flags = static_cast<std::uint8_t>(
        renewed.flags | flag_reads | static_cast<unsigned>(send.data) << flag_channel_shift);
  }
  answer(peer, renewed);
}

bool Engine::expose(Operation& send, const Choice& choice) {
  const MemoryKey key = ports_.endpoint.expose(choice.data, send.from.pieces());
  if (key.value == 0) return false;
  send.data = choice.data;
  send.key = key.value;
  return send.exposed = true;
}

void Engine::unexpose(Operation& send) {
  if (!send.exposed) return;
  ports_.endpoint.withdraw(MemoryKey{send.key});
  send.exposed = false;
}

}  // namespace ferry::mpi
