// A region of memory that the ranks of one job on one host share: anonymous (threads, and processes
// that are forked later) or with a name (processes that are started apart).
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/ports/fabric.hpp"
#include "core/ports/result.hpp"
#include "hw_backend/shm/layout.hpp"

namespace ferry::shm {

/// Fixed when a region is made. The region's pages become memory when they are first touched: a
/// pair of ranks that never talk costs nothing.
struct RegionSizes {
  std::uint32_t endpoints = 64;   ///< open at a time
  std::uint32_t ranks = 64;       ///< that announce their addresses
  std::uint32_t cells = 1024;     ///< of a ring: packets under way; a power of two
  Bytes data = Bytes::kibi(256);  ///< of a ring: larger bodies under way
  [[nodiscard]] bool operator==(const RegionSizes&) const = default;
};

class Region {
 public:
  /// Without a name: gone with the last process that has it. Throws WorldError if the system
  /// refuses.
  static std::shared_ptr<Region> make_anonymous(const RegionSizes& sizes);
  /// The region `name` of this host: made if there is none, or if none of the processes that had it
  /// is alive (they hold a lock on it, which the system drops when they die). The last one that
  /// leaves removes the name. Refuses a name with a slash, sizes that are not the region's, and
  /// files that are no regions.
  static Result<std::shared_ptr<Region>> join(const std::string& name, const RegionSizes& sizes);
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  [[nodiscard]] RegionHeader& header() const { return *header_; }
  [[nodiscard]] WaitSlot& wait_slot(std::uint32_t index) const { return wait_slots_[index]; }
  [[nodiscard]] EndpointSlot& endpoint_slot(std::uint32_t index) const {
    return endpoint_slots_[index];
  }
  [[nodiscard]] Exposure& exposure(std::uint32_t endpoint, std::uint32_t index) const;
  [[nodiscard]] Ring& ring(std::uint32_t index) const;
  [[nodiscard]] Cell* cells(Ring& ring) const { return reinterpret_cast<Cell*>(&ring + 1); }
  [[nodiscard]] std::byte* data(Ring& ring) const {
    return reinterpret_cast<std::byte*>(cells(ring) + header_->cells);
  }

  /// An unused ring, with its positions set; index. Throws WorldError if there is none: more
  /// pairs at a time than the region was made for.
  [[nodiscard]] std::uint32_t take_ring();
  void give_ring_back(std::uint32_t index);

  /// Says at which address `rank` can be reached; again after every change.
  void announce(std::uint32_t rank, EndpointAddress address);
  /// Address of `rank`; blocks until it has been announced. None after `patience`.
  [[nodiscard]] Result<EndpointAddress> address_of(std::uint32_t rank, Duration patience) const;

  /// Closes the endpoints that `process` has left open, for it: it is dead. Whoever waits for room
  /// towards them is woken, and what is sent there is lost.
  void bury(std::int32_t process);

  /// The job is over for all ranks, for a reason that somebody who reads it understands. The first
  /// one counts. From any thread and process; never blocks.
  void condemn(std::string_view why);
  /// Why; none: it is not over. Of an overlong reason the beginning.
  [[nodiscard]] std::optional<std::string> verdict() const;
  /// Blocks until there is a verdict; false: `stopped`, after `wake_listeners`.
  [[nodiscard]] bool await_verdict(const std::atomic<bool>& stopped) const;
  void wake_listeners();

  /// Removes the name, if it has one, at once: nobody else will join.
  void remove_name();

 private:
  Region(int file, std::string path, std::size_t size);
  static Result<std::shared_ptr<Region>> open_existing(const std::string& path,
                                                       const RegionSizes& sizes);
  void lay_out();

  int file_;
  std::string path_;  ///< empty: anonymous
  std::size_t size_;
  std::byte* memory_ = nullptr;
  RegionHeader* header_ = nullptr;
  std::atomic<std::uint32_t>* directory_ = nullptr;
  WaitSlot* wait_slots_ = nullptr;
  EndpointSlot* endpoint_slots_ = nullptr;
  Exposure* exposures_ = nullptr;
  std::byte* rings_ = nullptr;
  std::size_t ring_size_ = 0;
};

/// How many pieces of memory an endpoint can have exposed at a time.
inline constexpr std::uint32_t most_exposures = 1U << 16U;

/// Address of an endpoint: its slot in the low bits, how many were there before it in the others,
/// so that none is given twice.
inline constexpr std::uint32_t slot_bits = 12;
[[nodiscard]] constexpr std::uint32_t slot_of(EndpointAddress address) {
  return address.value & ((1U << slot_bits) - 1);
}

}  // namespace ferry::shm
