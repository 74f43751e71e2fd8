#include "hw_backend/shm/shm_endpoint.hpp"

#include <unistd.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "core/ports/world_error.hpp"
#include "core/units/check.hpp"
#include "hw_backend/shm/memory_reading.hpp"

namespace ferry::shm {
namespace {

/// Packets of one sender before others get a turn.
constexpr std::uint32_t most_in_a_row = 16;
/// Where nobody can be woken, those who wait look this often: while somebody talks to them, and
/// else.
constexpr Duration longest_nap = Duration::microseconds(500);
constexpr Duration longest_nap_alone = Duration::milliseconds(5);

std::size_t place_of(EndpointAddress to, Channel channel) {
  return slot_of(to) * channel_count + static_cast<std::size_t>(channel);
}

constexpr std::uint32_t exposure_bits = 16;
constexpr std::uint64_t exposure_mask = (1U << exposure_bits) - 1;

}  // namespace

struct ShmEndpoint::Outbound {
  Outbound(Region& region, std::uint32_t ring, EndpointAddress to_)
      : to(to_),
        receiver(region.endpoint_slot(slot_of(to_))),
        bell(region.wait_slot(receiver.wait_slot.load(std::memory_order_relaxed))),
        writer(region, ring) {}
  EndpointAddress to;
  EndpointSlot& receiver;
  WaitSlot& bell;
  RingWriter writer;
  bool starved = false;
};

ShmEndpoint::ShmEndpoint(std::shared_ptr<Region> region, ShmWaiting& wait_set, bool sleepers_fence,
                         std::optional<RankId> name)
    : region_(std::move(region)),
      wait_set_(wait_set),
      sleepers_fence_(sleepers_fence),
      name_(name),
      outbound_(channel_count * region_->sizes().endpoints),
      inbound_(channel_count * region_->sizes().endpoints) {
  take_slot();
  slot_->wait_slot.store(region_->can_wake() ? wait_set_.slot() : 0);
  slot_->process.store(getpid());
  slot_->opened.store(0);
  slot_->address.store(address_.value);
  region_->header().open_endpoints.fetch_add(1);
  wait_set_.watch(*this);
  if (name_) region_->announce(name_->index, address_);
}

/// A free one. Whoever has a name and left without a word, with its machine, has its old one again:
/// under another address, so that what leads to the old one leads nowhere.
void ShmEndpoint::take_slot() {
  const std::uint32_t slots = region_->sizes().endpoints;
  const auto take = [&](std::uint32_t index) {
    slot_ = &region_->endpoint_slot(index);
    slot_->name.store(name_ ? name_->index + 1 : 0);
    const std::uint32_t most = 1U << (32 - slot_bits);
    const std::uint32_t generation = slot_->generation.fetch_add(1) + 1;
    check(region_->is_device() || generation < most,
          "a place in the region was used a million times");
    address_ = EndpointAddress{std::max(generation % most, 1U) << slot_bits | index};
  };
  for (std::uint32_t index = 0; name_ && region_->is_device() && index < slots; ++index) {
    const EndpointSlot& slot = region_->endpoint_slot(index);
    if (slot.taken.load() != 0 && slot.name.load() == name_->index + 1) {
      region_->abandon_rings_of(slot.address.load());
      return take(index);
    }
  }
  for (std::uint32_t index = 0; index < slots; ++index) {
    std::uint32_t free = 0;
    if (region_->endpoint_slot(index).taken.compare_exchange_strong(free, 1)) return take(index);
  }
  throw WorldError("the shared memory of this job has no place for another endpoint: all " +
                   std::to_string(slots) + " are taken");
}

ShmEndpoint::~ShmEndpoint() {
  wait_set_.forget(*this);
  std::uint32_t mine = address_.value;
  const bool buried = !slot_->address.compare_exchange_strong(mine, 0);
  // Somebody else has its place, or another job the whole device: nothing there is its own any
  // more.
  if (buried && region_->is_device()) return;
  if (name_ && region_->address_now(name_->index) == address_) {
    region_->announce(name_->index, Region::gone);
  }
  for (const auto& out : outbound_) {
    if (out != nullptr) close(*out);
  }
  // Who waits for room towards this endpoint learns that there is none to wait for.
  std::vector<std::uint32_t> waiting;
  for (const std::uint32_t index : opened_rings(slot_->opened.exchange(closed_stack))) {
    Ring& ring = region_->ring(index);
    waiting.push_back(ring.sender_wait_slot);
    if ((ring.closed.fetch_or(closed_by_receiver) & closed_by_sender) != 0) {
      region_->give_ring_back(index);
    }
  }
  for (std::uint32_t i = 0; i < inbound_count_.load(); ++i) {
    RingReader* const reader = inbound_[i].load();
    if (reader == nullptr) continue;
    waiting.push_back(reader->ring().sender_wait_slot);
    close_inbound(*reader);
  }
  for (const std::uint32_t slot : waiting) {
    if (region_->can_wake()) ring_if_asleep(region_->wait_slot(slot), false);
  }
  for (std::uint32_t index = 0; index < exposures_made_; ++index) {
    Exposure& exposure = region_->exposure(slot_of(address_), index);
    const std::uint64_t generation = exposure.generation.load();
    if ((generation & 1U) != 0) withdraw({generation << exposure_bits | index});
  }
  if (buried) return;
  region_->header().open_endpoints.fetch_sub(1);
  slot_->name.store(0);
  slot_->taken.store(0);
}

void ShmEndpoint::leave_for_now() {
  check(name_.has_value(), "only who has a name can be waited for");
  region_->announce(name_->index, Region::nowhere);
}

/// Of the stack that begins with `first`, the last one that was opened first. Others wrote it: what
/// does not make sense ends it.
std::vector<std::uint32_t> ShmEndpoint::opened_rings(std::uint32_t first) const {
  std::vector<std::uint32_t> rings;
  for (std::uint32_t next = first; next != 0 && next != closed_stack;) {
    if (next > region_->most_rings() || rings.size() >= region_->most_rings()) break;
    rings.push_back(next - 1);
    next = std::atomic_ref(region_->ring(next - 1).next).load(std::memory_order_relaxed);
  }
  return rings;
}

bool ShmEndpoint::is_open(EndpointAddress there) const {
  return slot_of(there) < region_->sizes().endpoints && there.value != 0 &&
         region_->endpoint_slot(slot_of(there)).address.load(std::memory_order_acquire) ==
             there.value;
}

// --- Sending -------------------------------------------------------------------------------------

bool ShmEndpoint::post(EndpointAddress to, Channel channel, const PacketHeader& header,
                       std::span<const ConstSlice> body) {
  if (name_) {
    const EndpointAddress now = region_->address_now(to.value);
    if (now == Region::nowhere) [[unlikely]]
      return wait_for(to);
    to = now;
  }
  Outbound* const out = outbound(to, channel);
  if (out == nullptr) [[unlikely]]
    return true;  // nobody is there: lost, as on a network
  if (!out->writer.write(header, body)) [[unlikely]]
    return no_room(*out);
  if (region_->can_wake()) ring_if_asleep(out->bell, sleepers_fence_);
  return true;
}

/// Its address is not known yet: a packet for it finds no room.
bool ShmEndpoint::wait_for(EndpointAddress name) {
  const std::lock_guard guard(starved_mutex_);
  if (std::find(absent_.begin(), absent_.end(), name.value) == absent_.end()) {
    absent_.push_back(name.value);
  }
  count_starved();
  // It may have come since; who announced it then did not see anybody wait.
  return false;
}

/// Under the mutex.
void ShmEndpoint::count_starved() {
  starved_count_.store(static_cast<std::uint32_t>(starved_.size() + absent_.size()));
}

std::size_t ShmEndpoint::largest_body(Channel) const {
  return region_->sizes().largest_body().count();
}

ShmEndpoint::Outbound* ShmEndpoint::outbound(EndpointAddress to, Channel channel) {
  const std::size_t index = place_of(to, channel);
  if (index >= outbound_.size()) return nullptr;
  Outbound* const out = outbound_[index].get();
  if (out != nullptr && out->to == to) [[likely]]
    return out;
  return open_ring(to, channel);
}

ShmEndpoint::Outbound* ShmEndpoint::open_ring(EndpointAddress to, Channel channel) {
  if (!is_open(to)) return nullptr;
  std::unique_ptr<Outbound>& place = outbound_[place_of(to, channel)];
  if (place != nullptr) close(*place);  // to who was there before
  const std::uint32_t index = region_->take_ring();
  Ring& ring = region_->ring(index);
  ring.sender = address_.value;
  ring.receiver = to.value;
  ring.sender_wait_slot = region_->can_wake() ? wait_set_.slot() : 0;
  ring.channel = static_cast<std::uint32_t>(channel);
  ring.sender_name = name_ ? name_->index : 0;
  place = std::make_unique<Outbound>(*region_, index, to);
  std::atomic<std::uint32_t>& opened = place->receiver.opened;
  std::uint32_t first = opened.load();
  do {
    if (first == closed_stack) {
      region_->give_ring_back(index);
      place.reset();
      return nullptr;
    }
    std::atomic_ref(ring.next).store(first, std::memory_order_relaxed);
  } while (!opened.compare_exchange_weak(first, index + 1, std::memory_order_acq_rel));
  return place.get();
}

bool ShmEndpoint::no_room(Outbound& out) {
  if (!is_open(out.to)) return true;  // lost: nobody will ever make room
  const std::lock_guard guard(starved_mutex_);
  out.writer.want_room();
  if (!out.starved) {
    out.starved = true;
    starved_.push_back(&out);
    count_starved();
  }
  return false;
}

bool ShmEndpoint::has_room_again(const Outbound& out) const {
  return out.writer.has_room() || !is_open(out.to);
}

/// What is in the ring may still be read; the other side gives it back then.
void ShmEndpoint::close(Outbound& out) {
  {
    const std::lock_guard guard(starved_mutex_);
    std::erase(starved_, &out);
    count_starved();
  }
  Ring& ring = out.writer.ring();
  ring.end.store(out.writer.tail(), std::memory_order_relaxed);
  const bool last = (ring.closed.fetch_or(closed_by_sender) & closed_by_receiver) != 0;
  if (last) region_->give_ring_back(out.writer.index());
}

void ShmEndpoint::connect(EndpointAddress to, Channel channel) {
  if (name_) to = region_->address_now(to.value);
  static_cast<void>(outbound(to, channel));
}

// --- Receiving -----------------------------------------------------------------------------------

const Arrival* ShmEndpoint::poll() {
  if (last_ != nullptr) {
    last_->release(false);
    last_ = nullptr;
  }
  if (done_count_.load(std::memory_order_relaxed) != 0) [[unlikely]]
    return poll_reads();
  if (slot_->opened.load(std::memory_order_acquire) != 0) [[unlikely]]
    adopt_new_rings();
  const std::uint32_t count = inbound_count_.load(std::memory_order_relaxed);
  if (in_a_row_ == most_in_a_row) {
    ++turn_;
    in_a_row_ = 0;
  }
  for (std::uint32_t i = 0; i < count; ++i, ++turn_, in_a_row_ = 0) {
    if (turn_ >= count) turn_ = 0;
    RingReader* const reader = inbound_[turn_].load(std::memory_order_relaxed);
    if (reader == nullptr) continue;
    if (reader->read(arrival_)) return packet_of(*reader);
    reader->release(true);
  }
  return nullptr;
}

const Arrival* ShmEndpoint::packet_of(RingReader& reader) {
  ++in_a_row_;
  last_ = &reader;
  arrival_.kind = Arrival::Kind::packet;
  arrival_.channel = reader.channel();
  arrival_.from = EndpointAddress{name_ ? reader.sender_name() : reader.sender()};
  return &arrival_;
}

const Arrival* ShmEndpoint::poll_reads() {
  const DoneRead done = done_reads_.front();
  done_reads_.pop_front();
  done_count_.store(static_cast<std::uint32_t>(done_reads_.size()), std::memory_order_relaxed);
  arrival_ = Arrival{};
  arrival_.kind = done.succeeded ? Arrival::Kind::read_done : Arrival::Kind::read_failed;
  arrival_.channel = done.channel;
  arrival_.cookie = done.cookie;
  return &arrival_;
}

void ShmEndpoint::adopt_new_rings() {
  sweep_closed_rings();
  std::uint32_t opened = slot_->opened.exchange(0, std::memory_order_acq_rel);
  if (opened == closed_stack) {  // buried while alive: nothing will come any more
    slot_->opened.store(closed_stack);
    return;
  }
  std::vector<std::uint32_t> rings = opened_rings(opened);
  std::reverse(rings.begin(), rings.end());
  for (const std::uint32_t index : rings) {
    Ring& ring = region_->ring(index);
    readers_.push_back(std::make_unique<RingReader>(*region_, index, sleepers_fence_));
    RingReader* const reader = readers_.back().get();
    // Meant for who had this place before; or nonsense.
    if (ring.receiver != address_.value || ring.channel >= channel_count ||
        (name_ && reader->sender_name() >= region_->sizes().ranks)) {
      close_inbound(*reader);
      continue;
    }
    std::uint32_t place = 0;
    while (place < inbound_count_.load() && inbound_[place].load() != nullptr) ++place;
    if (place == inbound_.size() && region_->is_device()) {  // senders left without a word
      close_inbound(*reader);
      continue;
    }
    check(place < inbound_.size(), "an endpoint has one ring of each other one and channel");
    inbound_[place].store(reader, std::memory_order_release);
    if (place == inbound_count_.load()) inbound_count_.store(place + 1);
  }
}

void ShmEndpoint::sweep_closed_rings() {
  for (std::uint32_t i = 0; i < inbound_count_.load(); ++i) {
    RingReader* const reader = inbound_[i].load();
    if (reader == nullptr || reader->has_packet()) continue;
    const bool closed = (reader->ring().closed.load() & closed_by_sender) != 0;
    // A sender on another machine may have left without a word.
    if (!closed && !(region_->is_device() && !is_open(EndpointAddress{reader->sender()}))) continue;
    inbound_[i].store(nullptr);
    close_inbound(*reader);
  }
}

void ShmEndpoint::close_inbound(RingReader& reader) {
  if ((reader.ring().closed.fetch_or(closed_by_receiver) & closed_by_sender) != 0) {
    region_->give_ring_back(reader.index());
  }
}

void ShmEndpoint::disconnect(EndpointAddress to, Channel channel) {
  if (slot_->opened.load(std::memory_order_acquire) != 0) adopt_new_rings();
  for (std::uint32_t i = 0; i < inbound_count_.load(); ++i) {
    RingReader* const reader = inbound_[i].load();
    if (reader == nullptr || reader->channel() != channel ||
        (name_ ? reader->sender_name() : reader->sender()) != to.value) {
      continue;
    }
    reader->drop_all();
    if (reader != last_) reader->release(true);
  }
}

/// Asked by any task of the rank: reads only what is atomic.
bool ShmEndpoint::has_something() const {
  const std::uint32_t count = inbound_count_.load(std::memory_order_acquire);
  for (std::uint32_t i = 0; i < count; ++i) {
    const RingReader* const reader = inbound_[i].load(std::memory_order_acquire);
    if (reader != nullptr && reader->has_packet()) return true;
  }
  const std::uint32_t opened = slot_->opened.load(std::memory_order_acquire);
  if ((opened != 0 && opened != closed_stack) || done_count_.load(std::memory_order_relaxed) != 0) {
    return true;
  }
  if (starved_count_.load(std::memory_order_relaxed) == 0) return false;
  const std::lock_guard guard(starved_mutex_);
  return std::any_of(absent_.begin(), absent_.end(),
                     [this](std::uint32_t name) {
                       return region_->address_now(name) != Region::nowhere;
                     }) ||
         std::any_of(starved_.begin(), starved_.end(),
                     [this](const Outbound* out) { return has_room_again(*out); });
}

std::optional<Duration> ShmEndpoint::longest_sleep() const {
  if (region_->can_wake()) return std::nullopt;
  const bool live = inbound_count_.load(std::memory_order_relaxed) != 0 ||
                    starved_count_.load(std::memory_order_relaxed) != 0;
  return live ? longest_nap : longest_nap_alone;
}

bool ShmEndpoint::tells_of_room() {
  if (starved_count_.load(std::memory_order_relaxed) == 0) return false;
  const std::lock_guard guard(starved_mutex_);
  std::size_t told = std::erase_if(starved_, [this](Outbound* out) {
    if (!has_room_again(*out)) return false;
    out->starved = false;
    return true;
  });
  told += std::erase_if(absent_, [this](std::uint32_t name) {
    return region_->address_now(name) != Region::nowhere;
  });
  count_starved();
  return told != 0;
}

// --- Reading each other's memory -----------------------------------------------------------------

MemoryKey ShmEndpoint::expose(Channel, std::span<const ConstSlice> memory) {
  std::uint32_t index = 0;
  if (free_exposures_.empty()) {
    index = exposures_made_++;
    check(index < region_->sizes().exposures,
          "an endpoint exposes at most so many pieces of memory at a time as its region has room "
          "for");
  } else {
    index = free_exposures_.back();
    free_exposures_.pop_back();
  }
  Exposure& exposure = region_->exposure(slot_of(address_), index);
  exposure.pieces.store(static_cast<std::uint32_t>(memory.size()), std::memory_order_relaxed);
  if (memory.size() == 1) {
    exposure.address.store(reinterpret_cast<std::uintptr_t>(memory.front().data));
    exposure.size.store(memory.front().size, std::memory_order_relaxed);
  } else {
    auto* const copy = new ConstSlice[memory.size()];
    std::copy(memory.begin(), memory.end(), copy);
    exposure.address.store(reinterpret_cast<std::uintptr_t>(copy));
  }
  const std::uint64_t generation = exposure.generation.load(std::memory_order_relaxed) + 1;
  exposure.generation.store(generation);
  return {generation << exposure_bits | index};
}

void ShmEndpoint::withdraw(MemoryKey key) {
  const auto index = static_cast<std::uint32_t>(key.value & exposure_mask);
  Exposure& exposure = region_->exposure(slot_of(address_), index);
  const std::uint64_t generation = key.value >> exposure_bits;
  check(exposure.generation.load() == generation && (generation & 1U) != 0,
        "a key is withdrawn once, by who exposed the memory");
  exposure.generation.store(generation + 1);
  // Threads of this process copy without the kernel's protection: let them end. Other processes
  // look at the generation once more when they have read.
  while (exposure.readers.load() != 0) std::this_thread::yield();
  if (exposure.pieces.load(std::memory_order_relaxed) != 1) {
    delete[] reinterpret_cast<ConstSlice*>(exposure.address.load());
  }
  free_exposures_.push_back(index);
}

void ShmEndpoint::read(EndpointAddress from, Channel channel, MemoryKey key, std::size_t offset,
                       std::span<const Slice> into, std::uint64_t cookie) {
  done_reads_.push_back({read_exposed(from, key, offset, into), channel, cookie});
  done_count_.store(static_cast<std::uint32_t>(done_reads_.size()), std::memory_order_relaxed);
}

bool ShmEndpoint::read_exposed(EndpointAddress from, MemoryKey key, std::size_t offset,
                               std::span<const Slice> into) {
  if (name_) from = region_->address_now(from.value);
  if (!is_open(from) || key.value == 0 ||
      (key.value & exposure_mask) >= region_->sizes().exposures) {
    return false;
  }
  const std::int32_t process =
      region_->endpoint_slot(slot_of(from)).process.load(std::memory_order_relaxed);
  Exposure& exposure =
      region_->exposure(slot_of(from), static_cast<std::uint32_t>(key.value & exposure_mask));
  const auto still_exposed = [&] {
    std::atomic_thread_fence(std::memory_order_acquire);
    return exposure.generation.load() == key.value >> exposure_bits;
  };
  const auto describe = [&] {
    return ConstSlice{reinterpret_cast<const std::byte*>(exposure.address.load()),
                      exposure.size.load()};
  };
  if (process == getpid()) {
    exposure.readers.fetch_add(1);
    bool read = false;
    if (still_exposed()) {
      const std::uint32_t pieces = exposure.pieces.load();
      const ConstSlice one = describe();
      const auto* const many = reinterpret_cast<const ConstSlice*>(one.data);
      read = copy_memory(pieces == 1 ? std::span(&one, 1) : std::span(many, pieces), offset, into);
    }
    exposure.readers.fetch_sub(1);
    return read;
  }
  if (!still_exposed()) return false;
  const std::uint32_t pieces = exposure.pieces.load();
  const ConstSlice one = describe();
  if (!still_exposed()) return false;
  if (pieces == 1) return read_memory(process, {&one, 1}, offset, into) && still_exposed();
  std::vector<ConstSlice> many(pieces);
  const ConstSlice list{one.data, pieces * sizeof(ConstSlice)};
  const Slice list_into{reinterpret_cast<std::byte*>(many.data()), list.size};
  return read_memory(process, {&list, 1}, 0, {&list_into, 1}) && still_exposed() &&
         read_memory(process, many, offset, into) && still_exposed();
}

}  // namespace ferry::shm
