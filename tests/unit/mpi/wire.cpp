#include "tests/unit/mpi/wire.hpp"

#include "core/mpi/engine.hpp"
#include "core/mpi/slices.hpp"

namespace ferry::mpi {

bool WireEndpoint::post(EndpointAddress to, Channel channel, const PacketHeader& header,
                        std::span<const ConstSlice> body) {
  if (wire_.refuses || wire_.refuses_after == 0) return false;
  if (wire_.refuses_next > 0) {
    --wire_.refuses_next;
    return false;
  }
  if (wire_.refuses_after > 0) --wire_.refuses_after;
  Held held;
  held.arrival.channel = channel;
  held.arrival.from = address_;
  held.arrival.header = header;
  for (const ConstSlice& piece : body) {
    held.arrival.body_size += piece.size;
    if (piece.data != nullptr)
      held.body.insert(held.body.end(), piece.data, piece.data + piece.size);
  }
  check(held.arrival.body_size <= largest_body(channel), "bodies fit into packets");
  wire_.ways[{address_.value, to.value, channel}].push_back(std::move(held));
  return true;
}

const Arrival* WireEndpoint::poll() {
  if (inbox.empty()) return nullptr;
  current_ = std::move(inbox.front());
  inbox.pop_front();
  current_.arrival.body = current_.body;
  return &current_.arrival;
}

MemoryKey WireEndpoint::expose(Channel, std::span<const ConstSlice> memory) {
  if (wire_.unreadable) return {};
  const std::uint64_t key = wire_.next_key++;
  wire_.exposed[key] = {memory.begin(), memory.end()};
  return {key};
}

void WireEndpoint::withdraw(MemoryKey key) {
  check(wire_.exposed.erase(key.value) == 1, "what is withdrawn was exposed");
}

void WireEndpoint::read(EndpointAddress, Channel, MemoryKey key, std::size_t offset,
                        std::span<const Slice> into, std::uint64_t cookie) {
  wire_.reads.push_back({address_.value, key.value, offset, {into.begin(), into.end()}, cookie});
}

void Wire::finish_read(const WireRead& read) {
  WireEndpoint::Held held;
  held.arrival.cookie = read.cookie;
  const auto memory = exposed.find(read.key);
  if (memory == exposed.end()) {
    held.arrival.kind = Arrival::Kind::read_failed;
  } else {
    held.arrival.kind = Arrival::Kind::read_done;
    std::size_t size = 0;
    for (const Slice& piece : read.into) size += piece.size;
    std::vector<ConstSlice> part;
    cut(memory->second, read.offset, size, part);
    copy_between(part, read.into, size);
  }
  endpoints[read.reader]->inbox.push_back(std::move(held));
}

void Wire::settle() {
  do {
    for (auto& [way, packets] : ways) {
      while (!packets.empty()) deliver(packets, std::get<1>(way));
    }
    while (!reads.empty()) {
      finish_read(reads.front());
      reads.pop_front();
    }
    for (const auto& process : processes) process->engine().progress();
  } while (!is_idle());
}

}  // namespace ferry::mpi
