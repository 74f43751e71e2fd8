#include "hw_backend/shm/region.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "core/ports/world_error.hpp"
#include "core/units/check.hpp"
#include "hw_backend/shm/doorbell.hpp"

namespace ferry::shm {
namespace {

/// "Ferry", and the version of what is in layout.hpp.
constexpr std::uint64_t magic = 0x4665'7272'7900'0002;
constexpr const char* folder = "/dev/shm";
/// Tries to join a region that others remove at the same moment.
constexpr int most_tries = 100;

std::string system_says() { return std::strerror(errno); }

constexpr std::size_t rounded_up(std::size_t size, std::size_t to) {
  return (size + to - 1) / to * to;
}

/// Byte offsets of the parts.
struct Places {
  explicit Places(const RegionSizes& sizes) {
    const std::size_t endpoints = sizes.endpoints;
    directory = sizeof(RegionHeader);
    wait_slots = rounded_up(directory + sizes.ranks * sizeof(std::uint32_t), cache_line);
    endpoint_slots = wait_slots + endpoints * sizeof(WaitSlot);
    exposures = endpoint_slots + endpoints * sizeof(EndpointSlot);
    rings = rounded_up(exposures + endpoints * most_exposures * sizeof(Exposure), 4096);
    ring = sizeof(Ring) + sizes.cells * sizeof(Cell) + sizes.data.count();
    most_rings = 2 * endpoints * endpoints;  // each pair, two ways, by memory and by reading
    size = rings + most_rings * ring;
  }
  std::size_t directory, wait_slots, endpoint_slots, exposures, rings, ring, most_rings, size;
};

void check_sizes(const RegionSizes& sizes) {
  check(std::has_single_bit(sizes.cells) && sizes.cells >= 8,
        "cells are a power of two, 8 or more");
  check(std::has_single_bit(sizes.data.count()) && sizes.data >= Bytes::kibi(4),
        "a ring's data are a power of two, 4 KiB or more");
  check(sizes.endpoints >= 1 && sizes.endpoints <= 1U << slot_bits,
        "a region has 1 to 4096 endpoints");
}

RegionSizes sizes_of(const RegionHeader& header) {
  return {.endpoints = header.endpoints,
          .ranks = header.ranks,
          .cells = header.cells,
          .data = Bytes(header.data)};
}

class File {
 public:
  explicit File(int number) : number_(number) {}
  ~File() {
    if (number_ >= 0) close(number_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] int number() const { return number_; }
  [[nodiscard]] int release() { return std::exchange(number_, -1); }

 private:
  int number_;
};

/// Whether `path` still leads to what `file` is.
bool is_named(int file, const std::string& path) {
  struct stat opened {};
  struct stat named {};
  return fstat(file, &opened) == 0 && stat(path.c_str(), &named) == 0 &&
         opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

/// Removes the name if no living process has the region. The lock is of the file, not of the name:
/// nobody else removes this one, and a newer file under the name is left alone.
void remove_if_unused(int file, const std::string& path) {
  if (flock(file, LOCK_EX | LOCK_NB) == 0 && is_named(file, path)) unlink(path.c_str());
}

}  // namespace

Region::Region(int file, std::string path, std::size_t size)
    : file_(file), path_(std::move(path)), size_(size) {
  void* const memory =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
  if (memory == MAP_FAILED) {
    const std::string why = system_says();
    close(file_);
    throw WorldError("the shared memory of a job cannot be mapped: " + why);
  }
  memory_ = static_cast<std::byte*>(memory);
  header_ = reinterpret_cast<RegionHeader*>(memory_);
}

Region::~Region() {
  munmap(memory_, size_);
  if (!path_.empty()) remove_if_unused(file_, path_);
  close(file_);
}

void Region::lay_out() {
  const Places places(sizes_of(*header_));
  directory_ = reinterpret_cast<std::atomic<std::uint32_t>*>(memory_ + places.directory);
  wait_slots_ = reinterpret_cast<WaitSlot*>(memory_ + places.wait_slots);
  endpoint_slots_ = reinterpret_cast<EndpointSlot*>(memory_ + places.endpoint_slots);
  exposures_ = reinterpret_cast<Exposure*>(memory_ + places.exposures);
  rings_ = memory_ + places.rings;
  ring_size_ = places.ring;
}

namespace {

void fill_in(RegionHeader& header, const RegionSizes& sizes, const Places& places) {
  header.endpoints = sizes.endpoints;
  header.ranks = sizes.ranks;
  header.cells = sizes.cells;
  header.data = static_cast<std::uint32_t>(sizes.data.count());
  header.size = places.size;
  header.rings = places.most_rings;
  header.magic = magic;
}

}  // namespace

std::shared_ptr<Region> Region::make_anonymous(const RegionSizes& sizes) {
  check_sizes(sizes);
  const Places places(sizes);
  File file(memfd_create("ferry", MFD_CLOEXEC));
  if (file.number() < 0 || ftruncate(file.number(), static_cast<off_t>(places.size)) != 0) {
    throw WorldError("no shared memory can be made for a job: " + system_says());
  }
  std::shared_ptr<Region> region(new Region(file.release(), "", places.size));
  fill_in(*region->header_, sizes, places);
  region->lay_out();
  return region;
}

Result<std::shared_ptr<Region>> Region::open_existing(const std::string& path,
                                                      const RegionSizes& sizes) {
  File file(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (file.number() < 0) {
    if (errno == ENOENT) return nullptr;
    return failure(FailureKind::refused,
                   fmt::format("{} cannot be opened: {}", path, system_says()));
  }
  remove_if_unused(file.number(), path);
  // While another process looks whether it is unused, a shared lock is refused for that moment.
  if (flock(file.number(), LOCK_SH) != 0 || !is_named(file.number(), path)) return nullptr;
  struct stat facts {};
  RegionHeader header{};
  if (fstat(file.number(), &facts) != 0 ||
      pread(file.number(), static_cast<void*>(&header), 64, 0) != 64 || header.magic != magic ||
      header.size != static_cast<std::uint64_t>(facts.st_size)) {
    return failure(
        FailureKind::refused,
        path + " is not a region of this version of Ferry; remove it or take another name");
  }
  if (sizes_of(header) != sizes) {
    return failure(
        FailureKind::refused,
        fmt::format(
            "{} was made for {} endpoints, {} ranks, {} cells and {} bytes of data, not for "
            "{}, {}, {} and {}: all ranks of a job must ask for the same",
            path, header.endpoints, header.ranks, header.cells, header.data, sizes.endpoints,
            sizes.ranks, sizes.cells, sizes.data.count()));
  }
  std::shared_ptr<Region> region(new Region(file.release(), path, header.size));
  region->lay_out();
  return region;
}

Result<std::shared_ptr<Region>> Region::join(const std::string& name, const RegionSizes& sizes) {
  check_sizes(sizes);
  if (name.empty() || name.find('/') != std::string::npos) {
    return failure(
        FailureKind::refused,
        fmt::format("'{}' is no name for a region: it may not be empty or have a slash", name));
  }
  const std::string path = fmt::format("{}/ferry-{}-{}", folder, geteuid(), name);
  const Places places(sizes);
  for (int tries = 0; tries < most_tries; ++tries) {
    Result<std::shared_ptr<Region>> existing = open_existing(path, sizes);
    if (!existing || *existing != nullptr) return existing;
    // Made complete and locked before it gets its name: nobody ever sees half a region.
    File file(open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (file.number() < 0 || flock(file.number(), LOCK_SH) != 0 ||
        ftruncate(file.number(), static_cast<off_t>(places.size)) != 0) {
      return failure(FailureKind::refused,
                     fmt::format("no shared memory can be made in {}: {}", folder, system_says()));
    }
    RegionHeader header{};
    fill_in(header, sizes, places);
    if (pwrite(file.number(), static_cast<const void*>(&header), 64, 0) != 64) {
      return failure(FailureKind::refused,
                     fmt::format("no shared memory can be made in {}: {}", folder, system_says()));
    }
    const std::string nameless = fmt::format("/proc/self/fd/{}", file.number());
    if (linkat(AT_FDCWD, nameless.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) == 0) {
      std::shared_ptr<Region> region(new Region(file.release(), path, places.size));
      region->lay_out();
      return region;
    }
    if (errno != EEXIST) {
      return failure(FailureKind::refused,
                     fmt::format("{} cannot be made: {}", path, system_says()));
    }
  }
  return failure(FailureKind::failed, path + " is made and removed all the time by others");
}

void Region::remove_name() {
  if (!path_.empty() && is_named(file_, path_)) unlink(path_.c_str());
}

Exposure& Region::exposure(std::uint32_t endpoint, std::uint32_t index) const {
  return exposures_[static_cast<std::size_t>(endpoint) * most_exposures + index];
}

Ring& Region::ring(std::uint32_t index) const {
  return *reinterpret_cast<Ring*>(rings_ + index * ring_size_);
}

std::uint32_t Region::take_ring() {
  std::uint64_t top = header_->rings_free.load(std::memory_order_acquire);
  while ((top & 0xffff'ffffU) != 0) {
    const auto index = static_cast<std::uint32_t>(top) - 1;
    // What `next` says may be stale by now; then the count of changes differs, and it is not used.
    const std::uint64_t next = ((top >> 32U) + 1) << 32U |
                               std::atomic_ref(ring(index).next).load(std::memory_order_relaxed);
    if (header_->rings_free.compare_exchange_weak(top, next, std::memory_order_acq_rel)) {
      Ring& reused = ring(index);
      reused.start = reused.end.load(std::memory_order_relaxed);
      reused.closed.store(0, std::memory_order_relaxed);
      reused.room_wanted.store(0, std::memory_order_relaxed);
      reused.cells_freed.store(reused.start, std::memory_order_relaxed);
      reused.data_freed.store(0, std::memory_order_relaxed);
      return index;
    }
  }
  const std::uint64_t fresh = header_->rings_made.fetch_add(1, std::memory_order_relaxed);
  if (fresh >= header_->rings) {
    throw WorldError(
        fmt::format("more than {} pairs of ranks talk by the shared memory of this job", fresh));
  }
  return static_cast<std::uint32_t>(fresh);
}

void Region::give_ring_back(std::uint32_t index) {
  std::uint64_t top = header_->rings_free.load(std::memory_order_relaxed);
  std::uint64_t changed = 0;
  do {
    std::atomic_ref(ring(index).next)
        .store(static_cast<std::uint32_t>(top), std::memory_order_relaxed);
    changed = ((top >> 32U) + 1) << 32U | (index + 1U);
  } while (!header_->rings_free.compare_exchange_weak(top, changed, std::memory_order_acq_rel));
}

void Region::announce(std::uint32_t rank, EndpointAddress address) {
  check(rank < header_->ranks, "a rank beyond those that the region was made for");
  directory_[rank].store(address.value, std::memory_order_release);
  header_->announcements.fetch_add(1, std::memory_order_seq_cst);
  futex_wake_all(header_->announcements);
}

Result<EndpointAddress> Region::address_of(std::uint32_t rank, Duration patience) const {
  check(rank < header_->ranks, "a rank beyond those that the region was made for");
  const auto start = std::chrono::steady_clock::now();
  for (;;) {
    const std::uint32_t seen = header_->announcements.load(std::memory_order_seq_cst);
    const std::uint32_t address = directory_[rank].load(std::memory_order_acquire);
    if (address != 0) return EndpointAddress{address};
    const Duration passed = Duration::nanoseconds(
        std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count());
    if (passed >= patience) {
      return failure(
          FailureKind::timed_out,
          fmt::format("rank {} has not announced its address within {}", rank, to_text(patience)));
    }
    futex_sleep(header_->announcements, seen, patience - passed);
  }
}

void Region::condemn(std::string_view why) {
  std::uint32_t none = 0;
  if (!header_->condemned.compare_exchange_strong(none, 1)) return;
  const std::size_t size = std::min(why.size(), longest_verdict - 1);
  std::memcpy(header_->verdict, why.data(), size);
  header_->verdict[size] = '\0';
  header_->condemned.store(2, std::memory_order_seq_cst);
  wake_listeners();
}

std::optional<std::string> Region::verdict() const {
  if (header_->condemned.load(std::memory_order_seq_cst) != 2) return std::nullopt;
  return std::string(header_->verdict);
}

bool Region::await_verdict(const std::atomic<bool>& stopped) const {
  for (;;) {
    const std::uint32_t seen = header_->verdicts.load(std::memory_order_seq_cst);
    if (header_->condemned.load(std::memory_order_seq_cst) == 2) return true;
    if (stopped.load(std::memory_order_seq_cst)) return false;
    futex_sleep(header_->verdicts, seen, std::nullopt);
  }
}

void Region::wake_listeners() {
  header_->verdicts.fetch_add(1, std::memory_order_seq_cst);
  futex_wake_all(header_->verdicts);
}

void Region::bury(std::int32_t process) {
  for (std::uint32_t slot = 0; slot < header_->endpoints; ++slot) {
    EndpointSlot& endpoint = endpoint_slots_[slot];
    if (endpoint.process.load(std::memory_order_acquire) != process ||
        endpoint.address.exchange(0, std::memory_order_acq_rel) == 0) {
      continue;
    }
    endpoint.opened.store(closed_stack, std::memory_order_release);
    header_->open_endpoints.fetch_sub(1, std::memory_order_relaxed);
    // Its slot, its rings and what it exposed stay taken: nobody can tell what it was doing to
    // them.
  }
  for (std::uint32_t slot = 0; slot < header_->endpoints; ++slot) {
    if (wait_slots_[slot].taken.load(std::memory_order_relaxed) != 0) {
      ring_doorbell(wait_slots_[slot]);
    }
  }
}

}  // namespace ferry::shm
