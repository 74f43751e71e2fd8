// The two ends of a ring. One task at a time writes, one at a time reads; `has_packet` and
// `has_room` may be asked by other tasks of the same rank meanwhile, which are about to sleep.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "hw_backend/shm/doorbell.hpp"
#include "hw_backend/shm/region.hpp"

namespace ferry::shm {

/// How a packet lies in its ring. The first cell holds the mark, the header up to `size` and, if
/// nothing else, a body of 16 bytes: one cache line. Further cells hold the rest of the header
/// (where it is not zero) and bodies up to `largest_inline`; larger ones lie in the ring's data, in
/// one piece.
struct Mark {
  static constexpr std::size_t head = offsetof(PacketHeader, checksum);  ///< always carried
  static constexpr std::size_t rest = sizeof(PacketHeader) - head;
  static constexpr std::size_t cell_body = sizeof(Cell::bytes);
  static constexpr std::size_t first_body = cell_body - head;
  static constexpr std::size_t largest_inline = 4 * cell_body - rest;
  static constexpr std::size_t largest_size = (1U << 21U) - 1;

  static constexpr std::uint64_t positions = (1ULL << 40U) - 1;
  static constexpr std::uint64_t with_rest = 1;
  static constexpr std::uint64_t phantom = 2;
  static constexpr std::uint64_t kept = 4;  ///< reserved: always set

  static std::uint64_t make(std::uint64_t position, std::uint64_t flags, std::size_t size) {
    return ((position + 1) & positions) << 24U | size << 3U | kept | flags;
  }
  [[nodiscard]] static bool is_of(std::uint64_t mark, std::uint64_t position) {
    return mark >> 24U == ((position + 1) & positions);
  }
  [[nodiscard]] static std::size_t size_of(std::uint64_t mark) { return mark >> 3U & largest_size; }
};
static_assert(Mark::head == 40 && Mark::first_body == 16);

/// Shape of one packet.
struct PacketShape {
  PacketShape(bool with_rest_, bool phantom_, std::size_t size)
      : with_rest(with_rest_), carried(phantom_ ? 0 : size) {
    in_data = carried > Mark::largest_inline;
    in_first = !in_data && !with_rest && carried <= Mark::first_body;
    const std::size_t further =
        (with_rest ? Mark::rest : 0) + (in_data || in_first ? 0 : carried);
    cells = 1 + static_cast<std::uint32_t>((further + Mark::cell_body - 1) / Mark::cell_body);
  }
  bool with_rest;
  std::size_t carried;  ///< bytes of the body that are there
  bool in_data;
  bool in_first;
  std::uint32_t cells;
};

/// Positions within a ring's data: bodies start at cache lines and never wrap.
class DataCursor {
 public:
  explicit DataCursor(std::size_t capacity) : capacity_(capacity) {}
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
};

class RingWriter {
 public:
  RingWriter(Region& region, std::uint32_t index)
      : ring_(region.ring(index)),
        cells_(region.cells(ring_)),
        data_(region.data(ring_)),
        mask_(region.header().cells - 1),
        cursor_(region.header().data),
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
    const PacketShape shape((header.checksum | header.key | header.more) != 0, is_phantom, size);
    const std::uint64_t data_start =
        shape.in_data ? cursor_.start_of(data_tail_, shape.carried) : data_tail_;
    const std::uint64_t data_end =
        shape.in_data ? DataCursor::end_of(data_start, shape.carried) : data_tail_;
    if (!fits(shape.cells, data_end)) [[unlikely]] return false;

    Cell& first = cells_[tail_ & mask_];
    const auto* const header_bytes = reinterpret_cast<const std::byte*>(&header);
    std::memcpy(first.bytes, header_bytes, Mark::head);
    if (shape.in_data) {
      gather(data_ + cursor_.offset_of(data_start), body);
    } else if (shape.in_first && shape.carried != 0) {
      gather(first.bytes + Mark::head, body);
    }
    if (shape.cells > 1) write_further(shape, header_bytes + Mark::head, body);
    const std::uint64_t flags =
        (shape.with_rest ? Mark::with_rest : 0) | (is_phantom ? Mark::phantom : 0);
    first.mark.store(Mark::make(tail_, flags, size), std::memory_order_release);
    tail_ += shape.cells;
    data_tail_ = data_end;
    if (starved_) [[unlikely]] {
      starved_ = false;
      ring_.room_wanted.store(0, std::memory_order_relaxed);
    }
    return true;
  }

  /// Whether the receiver has made room since `write` found none.
  [[nodiscard]] bool has_room() const {
    return ring_.cells_freed.load(std::memory_order_acquire) != starved_at_.load(std::memory_order_relaxed);
  }
  /// Asks the receiver to ring when it has made room. Taken back by the next packet that fits: only
  /// the sender writes this word, or a wish could be lost between two of them.
  void want_room() {
    starved_ = true;
    starved_at_.store(cells_freed_, std::memory_order_relaxed);
    ring_.room_wanted.store(1, std::memory_order_relaxed);
  }
  [[nodiscard]] Ring& ring() const { return ring_; }
  [[nodiscard]] std::uint32_t index() const { return index_; }
  [[nodiscard]] std::uint64_t tail() const { return tail_; }

 private:
  bool fits(std::uint32_t cells, std::uint64_t data_end) {
    const auto fit = [&] {
      return tail_ + cells - cells_freed_ <= mask_ + 1 &&
             data_end - data_freed_ <= cursor_.capacity();
    };
    if (fit()) [[likely]] return true;
    // In this order: cells are freed after the data of the same packet.
    cells_freed_ = ring_.cells_freed.load(std::memory_order_acquire);
    data_freed_ = ring_.data_freed.load(std::memory_order_relaxed);
    return fit();
  }

  static void gather(std::byte* into, std::span<const ConstSlice> body) {
    for (const ConstSlice& piece : body) {
      if (piece.size == 0) continue;
      std::memcpy(into, piece.data, piece.size);
      into += piece.size;
    }
  }

  void write_further(const PacketShape& shape, const std::byte* rest,
                     std::span<const ConstSlice> body) {
    std::array<std::byte, Mark::rest + Mark::largest_inline> flat;
    std::size_t size = 0;
    if (shape.with_rest) {
      std::memcpy(flat.data(), rest, Mark::rest);
      size = Mark::rest;
    }
    if (!shape.in_data && !shape.in_first) {
      if (shape.carried != 0) gather(flat.data() + size, body);
      size += shape.carried;
    }
    const std::byte* from = flat.data();
    for (std::uint64_t at = tail_ + 1; size != 0; ++at) {
      const std::size_t part = std::min(size, Mark::cell_body);
      std::memcpy(cells_[at & mask_].bytes, from, part);
      from += part;
      size -= part;
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
  bool starved_ = false;
  std::atomic<std::uint64_t> starved_at_{0};  ///< what was freed when no room was left
};

class RingReader {
 public:
  RingReader(Region& region, std::uint32_t index, bool sleepers_fence)
      : region_(region),
        ring_(region.ring(index)),
        cells_(region.cells(ring_)),
        data_(region.data(ring_)),
        mask_(region.header().cells - 1),
        cursor_(region.header().data),
        index_(index),
        sleepers_fence_(sleepers_fence),
        head_(ring_.start),
        freed_(ring_.start) {}

  [[nodiscard]] bool has_packet() const {
    const std::uint64_t head = head_.load(std::memory_order_relaxed);
    return Mark::is_of(cells_[head & mask_].mark.load(std::memory_order_acquire), head);
  }

  /// The next packet, whose place stays taken until `release`; false if there is none.
  bool read(Arrival& arrival) {
    const std::uint64_t head = head_.load(std::memory_order_relaxed);
    const Cell& first = cells_[head & mask_];
    const std::uint64_t mark = first.mark.load(std::memory_order_acquire);
    if (!Mark::is_of(mark, head)) return false;
    const std::size_t size = Mark::size_of(mark);
    const PacketShape shape((mark & Mark::with_rest) != 0, (mark & Mark::phantom) != 0, size);
    auto* const header_bytes = reinterpret_cast<std::byte*>(&arrival.header);
    std::memcpy(header_bytes, first.bytes, Mark::head);
    std::memset(header_bytes + Mark::head, 0, Mark::rest);
    const std::byte* body = nullptr;
    if (shape.in_data) {
      const std::uint64_t start = cursor_.start_of(data_head_, shape.carried);
      body = data_ + cursor_.offset_of(start);
      data_head_ = DataCursor::end_of(start, shape.carried);
    } else if (shape.in_first) {
      body = first.bytes + Mark::head;
    }
    if (shape.cells > 1) {
      flatten(head, shape.cells);
      const std::byte* from = flat_.data();
      if (shape.with_rest) {
        std::memcpy(header_bytes + Mark::head, from, Mark::rest);
        from += Mark::rest;
      }
      if (!shape.in_data && !shape.in_first) body = from;
    }
    arrival.body = {body, shape.carried};
    arrival.body_size = size;
    head_.store(head + shape.cells, std::memory_order_relaxed);
    return true;
  }

  /// Gives back what was read. The sender is told when that is a share of the ring, or `now`.
  void release(bool now) {
    const std::uint64_t head = head_.load(std::memory_order_relaxed);
    if (head == freed_) return;
    if (!now && head - freed_ < (mask_ + 1) / 4 &&
        data_head_ - data_freed_ < cursor_.capacity() / 4) {
      return;
    }
    freed_ = head;
    data_freed_ = data_head_;
    ring_.data_freed.store(data_head_, std::memory_order_relaxed);
    ring_.cells_freed.store(head, std::memory_order_release);
    light_fence(sleepers_fence_);  // the sender that wants room says so, then looks, likewise
    if (ring_.room_wanted.load(std::memory_order_relaxed) != 0) [[unlikely]] {
      ring_if_asleep(region_.wait_slot(ring_.sender_wait_slot), sleepers_fence_);
    }
  }

  /// Skips what is there now; what the last `read` gave stays valid until `release`.
  void drop_all() {
    for (;;) {
      const std::uint64_t head = head_.load(std::memory_order_relaxed);
      const std::uint64_t mark = cells_[head & mask_].mark.load(std::memory_order_acquire);
      if (!Mark::is_of(mark, head)) return;
      const PacketShape shape((mark & Mark::with_rest) != 0, (mark & Mark::phantom) != 0,
                              Mark::size_of(mark));
      if (shape.in_data) {
        data_head_ =
            DataCursor::end_of(cursor_.start_of(data_head_, shape.carried), shape.carried);
      }
      head_.store(head + shape.cells, std::memory_order_relaxed);
    }
  }

  [[nodiscard]] Ring& ring() const { return ring_; }
  [[nodiscard]] std::uint32_t index() const { return index_; }

 private:
  void flatten(std::uint64_t head, std::uint32_t cells) {
    std::byte* into = flat_.data();
    for (std::uint64_t at = head + 1; at < head + cells; ++at, into += Mark::cell_body) {
      std::memcpy(into, cells_[at & mask_].bytes, Mark::cell_body);
    }
  }

  Region& region_;
  Ring& ring_;
  Cell* cells_;
  std::byte* data_;
  std::uint64_t mask_;
  DataCursor cursor_;
  std::uint32_t index_;
  bool sleepers_fence_;
  std::atomic<std::uint64_t> head_;  ///< written by the reading task, read by those about to sleep
  std::uint64_t data_head_ = 0;
  std::uint64_t freed_;  ///< as the sender knows
  std::uint64_t data_freed_ = 0;
  std::array<std::byte, 4 * Mark::cell_body> flat_;
};

}  // namespace ferry::shm
