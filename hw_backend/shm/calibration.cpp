#include "hw_backend/shm/calibration.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "core/channel/costs.hpp"
#include "core/ports/world_error.hpp"
#include "hw_backend/shm/memory_reading.hpp"
#include "hw_backend/shm/processes.hpp"

namespace ferry::shm {
namespace {

constexpr std::array<std::size_t, 6> packet_sizes = {0, 64, 512, 4096, 16'384, 65'536};
constexpr std::array<std::size_t, 7> read_sizes = {1024,      8192,      65'536,   262'144,
                                                   1U << 20U, 2U << 20U, 4U << 20U};
/// Where memory is read and where bodies go through the ring in fragments, both are measured: which
/// is quicker is a question of caches, and changes with the size more than once.
constexpr std::size_t first_large = 2;  ///< of `read_sizes`
constexpr std::size_t large_sizes = read_sizes.size() - first_large;
constexpr std::array<std::size_t, 4> fragment_sizes = {8192, 16'384, 32'768, 65'536};
constexpr int batches = 6;
/// All of it, some time apart: a machine that does something else for a while spoils one of them.
constexpr int repetitions = 3;
constexpr std::size_t rounds_of_small = 200;
constexpr std::size_t bytes_of_batch = 1U << 20U;
constexpr Duration patience = Duration::milliseconds(60'000);

/// Seconds, of the quickest batch. In memory that the processes share.
struct Times {
  std::array<double, packet_sizes.size()> packet;  ///< one way
  std::array<double, read_sizes.size()> read;      ///< announcement and read, one way
  /// Large bodies in fragments, one way.
  std::array<std::array<double, large_sizes>, fragment_sizes.size()> fragments;
  double post;  ///< of a packet of nothing, for its sender
};

class Player {
 public:
  Player(ShmFabric& fabric, std::uint32_t rank, std::size_t largest)
      : rank_(rank),
        set_(fabric.make_wait_set()),
        end_(fabric.open(RankPlace{}, *set_)),
        out_(largest, std::byte{1}),
        in_(largest, std::byte{2}) {
    fabric.region().announce(rank, end_->address());
    peer_ = fabric.region().address_of(1 - rank, patience).value();
  }

  double packet_time(std::size_t size) {
    return time_of_ping_pong(
        size, [&] { post({}, size); },
        [&] {
          const Arrival& got = next();
          if (size != 0) std::memcpy(in_.data(), got.body.data(), size);
        });
  }

  /// With all that a message costs which is read: exposing, announcing, reading, saying so.
  double read_time(std::size_t size) {
    const ConstSlice from{out_.data(), size};
    const Slice into{in_.data(), size};
    PacketHeader header;
    header.kind = announcement;
    const auto withdraw = [&] { end_->withdraw({std::exchange(header.key, 0)}); };
    const double time = time_of_ping_pong(
        size,
        [&] {
          header.key = end_->expose(Channel::cma, {&from, 1}).value;
          post(header, 0);
        },
        [&] {
          const Arrival* got = &next();
          if (got->header.kind == done) {
            withdraw();
            got = &next();
          }
          end_->read(peer_, Channel::cma, {got->header.key}, 0, {&into, 1}, 0);
          if (next().kind != Arrival::Kind::read_done) {
            throw WorldError("a rank cannot read the other one's memory, though it was allowed to");
          }
          PacketHeader ended;
          ended.kind = done;
          post(ended, 0);
        });
    if (header.key != 0) {
      static_cast<void>(next());
      withdraw();
    }
    return time;
  }

  double fragments_time(std::size_t size, std::size_t fragment) {
    return time_of_ping_pong(
        size,
        [&] {
          for (std::size_t at = 0; at < size; at += fragment) post({}, fragment, at);
        },
        [&] {
          for (std::size_t at = 0; at < size; at += fragment) {
            std::memcpy(in_.data() + at, next().body.data(), fragment);
          }
        });
  }

  /// Fewer packets than a ring holds.
  double post_time() {
    constexpr int packets = 256;
    return quickest(
               [&] {
                 if (rank_ == 0) {
                   for (int i = 0; i < packets; ++i) post({}, 0);
                 } else {
                   for (int i = 0; i < packets; ++i) static_cast<void>(next());
                 }
               },
               [&] {
                 if (rank_ == 0) {
                   static_cast<void>(next());
                 } else {
                   post({}, 0);
                 }
               }) /
           packets;
  }

 private:
  using Seconds = std::chrono::duration<double>;
  static constexpr std::uint8_t announcement = 1;
  static constexpr std::uint8_t done = 2;

  double time_of_ping_pong(std::size_t size, const std::function<void()>& send,
                           const std::function<void()>& receive) {
    const std::size_t rounds = std::clamp<std::size_t>(
        bytes_of_batch / std::max<std::size_t>(size, 1), 4, rounds_of_small);
    const double time = quickest(
        [&] {
          for (std::size_t i = 0; i < rounds; ++i) {
            if (rank_ == 0) {
              send();
              receive();
            } else {
              receive();
              send();
            }
          }
        },
        [] {});
    return time / (2.0 * static_cast<double>(rounds));
  }

  static double quickest(const std::function<void()>& timed, const std::function<void()>& after) {
    double best = 1e9;
    for (int batch = 0; batch <= batches; ++batch) {  // the first warms up
      const auto start = std::chrono::steady_clock::now();
      timed();
      const Seconds took = std::chrono::steady_clock::now() - start;
      if (batch > 0) best = std::min(best, took.count());
      after();
    }
    return best;
  }

  void post(const PacketHeader& header, std::size_t size, std::size_t at = 0) {
    const ConstSlice body{out_.data() + at, size};
    while (!end_->post(peer_, Channel::shm, header, {&body, 1})) {
      static_cast<void>(set_->wait(TimePoint::never()));
    }
  }

  const Arrival& next() {
    for (;;) {
      if (const Arrival* const arrival = end_->poll()) return *arrival;
      static_cast<void>(set_->wait(TimePoint::never()));
    }
  }

  std::uint32_t rank_;
  std::unique_ptr<WaitSet> set_;
  std::unique_ptr<Endpoint> end_;
  std::vector<std::byte> out_;
  std::vector<std::byte> in_;
  EndpointAddress peer_;
};

Times measure(const RegionSizes& sizes, bool reads) {
  void* const shared =
      mmap(nullptr, sizeof(Times), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) throw WorldError("no memory to calibrate shared memory with");
  auto* const times = new (shared) Times{};
  LaunchSettings settings;
  settings.sizes = sizes;
  settings.bind = true;
  settings.limit = patience;
  const std::vector<RankFailure> failures = run_shm_processes(
      2,
      [&](std::uint32_t rank, const std::shared_ptr<Region>& region) {
        const ThreadClock clock(1.0);
        ShmFabric fabric(region, clock, {});
        Player player(fabric, rank, read_sizes.back());
        Times mine{};
        const auto keep_quicker = [](double& kept, double now) {
          if (kept == 0 || now < kept) kept = now;
        };
        // As large as a packet may be, if that is less.
        const auto packet = [&](std::size_t size) {
          return std::min<std::size_t>(size, sizes.largest_body().count());
        };
        for (int repetition = 0; repetition < repetitions; ++repetition) {
          keep_quicker(mine.post, player.post_time());
          for (std::size_t i = 0; i < packet_sizes.size(); ++i) {
            keep_quicker(mine.packet[i], player.packet_time(packet(packet_sizes[i])));
          }
          for (std::size_t i = 0; i < read_sizes.size() && reads; ++i) {
            keep_quicker(mine.read[i], player.read_time(read_sizes[i]));
          }
          for (std::size_t i = 0; i < fragment_sizes.size(); ++i) {
            for (std::size_t j = 0; j < large_sizes; ++j) {
              keep_quicker(mine.fragments[i][j], player.fragments_time(read_sizes[first_large + j],
                                                                       packet(fragment_sizes[i])));
            }
          }
        }
        if (rank == 0) *times = mine;
      },
      settings);
  const Times measured = *times;
  munmap(shared, sizeof(Times));
  if (!failures.empty()) {
    throw WorldError("shared memory could not be calibrated: " + failures.front().to_text());
  }
  return measured;
}

/// Straight lines through the points; `fixed` is what `one_way` (or a read) takes beside latency
/// and bytes. A segment's latency is never below zero: then its end is met, not its beginning.
template <std::size_t count>
std::vector<TransportSegment> segments_through(const std::array<std::size_t, count>& sizes,
                                               const std::array<double, count>& seconds,
                                               double fixed, double overhead) {
  std::vector<TransportSegment> segments;
  for (std::size_t i = 0; i + 1 < count; ++i) {
    const double from = static_cast<double>(sizes[i]);
    const double to = static_cast<double>(sizes[i + 1]);
    double bandwidth = (to - from) / std::max(seconds[i + 1] - seconds[i], 1e-12);
    double latency = seconds[i] - fixed - from / bandwidth;
    if (latency < 0) {
      latency = 0;
      bandwidth = to / std::max(seconds[i + 1] - fixed, 1e-12);
    }
    segments.push_back({.from_size = Bytes(i == 0 ? 0 : sizes[i]),
                        .latency = Duration::seconds(latency),
                        .overhead = Duration::seconds(overhead),
                        .gap = Duration::seconds(overhead),
                        .bandwidth = Bandwidth::bytes_per_second(bandwidth)});
  }
  return segments;
}

/// Eager up to where the next protocol is quicker: the largest power of two that is not. Then
/// memory is read, as long as that is not slower than fragments.
Route route_for(const ShmProfiles& profiles, const Times& times, std::size_t largest_packet) {
  constexpr std::size_t everything = std::numeric_limits<std::size_t>::max();
  std::size_t fragments = 0;  // the quickest, for the largest body
  for (std::size_t i = 1; i < fragment_sizes.size() && fragment_sizes[i] <= largest_packet; ++i) {
    if (times.fragments[i].back() < times.fragments[fragments].back()) fragments = i;
  }
  const Choice by_fragments{
      .protocol = Protocol::rendezvous_fragments,
      .channel = Channel::shm,
      .data = Channel::shm,
      .fragment = static_cast<std::uint32_t>(std::min(fragment_sizes[fragments], largest_packet))};
  Choice by_reading = by_fragments;
  by_reading.protocol = Protocol::rendezvous_read;
  by_reading.data = Channel::cma;
  std::size_t most_read = 0;
  for (std::size_t i = 0; profiles.cma && i < large_sizes; ++i) {
    const std::size_t at = first_large + i;
    if (times.read[at] <= times.fragments[fragments][i]) most_read = read_sizes[at];
  }
  const Choice& next = most_read != 0 ? by_reading : by_fragments;
  const TransportProfile& data = most_read != 0 ? *profiles.cma : profiles.shm;

  Choice eager = by_fragments;
  eager.protocol = Protocol::eager;
  std::size_t most_eager = 64;
  while (most_eager * 2 <= largest_packet &&
         packet_time(profiles.shm, Bytes(most_eager * 2)) <=
             message_time(next, profiles.shm, data, Bytes(most_eager * 2))) {
    most_eager *= 2;
  }
  if (most_read <= most_eager) return Route({{most_eager, eager}, {everything, by_fragments}});
  if (most_read == read_sizes.back()) return Route({{most_eager, eager}, {everything, by_reading}});
  return Route({{most_eager, eager}, {most_read, by_reading}, {everything, by_fragments}});
}

std::string to_text(std::string_view name, const TransportProfile& profile) {
  std::string text;
  for (const TransportSegment& segment : profile.segments) {
    text += fmt::format("{:<4} from {:>8}: latency {}, overhead {}, {}\n", name,
                        ferry::to_text(segment.from_size), ferry::to_text(segment.latency),
                        ferry::to_text(segment.overhead), ferry::to_text(segment.bandwidth));
  }
  return text;
}

}  // namespace

Calibration calibrate(const RegionSizes& sizes) {
  const bool reads = processes_can_read_each_other();
  const Times times = measure(sizes, reads);
  // A sender cannot be busy for longer than half of the way.
  const double overhead = std::min(times.post, times.packet.front() / 2);
  Calibration calibration;
  ShmProfiles& profiles = calibration.profiles;
  profiles.shm.segments = segments_through(packet_sizes, times.packet, 2 * overhead, overhead);
  if (reads) {
    const double signal = times.packet.front();
    profiles.cma.emplace();
    profiles.cma->reads = true;
    profiles.cma->segments = segments_through(read_sizes, times.read, signal + overhead, overhead);
    // `read_time` has the first segment's latency in all of them, for the asking: that is half of
    // what the first has here.
    const Duration asks = profiles.cma->segments.front().latency * 0.5;
    for (TransportSegment& segment : profiles.cma->segments) {
      segment.latency = std::max(Duration::zero(), segment.latency - asks);
    }
  }
  const std::size_t largest =
      std::min<std::size_t>(packet_sizes.back(), sizes.largest_body().count());
  calibration.route = route_for(profiles, times, largest);
  return calibration;
}

std::string Calibration::to_text() const {
  std::string text = shm::to_text("shm", profiles.shm);
  if (profiles.cma) text += shm::to_text("cma", *profiles.cma);
  return text + route_to_text();
}

std::string Calibration::route_to_text() const {
  std::string text;
  for (const Route::Range& range : route.ranges()) {
    text += fmt::format("{} by {}{}\n", to_name(range.choice.protocol), to_name(range.choice.data),
                        range.last == std::numeric_limits<std::size_t>::max()
                            ? ""
                            : " up to " + ferry::to_text(Bytes(range.last)));
  }
  return text;
}

}  // namespace ferry::shm
