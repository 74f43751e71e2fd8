#include "hw_backend/ranks/ivshmem_part.hpp"

#include <unistd.h>

#include <array>
#include <chrono>
#include <thread>
#include <utility>

#include "core/units/check.hpp"
#include "hw_backend/shm/ivshmem_device.hpp"

namespace ferry::ranks {
namespace {

constexpr std::array ivshmem_alone = {Channel::ivshmem};
/// For another machine to write the memory once.
constexpr Duration patience = Duration::milliseconds(60'000);
constexpr std::chrono::milliseconds look_every{20};

}  // namespace

IvshmemPart::IvshmemPart(Job job, shm::DevicePart part, shm::ShmWaiting& wait_set,
                         JoinedEndpoint& joined)
    : job_(std::move(job)), part_(std::move(part)), wait_set_(wait_set), joined_(joined) {}

/// A rank that is gone for good: nobody waits for it.
IvshmemPart::~IvshmemPart() {
  if (endpoint_ == nullptr) return;
  joined_.set_part(ivshmem_alone, nullptr);
  endpoint_.reset();
}

Bytes IvshmemPart::size_of(const shm::DevicePart& part) {
  std::string file = part.file;
  if (file.empty()) {
    const Result<std::string> found = shm::find_ivshmem_memory();
    if (!found || found->empty()) return {};
    file = *found;
  }
  return part.size_in(shm::size_of_device(file));
}

Result<std::string> IvshmemPart::await_memory(Duration for_device) const {
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::nanoseconds(for_device.count_nanoseconds());
  for (;;) {
    if (part_.file.empty()) {
      Result<std::string> found = shm::find_ivshmem_memory();
      if (!found || !found->empty()) return found;
    } else if (access(part_.file.c_str(), F_OK) == 0) {
      return part_.file;
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      return failure(FailureKind::refused, part_.file.empty()
                                               ? "this machine has no IVShmem device"
                                               : "there is no IVShmem memory " + part_.file);
    }
    std::this_thread::sleep_for(look_every);
  }
}

Result<> IvshmemPart::open(Duration for_device) {
  if (is_open()) return {};
  shm::DevicePart part = part_;
  Result<std::string> file = await_memory(for_device);
  if (!file) return tl::unexpected<Failure>(file.error());
  part.file = std::move(*file);
  auto region = shm::Region::map_device(part, job_.id, job_.ranks, patience);
  if (!region) return tl::unexpected<Failure>(region.error());
  region_ = std::move(*region);
  endpoint_ = std::make_unique<shm::ShmEndpoint>(region_, wait_set_, false, job_.rank);
  joined_.set_part(ivshmem_alone, endpoint_.get());
  return {};
}

void IvshmemPart::close() {
  if (!is_open()) return;
  joined_.set_part(ivshmem_alone, nullptr);
  endpoint_->leave_for_now();
  endpoint_.reset();
  region_.reset();
}

std::vector<RankId> IvshmemPart::here() const {
  check(is_open(), "who looks for others there has opened it");
  std::vector<RankId> ranks;
  for (std::uint32_t rank = 0; rank < job_.ranks; ++rank) {
    const EndpointAddress address = region_->address_now(rank);
    if (address != shm::Region::nowhere && address != shm::Region::gone) {
      ranks.push_back(RankId{rank});
    }
  }
  return ranks;
}

}  // namespace ferry::ranks
