// How receives get their messages.
#include <fmt/format.h>

#include <algorithm>

#include "core/mpi/message_path.hpp"
#include "core/mpi/slices.hpp"

namespace ferry::mpi {

Operation& Engine::post_receive(const Communicator::State& in, std::uint32_t context,
                                const Buffer& into, std::uint32_t source, Tag tag) {
  Operation& receive = requests_.take(Operation::Kind::receive, Operation::State::posted);
  receive.source = source;
  receive.tag = tag;
  receive.context = context;
  receive.group = &in.group;
  receive.into = into;
  start_receive(receive);
  return receive;
}

void Engine::start_receive(Operation& receive) {
  Matching& queues = matching(receive.context);
  Unexpected* message = queues.find_message(envelope_of(receive));
  if (message == nullptr) return queues.post(receive);
  queues.remove(*message);
  meet(receive, *message);
}

void Engine::meet(Operation& receive, Unexpected& message) {
  if (message.source == rank_.index) return receive_from_self(receive, message);
  Peer& peer = peer_of(RankId{message.source});
  if (static_cast<PacketKind>(message.header.kind) == PacketKind::announce) {
    receive_announced(peer, receive, message.header);
  } else {
    receive_eager(peer, receive, message.header, message.body.data());
    complete(receive);
    message.body.drop(blocks_);
    return_credits_if_due(peer);
  }
  unexpected_.give_back(message);
}

std::size_t Engine::note_status(Operation& receive, const PacketHeader& header) {
  receive.status.source = receive.group->rank_of(header.source);
  receive.status.tag = header.tag;
  receive.status.size = header.size;
  receive.source = header.source;
  if (receive.run != nullptr && header.size != receive.into.size()) fail_step(receive, header);
  if (header.size > receive.into.size()) {
    receive.status.error = Error::truncated;
    if (receive.run == nullptr) complain_of_truncation(receive, header);
    return receive.into.size();
  }
  return header.size;
}

// Apart: what is on the stack of each message is in the caches of each rank.
[[gnu::noinline]] void Engine::answer_matched(Peer& peer, std::uint64_t request) {
  PacketHeader matched;
  matched.kind = static_cast<std::uint8_t>(PacketKind::matched);
  matched.more = request;
  answer(peer, matched);
}

void Engine::receive_from_self(Operation& receive, Unexpected& message) {
  const std::size_t wanted = note_envelope(receive, message.header);
  if (message.own != nullptr) {
    copy_between(message.own->from.pieces(), receive.into.pieces(), wanted);
    complete(*message.own);
  } else {
    copy_into(receive.into.pieces(), 0, message.body.data(), wanted);
    own_credits_ -= credits_for(message.header.size);
    message.body.drop(blocks_);
  }
  unexpected_.give_back(message);
  complete(receive);
}

void Engine::complain_of_truncation(const Operation& receive, const PacketHeader& header) {
  ports_.watch.complain(rank_, fmt::format("rank {} receives {} bytes from rank {}, tag {}, "
                                           "communicator {}, into a buffer of {} bytes",
                                           receive.group->rank, header.size, receive.status.source,
                                           header.tag, receive.group->name, receive.into.size()));
}

}  // namespace ferry::mpi
