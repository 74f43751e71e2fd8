#include "hw_backend/shm/region.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <limits>
#include <thread>
#include <utility>

#include "core/ports/world_error.hpp"
#include "core/units/check.hpp"
#include "hw_backend/shm/doorbell.hpp"

namespace ferry::shm {
namespace {

constexpr const char* folder = "/dev/shm";
/// Tries to join a region that others remove at the same moment.
constexpr int most_tries = 100;

std::string system_says() { return std::strerror(errno); }

constexpr std::size_t rounded_up(std::size_t size, std::size_t to) {
  return (size + to - 1) / to * to;
}

/// Byte offsets of the parts.
struct Places {
  /// `whole`: size of what is there, which bounds the rings; none: as many as pairs can use.
  explicit Places(const RegionSizes& sizes, std::optional<std::size_t> whole = std::nullopt) {
    const std::size_t endpoints = sizes.endpoints;
    directory = sizeof(RegionHeader);
    wait_slots = rounded_up(directory + sizes.ranks * sizeof(std::uint32_t), cache_line);
    endpoint_slots = wait_slots + endpoints * sizeof(WaitSlot);
    exposures = endpoint_slots + endpoints * sizeof(EndpointSlot);
    rings = rounded_up(exposures + endpoints * sizes.exposures * sizeof(Exposure), 4096);
    ring = sizeof(Ring) + sizes.cells * sizeof(Cell) + sizes.data.count();
    most_rings = 2 * endpoints * endpoints;  // each pair, two ways, by memory and by reading
    if (whole) most_rings = *whole < rings ? 0 : std::min(most_rings, (*whole - rings) / ring);
    size = whole ? *whole : rings + most_rings * ring;
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
  check(sizes.exposures <= 1U << 16U, "an endpoint exposes at most 65536 pieces of memory");
}

RegionSizes sizes_of(const RegionHeader& header) {
  return {.endpoints = header.endpoints,
          .ranks = header.ranks,
          .cells = header.cells,
          .data = Bytes(header.data),
          .exposures = header.exposures};
}

constexpr Bytes largest_data = Bytes::mebi(1);
constexpr Bytes usual_data = Bytes::kibi(256);
constexpr Bytes smallest_data = Bytes::kibi(16);
constexpr std::uint32_t fewest_cells = 64;
constexpr Bytes usual_share = Bytes::mebi(256);  ///< of the memory, for all pairs
constexpr std::size_t bodies_in_data = 4;
constexpr Bytes largest_useful_body = Bytes::kibi(64);

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

RegionSizes RegionSizes::of_job(std::uint32_t ranks_here, std::uint32_t ranks, Bytes memory) {
  RegionSizes sizes;
  sizes.endpoints = std::max(ranks_here, 2U);
  sizes.ranks = ranks;
  sizes.data = largest_data;
  const auto all_take_over = [&](Bytes most) {
    const std::uint64_t pairs = std::uint64_t{sizes.endpoints} * (sizes.endpoints - 1);
    return pairs * Places(sizes).ring > most.count();
  };
  while (sizes.data > usual_data && all_take_over(usual_share)) {
    sizes.data = Bytes(sizes.data.count() / 2);
  }
  while (sizes.data > smallest_data && all_take_over(Bytes(memory.count() / 2))) {
    sizes.data = Bytes(sizes.data.count() / 2);
    sizes.cells = std::max(sizes.cells / 2, fewest_cells);
  }
  return sizes;
}

Bytes RegionSizes::largest_body() const {
  return std::min(Bytes(data.count() / bodies_in_data), largest_useful_body);
}

Bytes RegionSizes::data_at_first() const { return Bytes(bodies_in_data * largest_body().count()); }

Region::Region(int file, std::string path, std::size_t size, const RegionSizes& sizes,
               std::size_t offset)
    : file_(file),
      path_(std::move(path)),
      size_(size),
      sizes_(sizes),
      most_rings_(Places(sizes, size).most_rings) {
  void* const memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file,
                            static_cast<off_t>(offset));
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
  if (!path_.empty() && !is_device_) remove_if_unused(file_, path_);
  close(file_);
}

void Region::lay_out() {
  const Places places(sizes_);
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
  header.exposures = sizes.exposures;
  header.magic = region_magic;
}

}  // namespace

std::shared_ptr<Region> Region::make_anonymous(const RegionSizes& sizes) {
  check_sizes(sizes);
  const Places places(sizes);
  File file(memfd_create("ferry", MFD_CLOEXEC));
  if (file.number() < 0 || ftruncate(file.number(), static_cast<off_t>(places.size)) != 0) {
    throw WorldError("no shared memory can be made for a job: " + system_says());
  }
  std::shared_ptr<Region> region(new Region(file.release(), "", places.size, sizes));
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
      pread(file.number(), static_cast<void*>(&header), 64, 0) != 64 ||
      header.magic != region_magic || header.size != static_cast<std::uint64_t>(facts.st_size)) {
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
  std::shared_ptr<Region> region(new Region(file.release(), path, header.size, sizes));
  region->lay_out();
  return region;
}

Bytes Region::memory_for_names() {
  struct statvfs facts {};
  if (statvfs(folder, &facts) != 0) return Bytes();
  if (facts.f_blocks == 0) return Bytes(std::numeric_limits<std::uint64_t>::max());
  return Bytes(std::uint64_t{facts.f_blocks} * facts.f_frsize);
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
      std::shared_ptr<Region> region(new Region(file.release(), path, places.size, sizes));
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

// --- Memory of a device
// ---------------------------------------------------------------------------

namespace {

/// What `owner` says: the job in the upper bits, in the lowest one of these. All zeros: nobody's.
enum DeviceState : std::uint64_t { laying_out = 1, laid_out = 2 };
constexpr std::uint64_t state_bits = 3;

/// FNV-1a (Fowler, Noll, Vo), without the bits of the state.
std::uint64_t owner_of(std::string_view job) {
  std::uint64_t hash = 0xcbf2'9ce4'8422'2325;
  for (const char c : job) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100'0000'01b3;
  return hash & ~state_bits;
}

/// The same on all machines that share `whole` bytes for a job of so many ranks: a place for each
/// of at most 64 of them, and rings for all pairs of those as long as the memory lasts.
RegionSizes sizes_of_device(std::size_t whole, std::uint32_t ranks) {
  RegionSizes sizes{.endpoints = std::clamp(ranks, 2U, 64U),
                    .ranks = ranks,
                    .cells = 256,
                    .data = Bytes::kibi(256),
                    .exposures = 0};
  const std::size_t pairs = static_cast<std::size_t>(sizes.endpoints) * (sizes.endpoints - 1);
  while (sizes.data > Bytes::kibi(4) && Places(sizes, whole).most_rings < pairs) {
    sizes.data = Bytes(sizes.data.count() / 2);
    sizes.cells = std::max(sizes.cells / 2, 16U);
  }
  return sizes;
}

}  // namespace

Result<> Region::claim(std::uint64_t owner, Duration patience) {
  const auto start = std::chrono::steady_clock::now();
  std::uint64_t found = header_->owner.load(std::memory_order_acquire);
  for (;;) {
    if (found == (owner | laid_out)) return {};
    if ((found & ~state_bits) != owner) {
      if (!header_->owner.compare_exchange_strong(found, owner | laying_out)) continue;
      std::byte* const rest = memory_ + offsetof(RegionHeader, owner) + sizeof(std::uint64_t);
      std::memset(rest, 0, static_cast<std::size_t>(memory_ + size_ - rest));
      fill_in(*header_, sizes_, Places(sizes_, size_));
      header_->owner.store(owner | laid_out, std::memory_order_release);
      return {};
    }
    const std::chrono::nanoseconds passed = std::chrono::steady_clock::now() - start;
    if (Duration::nanoseconds(passed.count()) > patience) {
      return failure(FailureKind::timed_out,
                     path_ +
                         " is being laid out for this job by another machine, which has not "
                         "come to an end; detach the IVShmem device there and attach it again");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    found = header_->owner.load(std::memory_order_acquire);
  }
}

Bytes size_of_device(const std::string& file) {
  struct stat facts {};
  return stat(file.c_str(), &facts) == 0 ? Bytes(static_cast<std::uint64_t>(facts.st_size))
                                         : Bytes();
}

Bytes Region::largest_body_on_device(Bytes size, std::uint32_t ranks) {
  const RegionSizes sizes = sizes_of_device(size.count(), ranks);
  return Places(sizes, size.count()).most_rings < 2 ? Bytes() : sizes.largest_body();
}

Result<std::shared_ptr<Region>> Region::map_device(const DevicePart& part, std::string_view job,
                                                   std::uint32_t ranks, Duration patience) {
  check(part.count >= 1 && part.index < part.count, "a part is one of some");
  const std::string& path = part.file;
  File file(open(path.c_str(), O_RDWR | O_CLOEXEC));
  struct stat facts {};
  if (file.number() < 0 || fstat(file.number(), &facts) != 0) {
    return failure(FailureKind::refused,
                   fmt::format("{} cannot be opened: {}", path, system_says()));
  }
  const std::size_t size = part.size_in(Bytes(static_cast<std::uint64_t>(facts.st_size))).count();
  const RegionSizes sizes = sizes_of_device(size, ranks);
  if (Places(sizes, size).most_rings < 2) {
    return failure(
        FailureKind::refused,
        fmt::format("{} has {} bytes for each of {} jobs, which is too little for {} ranks; "
                    "1MiB and more would be right",
                    path, size, part.count, ranks));
  }
  std::shared_ptr<Region> region(new Region(file.release(), path, size, sizes, part.index * size));
  region->can_wake_ = false;
  region->is_device_ = true;
  region->lay_out();
  if (Result<> claimed = region->claim(owner_of(job), patience); !claimed) {
    return tl::unexpected<Failure>(claimed.error());
  }
  const RegionHeader& header = *region->header_;
  if (header.magic != region_magic || header.size != size || sizes_of(header) != sizes) {
    return failure(FailureKind::refused,
                   path +
                       " was laid out for this job by another version of Ferry, or for another "
                       "number of ranks; all machines of a job need the same");
  }
  return region;
}

void Region::remove_stale_names() {
  const std::string beginning = fmt::format("ferry-{}-", geteuid());
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().filename().string().rfind(beginning, 0) != 0) continue;
    const File file(open(entry.path().c_str(), O_RDWR | O_CLOEXEC));
    if (file.number() >= 0) remove_if_unused(file.number(), entry.path());
  }
}

void Region::remove_name() {
  if (!path_.empty() && !is_device_ && is_named(file_, path_)) unlink(path_.c_str());
}

Exposure& Region::exposure(std::uint32_t endpoint, std::uint32_t index) const {
  return exposures_[static_cast<std::size_t>(endpoint) * sizes_.exposures + index];
}

Ring& Region::ring(std::uint32_t index) const {
  return *reinterpret_cast<Ring*>(rings_ + index * ring_size_);
}

std::uint32_t Region::take_ring() {
  std::uint64_t top = header_->rings_free.load(std::memory_order_acquire);
  while ((top & 0xffff'ffffU) != 0) {
    const auto index = static_cast<std::uint32_t>(top) - 1;
    if (index >= most_rings_) break;  // memory that others have spoilt
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
  if (fresh >= most_rings_) {
    throw WorldError(fmt::format(
        "more than {} pairs of ranks talk by the shared memory of this job", most_rings_));
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

void Region::abandon_rings_of(std::uint32_t address) {
  const std::uint64_t made = std::min(header_->rings_made.load(), most_rings_);
  for (std::uint32_t index = 0; address != 0 && index < made; ++index) {
    Ring& one = ring(index);
    if (one.sender != address && one.receiver != address) continue;
    const bool sends = one.sender == address;
    // Where it had got to is not known: beyond that in any case, since positions never come again.
    if (sends) one.end.store(one.cells_freed.load() + sizes_.cells, std::memory_order_relaxed);
    const std::uint32_t mine = sends ? closed_by_sender : closed_by_receiver;
    const std::uint32_t others = sends ? closed_by_receiver : closed_by_sender;
    const std::uint32_t before = one.closed.fetch_or(mine);
    if ((before & others) != 0 && (before & mine) == 0) give_ring_back(index);
  }
}

void Region::announce(std::uint32_t rank, EndpointAddress address) {
  check(rank < sizes_.ranks, "a rank beyond those that the region was made for");
  directory_[rank].store(address.value, std::memory_order_release);
  header_->announcements.fetch_add(1, std::memory_order_seq_cst);
  if (!can_wake_) return;
  futex_wake_all(header_->announcements);
  ring_all();
}

Result<EndpointAddress> Region::address_of(std::uint32_t rank, Duration patience) const {
  check(rank < sizes_.ranks, "a rank beyond those that the region was made for");
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
  return std::string(header_->verdict, strnlen(header_->verdict, longest_verdict));
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
  for (std::uint32_t slot = 0; slot < sizes_.endpoints; ++slot) {
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
  ring_all();
}

void Region::ring_all() {
  for (std::uint32_t slot = 0; slot < sizes_.endpoints; ++slot) {
    if (wait_slots_[slot].taken.load(std::memory_order_relaxed) != 0) {
      ring_doorbell(wait_slots_[slot]);
    }
  }
}

}  // namespace ferry::shm
