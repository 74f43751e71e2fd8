// Any bytes in memory that several machines share: other ranks may write what they like, where they
// like. A rank that reads and writes there never leaves its region, and never hangs.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "core/ports/world_error.hpp"
#include "hw_backend/shm/shm_endpoint.hpp"
#include "hw_backend/shm/shm_fabric.hpp"
#include "hw_backend/shm/shm_wait_set.hpp"

namespace {

using namespace ferry;
using namespace ferry::shm;

constexpr std::size_t device_size = 128U << 10U;

/// A file without a name, found by one.
struct Device {
  int file = memfd_create("device", 0);
  std::string name = "/proc/self/fd/" + std::to_string(file);
  Device() {
    if (file < 0 || ftruncate(file, device_size) != 0) std::abort();
  }
};

void read_all(const Arrival& arrival) {
  unsigned sum = 0;
  for (const std::byte byte : arrival.body) sum += static_cast<unsigned>(byte);
  volatile unsigned kept = sum;
  (void)kept;
}

void use(ShmEndpoint& one, ShmEndpoint& other, WaitSet& wait_set) {
  constexpr Channel channel = Channel::ivshmem;
  std::byte body[300] = {};
  const ConstSlice slice{body, sizeof(body)};
  for (int turn = 0; turn < 8; ++turn) {
    PacketHeader header;
    header.tag = turn;
    header.checksum = turn % 2 == 0 ? 1 : 0;
    (void)one.post({1}, channel, header, {&slice, turn % 3 == 0 ? 1U : 0U});
    (void)other.post({0}, channel, header, {});
    for (ShmEndpoint* const end : {&one, &other}) {
      if (const Arrival* const arrival = end->poll()) read_all(*arrival);
    }
    if (turn == 5) one.disconnect({1}, channel);
    (void)wait_set.wait(TimePoint::start());  // which has passed
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Device device;
  static std::uint64_t run = 0;
  const ThreadClock clock(1.0);
  ShmFabric waiting(Region::make_anonymous({.endpoints = 2, .ranks = 2}), clock, {},
                    {.shortest = Duration::zero(), .longest = Duration::zero()});
  const auto wait_set = waiting.make_shm_wait_set();
  // The name of a job that was never there: what is left of the last run is laid out anew.
  const auto region =
      Region::map_device({device.name}, std::to_string(++run), 2, Duration::seconds(5));
  if (!region) std::abort();
  try {
    ShmEndpoint one(*region, *wait_set, false, RankId{0});
    ShmEndpoint other(*region, *wait_set, false, RankId{1});
    use(one, other, *wait_set);
    // Words of the input at places of the input; the first places of the region are the busiest.
    constexpr std::size_t step = 3 + sizeof(std::uint64_t);
    for (std::size_t at = 0; at + step <= size; at += step) {
      const std::size_t place = data[at] | data[at + 1] << 8U | data[at + 2] << 16U;
      const auto offset = static_cast<off_t>(place % (device_size - 8) & ~std::size_t{3});
      if (pwrite(device.file, data + at + 3, 8, offset) != 8) std::abort();
    }
    use(one, other, *wait_set);
    (void)(*region)->verdict();
    ShmEndpoint again(*region, *wait_set, false, RankId{0});  // one that came back
    use(again, other, *wait_set);
  } catch (const WorldError&) {
    // That there is no place, or no ring, is an answer.
  }
  return 0;
}
