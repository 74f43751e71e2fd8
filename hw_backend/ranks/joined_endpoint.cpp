#include "hw_backend/ranks/joined_endpoint.hpp"

#include <algorithm>
#include <utility>

#include "core/units/check.hpp"

namespace ferry::ranks {
namespace {

/// Arrivals of one part before others get a turn.
constexpr std::uint32_t most_in_a_row = 64;
/// Keys say in their highest bits which channel's part made them; parts leave these alone.
constexpr unsigned channel_shift = 61;
static_assert(channel_count <= 8);

MemoryKey marked(MemoryKey key, Channel channel) {
  check(key.value >> channel_shift == 0, "keys leave their three highest bits alone");
  return {key.value | static_cast<std::uint64_t>(channel) << channel_shift};
}

MemoryKey unmarked(MemoryKey key) {
  return {key.value & ((std::uint64_t{1} << channel_shift) - 1)};
}

}  // namespace

void JoinedEndpoint::set_part(std::span<const Channel> channels, Endpoint* part) {
  for (const Channel channel : channels) {
    Way& changed = way(channel);
    changed.part = part;
    changed.known = true;
    if (part == nullptr) continue;
    changed.largest_body = part->largest_body(channel);
    if (std::exchange(changed.refused, false)) wait_set_.notify();  // it may go now
  }
  parts_.clear();
  for (const Way& one : ways_) {
    if (one.part != nullptr && std::find(parts_.begin(), parts_.end(), one.part) == parts_.end()) {
      parts_.push_back(one.part);
    }
  }
  turn_ = 0;
}

bool JoinedEndpoint::post(EndpointAddress to, Channel channel, const PacketHeader& header,
                          std::span<const ConstSlice> body) {
  Way& by = way(channel);
  if (by.part == nullptr) [[unlikely]] {
    by.refused = by.known;
    return !by.known;
  }
  if (!by.part->post(to, channel, header, body)) return false;
  const std::uint32_t moves = moves_.load(std::memory_order_acquire);
  if (moves != counted_moves_) [[unlikely]] {
    take_note_of_moves(moves);
  }
  ++posted_[static_cast<std::size_t>(channel)];
  return true;
}

void JoinedEndpoint::take_note_of_moves(std::uint32_t moves) {
  add_counts(packets_before_);
  counted_moves_ = moves;
  posted_ = {};
}

void JoinedEndpoint::add_counts(std::vector<mpi::ChannelPackets>& to) const {
  for (const Channel channel : all_channels) {
    const std::uint64_t posted = posted_[static_cast<std::size_t>(channel)];
    if (posted != 0) to.push_back({channel, counted_moves_, posted});
  }
}

std::vector<mpi::ChannelPackets> JoinedEndpoint::packets() const {
  std::vector<mpi::ChannelPackets> all = packets_before_;
  add_counts(all);
  return all;
}

std::size_t JoinedEndpoint::largest_body(Channel channel) const {
  return ways_[static_cast<std::size_t>(channel)].largest_body;
}

/// Parts take turns, so that none waits for another that always has something.
const Arrival* JoinedEndpoint::poll() {
  if (in_a_row_ >= most_in_a_row) {
    ++turn_;
    in_a_row_ = 0;
  }
  for (std::size_t i = 0; i < parts_.size(); ++i, ++turn_, in_a_row_ = 0) {
    if (turn_ >= parts_.size()) turn_ = 0;
    if (const Arrival* const arrival = parts_[turn_]->poll()) {
      ++in_a_row_;
      return arrival;
    }
  }
  return failed_reads_.empty() ? nullptr : fail_read();
}

const Arrival* JoinedEndpoint::fail_read() {
  failed_ = Arrival{};
  failed_.kind = Arrival::Kind::read_failed;
  failed_.channel = failed_reads_.front().first;
  failed_.cookie = failed_reads_.front().second;
  failed_reads_.erase(failed_reads_.begin());
  return &failed_;
}

MemoryKey JoinedEndpoint::expose(Channel channel, std::span<const ConstSlice> memory) {
  const Way& by = way(channel);
  const MemoryKey key = by.part == nullptr ? MemoryKey{} : by.part->expose(channel, memory);
  return key.value == 0 ? key : marked(key, channel);
}

void JoinedEndpoint::withdraw(MemoryKey key) {
  if (key.value == 0) return;
  const Way& by = ways_[key.value >> channel_shift];
  if (by.part != nullptr) by.part->withdraw(unmarked(key));
}

void JoinedEndpoint::read(EndpointAddress from, Channel channel, MemoryKey key, std::size_t offset,
                          std::span<const Slice> into, std::uint64_t cookie) {
  const Way& by = way(channel);
  if (by.part != nullptr) return by.part->read(from, channel, unmarked(key), offset, into, cookie);
  failed_reads_.emplace_back(channel, cookie);
  wait_set_.notify();
}

void JoinedEndpoint::connect(EndpointAddress to, Channel channel) {
  if (Endpoint* const part = way(channel).part) part->connect(to, channel);
}

void JoinedEndpoint::disconnect(EndpointAddress to, Channel channel) {
  if (Endpoint* const part = way(channel).part) part->disconnect(to, channel);
}

}  // namespace ferry::ranks
