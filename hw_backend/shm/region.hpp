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
  std::uint32_t endpoints = 64;         ///< open at a time
  std::uint32_t ranks = 64;             ///< that announce their addresses
  std::uint32_t cells = 1024;           ///< of a ring: packets under way; a power of two
  Bytes data = Bytes::kibi(256);        ///< of a ring: larger bodies under way
  std::uint32_t exposures = 1U << 16U;  ///< pieces of memory that an endpoint has exposed at a time

  /// For the ranks of one job on one host, whose shared memory has a file system of `memory`. Few
  /// have rings of 1 MiB, more than a processor's second cache: a body that the receiver finds in
  /// the third one, which both share, comes quicker than one that is still in the sender's own
  /// (bench_shm: 30 to 36 GB/s beside 25 with 256 KiB). Many have smaller ones: those of all pairs
  /// take 256 MiB together or, if that is more, have 256 KiB each; and never over half of `memory`,
  /// as long as they have 16 KiB.
  [[nodiscard]] static RegionSizes of_job(std::uint32_t ranks_here, std::uint32_t ranks,
                                          Bytes memory);
  /// That a packet can have: a quarter of the data, so that sender and receiver overlap, and no
  /// more than 64 KiB, as larger ones were never quicker.
  [[nodiscard]] Bytes largest_body() const;
  /// What a ring takes of its data until that was full or a large body comes: a power of two, four
  /// bodies. A largest packet that does not fit before the end fits after it, words and all, as
  /// what is skipped is at most one body.
  [[nodiscard]] Bytes data_at_first() const;
  [[nodiscard]] bool operator==(const RegionSizes&) const = default;
};

/// Which memory of a device.
struct DevicePart {
  std::string file;         ///< its BAR in sysfs or, for tests, a file
  std::uint32_t index = 0;  ///< of `count` equal ones
  std::uint32_t count = 1;

  /// Of each part, of a device of `whole`: whole pages.
  [[nodiscard]] Bytes size_in(Bytes whole) const {
    return Bytes(whole.count() / count / 4096 * 4096);
  }
};
/// Of a file; nothing if there is none.
[[nodiscard]] Bytes size_of_device(const std::string& file);

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
  /// Of the file system that `join` makes regions in; what has no limit has the largest number,
  /// what cannot be asked nothing.
  [[nodiscard]] static Bytes memory_for_names();
  /// A part of the memory of a device that several machines share (IVShmem): of the ranks of one
  /// job on one host. What is found there of another job is of the past, since jobs that run at the
  /// same time have different parts; it is laid out anew, which takes as long as writing it once.
  /// Nobody can be woken through it. Refuses a part that is too small, and one that another version
  /// of Ferry or other sizes use for this very job; times out if who lays it out does not come to
  /// an end within `patience`.
  static Result<std::shared_ptr<Region>> map_device(const DevicePart& part, std::string_view job,
                                                    std::uint32_t ranks, Duration patience);
  /// The largest body that fits such a region of `size`; nothing: it would be refused.
  [[nodiscard]] static Bytes largest_body_on_device(Bytes size, std::uint32_t ranks);
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  [[nodiscard]] RegionHeader& header() const { return *header_; }
  /// As it was made or mapped; what memory says later changes nothing.
  [[nodiscard]] const RegionSizes& sizes() const { return sizes_; }
  [[nodiscard]] std::uint64_t most_rings() const { return most_rings_; }
  /// Whether futexes in it wake those who wait: not those of other machines.
  [[nodiscard]] bool can_wake() const { return can_wake_; }
  [[nodiscard]] bool is_device() const { return is_device_; }
  /// `index` is of shared memory: the first one stands for what is out of range.
  [[nodiscard]] WaitSlot& wait_slot(std::uint32_t index) const {
    return wait_slots_[index < sizes_.endpoints ? index : 0];
  }
  [[nodiscard]] EndpointSlot& endpoint_slot(std::uint32_t index) const {
    return endpoint_slots_[index];
  }
  [[nodiscard]] Exposure& exposure(std::uint32_t endpoint, std::uint32_t index) const;
  [[nodiscard]] Ring& ring(std::uint32_t index) const;
  [[nodiscard]] Cell* cells(Ring& ring) const { return reinterpret_cast<Cell*>(&ring + 1); }
  [[nodiscard]] std::byte* data(Ring& ring) const {
    return reinterpret_cast<std::byte*>(cells(ring) + sizes_.cells);
  }

  /// An unused ring, with its positions set; index. Throws WorldError if there is none: more
  /// pairs at a time than the region was made for.
  [[nodiscard]] std::uint32_t take_ring();
  void give_ring_back(std::uint32_t index);
  /// Ends those that lead from or to an endpoint whose machine left without a word: the other side
  /// gives them back when it sees that. Before its place is taken again.
  void abandon_rings_of(std::uint32_t address);

  /// Says at which address `rank` can be reached; again after every change. `nowhere`: not now, and
  /// packets for it wait; `gone`: never again. Wakes who waits for it.
  void announce(std::uint32_t rank, EndpointAddress address);
  /// Address of `rank`; blocks until it has been announced. None after `patience`.
  [[nodiscard]] Result<EndpointAddress> address_of(std::uint32_t rank, Duration patience) const;
  /// The same as it is now; `gone` also of a rank beyond those that the region was made for.
  [[nodiscard]] EndpointAddress address_now(std::uint32_t rank) const {
    return rank < sizes_.ranks ? EndpointAddress{directory_[rank].load(std::memory_order_acquire)}
                               : gone;
  }
  static constexpr EndpointAddress nowhere{0};
  static constexpr EndpointAddress gone{0xffff'ffff};

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
  /// Removes the names of this user's regions whose processes are all dead.
  static void remove_stale_names();

 private:
  Region(int file, std::string path, std::size_t size, const RegionSizes& sizes,
         std::size_t offset = 0);
  static Result<std::shared_ptr<Region>> open_existing(const std::string& path,
                                                       const RegionSizes& sizes);
  void lay_out();
  void ring_all();
  [[nodiscard]] Result<> claim(std::uint64_t owner, Duration patience);

  int file_;
  std::string path_;  ///< empty: anonymous
  std::size_t size_;
  RegionSizes sizes_;
  std::uint64_t most_rings_;
  bool can_wake_ = true;
  bool is_device_ = false;
  std::byte* memory_ = nullptr;
  RegionHeader* header_ = nullptr;
  std::atomic<std::uint32_t>* directory_ = nullptr;
  WaitSlot* wait_slots_ = nullptr;
  EndpointSlot* endpoint_slots_ = nullptr;
  Exposure* exposures_ = nullptr;
  std::byte* rings_ = nullptr;
  std::size_t ring_size_ = 0;
};

/// Address of an endpoint: its slot in the low bits, how many were there before it in the others,
/// so that none is given twice.
inline constexpr std::uint32_t slot_bits = 12;
[[nodiscard]] constexpr std::uint32_t slot_of(EndpointAddress address) {
  return address.value & ((1U << slot_bits) - 1);
}

}  // namespace ferry::shm
