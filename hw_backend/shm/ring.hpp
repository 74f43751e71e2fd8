// The two ends of a ring. One task at a time writes, one at a time reads; `has_packet` and
// `has_room` may be asked by other tasks of the same rank meanwhile, which are about to sleep.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>

#include "hw_backend/shm/doorbell.hpp"
#include "hw_backend/shm/region.hpp"

namespace ferry::shm {

/// How a packet lies in its ring. Its cell, one cache line, holds the mark, the header up to `size`
/// and two words for what else there is: those of checksum, key and more that are not zero, then
/// the body, if it fits. Larger bodies lie in the ring's data in one piece, and the third word, if
/// there is one, after them. (Bodies in further cells were slower than that: processors fetch lines
/// in pairs, and the receiver that looks at one takes the next one away.)
struct Mark {
  static constexpr std::size_t head = offsetof(PacketHeader, checksum);  ///< always carried
  static constexpr std::size_t spare = sizeof(Cell::bytes) - head;
  static constexpr std::size_t word = sizeof(std::uint64_t);
  static constexpr std::size_t largest_size = (1U << 20U);

  static constexpr std::uint64_t positions = (1ULL << 38U) - 1;
  static constexpr std::uint64_t with_checksum = 1;
  static constexpr std::uint64_t with_key = 2;
  static constexpr std::uint64_t with_more = 4;
  static constexpr std::uint64_t words = with_checksum | with_key | with_more;
  static constexpr std::uint64_t phantom = 8;
  static constexpr std::uint64_t grown = 16;  ///< the data take twice as much of the ring from here

  static std::uint64_t make(std::uint64_t position, std::uint64_t flags, std::size_t size) {
    return ((position + 1) & positions) << 26U | size << 5U | flags;
  }
  [[nodiscard]] static bool is_of(std::uint64_t mark, std::uint64_t position) {
    return mark >> 26U == ((position + 1) & positions);
  }
  [[nodiscard]] static std::size_t size_of(std::uint64_t mark) {
    return mark >> 5U & ((1U << 21U) - 1);
  }
};
static_assert(Mark::head == 40 && Mark::spare == 2 * Mark::word);

/// Shape of one packet.
struct PacketShape {
  PacketShape(std::uint64_t flags, std::size_t size) : carried(flags & Mark::phantom ? 0 : size) {
    const std::size_t words = (flags & 1U) + (flags >> 1U & 1U) + (flags >> 2U & 1U);
    const std::size_t in_cell = std::min(words * Mark::word, Mark::spare);
    body_in_cell = carried <= Mark::spare - in_cell;
    body_at = Mark::head + in_cell;
    word_at = body_in_cell ? 0 : (carried + 7) / 8 * 8;
    data = word_at + (words * Mark::word - in_cell);
  }
  std::size_t carried;  ///< bytes of the body that are there
  std::size_t body_at;  ///< within the cell's bytes
  std::size_t word_at;  ///< of the third word, within the packet's data
  std::size_t data;     ///< bytes that it takes of the ring's data
  bool body_in_cell;
};

/// Positions within a ring's data: bodies start at cache lines and never wrap. They use a part of
/// the data, from its beginning, that doubles when it is full or a large body comes: a ring of
/// small ones whose receiver keeps up stays in few pages and in the caches.
class DataCursor {
 public:
  /// Two pages: what these cost at the first touch is little beside the copy.
  static constexpr std::size_t large = 8192;

  explicit DataCursor(const RegionSizes& sizes)
      : capacity_(sizes.data_at_first().count()), most_(sizes.data.count()) {}
  /// Whether the part can double before a body that starts at `position`: where that is the first
  /// of the new half. What is unread lies in the old one; all of it is freed before a position
  /// leads to its place again.
  [[nodiscard]] bool can_grow_at(std::uint64_t position) const {
    return capacity_ < most_ && (position & (2 * capacity_ - 1)) == capacity_;
  }
  void grow() { capacity_ *= 2; }
  /// Where a body of `size` starts if the ones before it end at `position`.
  [[nodiscard]] std::uint64_t start_of(std::uint64_t position, std::size_t size) const {
    const std::size_t offset = position & (capacity_ - 1);
    return offset + size <= capacity_ ? position : position + (capacity_ - offset);
  }
  [[nodiscard]] static std::uint64_t end_of(std::uint64_t start, std::size_t size) {
    return start + (size + cache_line - 1) / cache_line * cache_line;
  }
  [[nodiscard]] std::size_t offset_of(std::uint64_t position) const {
    return position & (capacity_ - 1);
  }
  [[nodiscard]] std::size_t capacity() const { return capacity_; }

 private:
  std::size_t capacity_;
  std::size_t most_;
};

class RingWriter {
 public:
  RingWriter(Region& region, std::uint32_t index)
      : ring_(region.ring(index)),
        cells_(region.cells(ring_)),
        data_(region.data(ring_)),
        mask_(region.sizes().cells - 1),
        cursor_(region.sizes()),
        index_(index),
        tail_(ring_.start),
        cells_freed_(ring_.start) {}

  /// False: no room now.
  bool write(const PacketHeader& header, std::span<const ConstSlice> body) {
    std::size_t size = 0;
    bool is_phantom = false;
    for (const ConstSlice& piece : body) {
      size += piece.size;
      is_phantom = is_phantom || (piece.data == nullptr && piece.size != 0);
    }
    std::uint64_t flags =
        (header.checksum != 0 ? Mark::with_checksum : 0) | (header.key != 0 ? Mark::with_key : 0) |
        (header.more != 0 ? Mark::with_more : 0) | (is_phantom ? Mark::phantom : 0);
    const PacketShape shape(flags, size);
    const std::uint64_t data_start = cursor_.start_of(data_tail_, shape.data);
    const std::uint64_t data_end = DataCursor::end_of(data_start, shape.data);
    const bool is_large = shape.data >= DataCursor::large;
    bool grows = (is_large || data_were_full_) && cursor_.can_grow_at(data_start);
    if (!fits(data_end)) [[unlikely]] {
      if (!has_cell()) return false;
      data_were_full_ = true;
      grows = fits_when_grown(data_start, data_end);
      if (!grows) return false;
    }
    if (grows) [[unlikely]] {
      cursor_.grow();
      data_were_full_ = false;
      flags |= Mark::grown;
    }

    // The cell last: a receiver that spins on it would take its line away in between.
    std::byte* const data = data_ + cursor_.offset_of(data_start);
    if (!shape.body_in_cell) gather(data, body);
    Cell& cell = cells_[tail_ & mask_];
    std::byte* word = cell.bytes + Mark::head;
    const auto put = [&](std::uint64_t value) {
      if (value == 0) return;
      if (word == cell.bytes + sizeof cell.bytes) word = data + shape.word_at;
      std::memcpy(word, &value, Mark::word);
      word += Mark::word;
    };
    put(header.checksum);
    put(header.key);
    put(header.more);
    std::memcpy(cell.bytes, &header, Mark::head);
    if (shape.body_in_cell && shape.carried != 0) gather(cell.bytes + shape.body_at, body);
    cell.mark.store(Mark::make(tail_, flags, size), std::memory_order_release);
    ++tail_;
    data_tail_ = data_end;
    if (starved_) [[unlikely]] {
      starved_ = false;
      ring_.room_wanted.store(0, std::memory_order_relaxed);
    }
    return true;
  }

  /// Whether the receiver has made room since `write` found none.
  [[nodiscard]] bool has_room() const {
    return ring_.cells_freed.load(std::memory_order_acquire) +
               ring_.data_freed.load(std::memory_order_relaxed) !=
           starved_at_.load(std::memory_order_relaxed);
  }
  /// Asks the receiver to ring when it has made room. Taken back by the next packet that fits: only
  /// the sender writes this word, or a wish could be lost between two of them.
  void want_room() {
    starved_ = true;
    starved_at_.store(cells_freed_ + data_freed_, std::memory_order_relaxed);
    ring_.room_wanted.store(1, std::memory_order_relaxed);
  }
  [[nodiscard]] Ring& ring() const { return ring_; }
  [[nodiscard]] std::uint32_t index() const { return index_; }
  [[nodiscard]] std::uint64_t tail() const { return tail_; }

 private:
  /// One cell stays free: the last packet that was read keeps its own until the next one is.
  [[nodiscard]] bool has_cell() const { return tail_ - cells_freed_ < mask_; }

  bool fits(std::uint64_t data_end) {
    const auto fit = [&] { return has_cell() && data_end - data_freed_ <= cursor_.capacity(); };
    if (fit()) [[likely]]
      return true;
    // Each by itself: the data may be those of a later release than the cells.
    cells_freed_ = ring_.cells_freed.load(std::memory_order_acquire);
    data_freed_ = ring_.data_freed.load(std::memory_order_acquire);
    return fit();
  }

  /// Where there is a cell, and the data are full.
  [[nodiscard]] bool fits_when_grown(std::uint64_t data_start, std::uint64_t data_end) const {
    return cursor_.can_grow_at(data_start) && data_end - data_start <= cursor_.capacity() &&
           data_end - data_freed_ <= 2 * cursor_.capacity();
  }

  static void gather(std::byte* into, std::span<const ConstSlice> body) {
    for (const ConstSlice& piece : body) {
      if (piece.size == 0) continue;
      std::memcpy(into, piece.data, piece.size);
      into += piece.size;
    }
  }

  Ring& ring_;
  Cell* cells_;
  std::byte* data_;
  std::uint64_t mask_;
  DataCursor cursor_;
  std::uint32_t index_;
  std::uint64_t tail_;
  std::uint64_t data_tail_ = 0;
  std::uint64_t cells_freed_;  ///< as last seen
  std::uint64_t data_freed_ = 0;
  bool data_were_full_ = false;  ///< since they grew last
  bool starved_ = false;
  std::atomic<std::uint64_t> starved_at_{0};  ///< sum of what was freed when there was no room
};

class RingReader {
 public:
  RingReader(Region& region, std::uint32_t index, bool sleepers_fence)
      : region_(region),
        ring_(region.ring(index)),
        cells_(region.cells(ring_)),
        data_(region.data(ring_)),
        mask_(region.sizes().cells - 1),
        cursor_(region.sizes()),
        index_(index),
        sender_(ring_.sender),
        sender_name_(ring_.sender_name),
        channel_(static_cast<Channel>(ring_.channel)),
        sleepers_fence_(sleepers_fence),
        head_(ring_.start),
        freed_(ring_.start) {}

  /// Never of a broken one.
  [[nodiscard]] bool has_packet() const {
    if (broken_.load(std::memory_order_relaxed)) [[unlikely]]
      return false;
    const std::uint64_t head = head_.load(std::memory_order_relaxed);
    return Mark::is_of(cells_[head & mask_].mark.load(std::memory_order_acquire), head);
  }

  /// The next packet, whose place stays taken until `release`; false if there is none.
  bool read(Arrival& arrival) {
    const std::uint64_t head = head_.load(std::memory_order_relaxed);
    const Cell& cell = cells_[head & mask_];
    const std::uint64_t mark = cell.mark.load(std::memory_order_acquire);
    if (!Mark::is_of(mark, head)) return false;
    const std::size_t size = Mark::size_of(mark);
    const PacketShape shape(mark, size);
    const std::uint64_t data_start = cursor_.start_of(data_head_, shape.data);
    if (!is_sound(mark, shape, data_start)) [[unlikely]]
      return false;
    const std::byte* const data = data_ + cursor_.offset_of(data_start);
    std::memcpy(reinterpret_cast<std::byte*>(&arrival.header), cell.bytes, Mark::head);
    const std::byte* word = cell.bytes + Mark::head;
    const auto get = [&](std::uint64_t& value, std::uint64_t flag) {
      value = 0;
      if ((mark & flag) == 0) return;
      if (word == cell.bytes + sizeof cell.bytes) word = data + shape.word_at;
      std::memcpy(&value, word, Mark::word);
      word += Mark::word;
    };
    get(arrival.header.checksum, Mark::with_checksum);
    get(arrival.header.key, Mark::with_key);
    get(arrival.header.more, Mark::with_more);
    const std::byte* const body = shape.body_in_cell ? cell.bytes + shape.body_at : data;
    arrival.body = {shape.carried == 0 ? nullptr : body, shape.carried};
    arrival.body_size = size;
    data_head_ = DataCursor::end_of(data_start, shape.data);
    head_.store(head + 1, std::memory_order_relaxed);
    // Its cell is spare, its data are not.
    if (ring_.room_wanted.load(std::memory_order_relaxed) != 0) [[unlikely]] {
      publish(head + 1, data_start);
    }
    return true;
  }

  /// Gives back what was read. The sender is told when that is a share of the ring, or `now`.
  void release(bool now) {
    const std::uint64_t head = head_.load(std::memory_order_relaxed);
    if (head == freed_ && data_head_ == data_freed_) return;
    if (!now && head - freed_ < (mask_ + 1) / 4 &&
        data_head_ - data_freed_ < cursor_.capacity() / 4) {
      return;
    }
    publish(head, data_head_);
  }

  /// Its sender wrote what no sender writes: of it nothing is read any more.
  [[nodiscard]] bool is_broken() const { return broken_.load(std::memory_order_relaxed); }
  /// Skips what is there now; what the last `read` gave stays valid until `release`.
  void drop_all() {
    for (;;) {
      const std::uint64_t head = head_.load(std::memory_order_relaxed);
      const std::uint64_t mark = cells_[head & mask_].mark.load(std::memory_order_acquire);
      if (!Mark::is_of(mark, head)) return;
      const PacketShape shape(mark, Mark::size_of(mark));
      const std::uint64_t data_start = cursor_.start_of(data_head_, shape.data);
      if (!is_sound(mark, shape, data_start)) return;
      data_head_ = DataCursor::end_of(data_start, shape.data);
      head_.store(head + 1, std::memory_order_relaxed);
    }
  }

  [[nodiscard]] Ring& ring() const { return ring_; }
  [[nodiscard]] std::uint32_t index() const { return index_; }
  // What the ring said of itself when it was opened.
  [[nodiscard]] std::uint32_t sender() const { return sender_; }
  [[nodiscard]] std::uint32_t sender_name() const { return sender_name_; }
  [[nodiscard]] Channel channel() const { return channel_; }

 private:
  /// Follows the sender where the part of the data that it uses grew.
  bool is_sound(std::uint64_t mark, const PacketShape& shape, std::uint64_t data_start) {
    const bool grown = (mark & Mark::grown) != 0;
    if (broken_.load(std::memory_order_relaxed) || shape.data > cursor_.capacity() ||
        (grown && !cursor_.can_grow_at(data_start))) [[unlikely]] {
      broken_ = true;
      return false;
    }
    if (grown) [[unlikely]]
      cursor_.grow();
    return true;
  }

  void publish(std::uint64_t cells, std::uint64_t data) {
    freed_ = cells;
    data_freed_ = data;
    ring_.data_freed.store(data, std::memory_order_release);
    ring_.cells_freed.store(cells, std::memory_order_release);
    if (!region_.can_wake()) return;
    light_fence(sleepers_fence_);  // the sender that wants room says so, then looks, likewise
    if (ring_.room_wanted.load(std::memory_order_relaxed) != 0) [[unlikely]] {
      ring_if_asleep(region_.wait_slot(ring_.sender_wait_slot), sleepers_fence_);
    }
  }

  Region& region_;
  Ring& ring_;
  Cell* cells_;
  std::byte* data_;
  std::uint64_t mask_;
  DataCursor cursor_;
  std::uint32_t index_;
  std::uint32_t sender_;
  std::uint32_t sender_name_;
  Channel channel_;
  bool sleepers_fence_;
  std::atomic<std::uint64_t> head_;  ///< written by the reading task, read by those about to sleep
  std::uint64_t data_head_ = 0;
  std::uint64_t freed_;  ///< as the sender knows
  std::uint64_t data_freed_ = 0;
  std::atomic<bool> broken_{false};
};

}  // namespace ferry::shm
