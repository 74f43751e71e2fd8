// Two ranks on this machine, as processes: our engine over shared memory beside Debian's Open MPI,
// from 1 B to 4 MiB, the same rounds in turns. Open MPI runs with single copy (CMA) and without;
// its better figure is the peer. Also the bare fabric, to see where the engine's time goes.
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/mpi/process.hpp"
#include "hw_backend/shm/calibration.hpp"
#include "hw_backend/shm/processes.hpp"
#include "hw_backend/shm/shm_fabric.hpp"
#include "tests/bench/side_by_side.hpp"

namespace ferry {
namespace {

// As in openmpi_point_to_point.c.
constexpr int window = 64;
constexpr int batches = 20;
constexpr std::size_t batch_bytes = 1U << 21U;
constexpr std::size_t most_rounds = 500;
constexpr std::size_t most_windows = 20;
constexpr std::size_t smallest = 1;
constexpr std::size_t largest = 4U << 20U;
constexpr std::size_t sizes = 23;

struct Figures {
  double latency = 1e9;  ///< seconds one way
  double bandwidth = 0;  ///< bytes per second
  void keep_better(const Figures& other) {
    latency = std::min(latency, other.latency);
    bandwidth = std::max(bandwidth, other.bandwidth);
  }
};
using Table = std::array<Figures, sizes>;

/// What two ranks of a job on one host have.
const shm::RegionSizes sizes_of_region =
    shm::RegionSizes::of_job(2, 2, shm::Region::memory_for_names());

constexpr std::size_t size_at(std::size_t index) { return smallest << index; }

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Both ranks do `work` in batches, of which the first warms up; seconds of the quickest.
double quickest_batch(const std::function<void()>& work) {
  double best = 1e9;
  for (int batch = 0; batch <= batches; ++batch) {
    const double start = seconds_now();
    work();
    if (batch > 0) best = std::min(best, seconds_now() - start);
  }
  return best;
}

/// What the two programs need of either stack.
class Side {
 public:
  virtual ~Side() = default;
  virtual void send(const char* from, std::size_t size) = 0;
  virtual void receive(char* into, std::size_t size) = 0;
  virtual void send_window(const char* from, std::size_t size) = 0;
  virtual void receive_window(char* into, std::size_t size) = 0;
};

Figures measure(Side& side, std::uint32_t rank, std::size_t size, char* out, char* in) {
  Figures figures;
  const std::size_t rounds = std::clamp<std::size_t>(batch_bytes / size, 2, most_rounds);
  figures.latency = quickest_batch([&] {
                      for (std::size_t i = 0; i < rounds; ++i) {
                        if (rank == 0) {
                          side.send(out, size);
                          side.receive(in, size);
                        } else {
                          side.receive(in, size);
                          side.send(out, size);
                        }
                      }
                    }) /
                    (2.0 * static_cast<double>(rounds));
  const std::size_t windows =
      std::clamp<std::size_t>(4 * batch_bytes / size / window, 1, most_windows);
  const double seconds = quickest_batch([&] {
    for (std::size_t i = 0; i < windows; ++i) {
      if (rank == 0) {
        side.send_window(out, size);
        side.receive(in, 4);
      } else {
        side.receive_window(in, size);
        side.send(out, 4);
      }
    }
  });
  figures.bandwidth = static_cast<double>(size * window * windows) / seconds;
  return figures;
}

/// The engine.
class EngineSide final : public Side {
 public:
  EngineSide(mpi::Communicator world, mpi::Rank peer) : world_(std::move(world)), peer_(peer) {}
  void send(const char* from, std::size_t size) override { world_.send({from, size}, peer_, 1); }
  void receive(char* into, std::size_t size) override { world_.recv({into, size}, peer_, 1); }
  void send_window(const char* from, std::size_t size) override {
    for (mpi::Request& request : requests_) request = world_.isend({from, size}, peer_, 1);
    world_.wait_all(requests_);
  }
  void receive_window(char* into, std::size_t size) override {
    for (mpi::Request& request : requests_) request = world_.irecv({into, size}, peer_, 1);
    world_.wait_all(requests_);
  }

 private:
  mpi::Communicator world_;
  mpi::Rank peer_;
  std::array<mpi::Request, window> requests_;
};

/// Packets alone: no matching, no checks; larger messages in pieces.
class FabricSide final : public Side {
 public:
  FabricSide(Endpoint& endpoint, WaitSet& wait_set, EndpointAddress peer)
      : endpoint_(endpoint), wait_set_(wait_set), peer_(peer) {}
  void send(const char* from, std::size_t size) override {
    const std::size_t most = endpoint_.largest_body(Channel::shm) / 2;
    for (std::size_t at = 0; at < size; at += most) {
      const ConstSlice piece{reinterpret_cast<const std::byte*>(from + at),
                             std::min(most, size - at)};
      while (!endpoint_.post(peer_, Channel::shm, {}, {&piece, 1})) {
        static_cast<void>(wait_set_.wait(TimePoint::never()));
      }
    }
  }
  void receive(char* into, std::size_t size) override {
    for (std::size_t at = 0; at < size;) {
      const Arrival* const arrival = endpoint_.poll();
      if (arrival == nullptr) {
        static_cast<void>(wait_set_.wait(TimePoint::never()));
        continue;
      }
      std::memcpy(into + at, arrival->body.data(), arrival->body_size);
      at += arrival->body_size;
    }
  }
  void send_window(const char* from, std::size_t size) override {
    for (int i = 0; i < window; ++i) send(from, size);
  }
  void receive_window(char* into, std::size_t size) override {
    for (int i = 0; i < window; ++i) receive(into, size);
  }

 private:
  Endpoint& endpoint_;
  WaitSet& wait_set_;
  EndpointAddress peer_;
};

class IdleProcessor final : public Processor {
 public:
  void set_ranks_running(VmId, bool) override {}
  Wake compute(std::optional<VmId>, Duration) override { return Wake::timed_out; }
  void spend(Duration) override {}
  std::optional<Wake> occupy(std::span<const VmId>, Duration, TimePoint) override { return {}; }
};

class RegionDirectory final : public mpi::Directory {
 public:
  explicit RegionDirectory(shm::Region& region) : region_(region) {}
  [[nodiscard]] EndpointAddress address_of(RankId rank) const override {
    return region_.address_of(rank.index, Duration::seconds(30)).value();
  }

 private:
  shm::Region& region_;
};

class LoudWatch final : public mpi::JobWatch {
 public:
  void complain(RankId rank, std::string what) override {
    fmt::print(stderr, "rank {}: {}\n", rank.index, what);
  }
  void abort(std::string why) override {
    fmt::print(stderr, "{}\n", why);
    _exit(1);
  }
};

void check_ended_well(const std::vector<shm::RankFailure>& failures) {
  for (const shm::RankFailure& failure : failures) {
    fmt::print(stderr, "bench_shm: {}\n", failure.to_text());
  }
  if (!failures.empty()) std::exit(1);
}

char* buffer(int fill) {
  void* const memory = std::aligned_alloc(4096, largest);  // as its peer does
  std::memset(memory, fill, largest);
  return static_cast<char*>(memory);
}

using MakeSide = std::function<void(std::uint32_t rank, shm::ShmFabric& fabric, WaitSet& wait_set,
                                    Endpoint& endpoint, const std::function<void(Side&)>& use)>;

Table measure_ours(const MakeSide& make) {
  void* const shared =
      mmap(nullptr, sizeof(Table), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto* const table = new (shared) Table;
  shm::LaunchSettings settings;
  settings.sizes = sizes_of_region;
  settings.bind = true;
  settings.limit = Duration::seconds(300);
  check_ended_well(shm::run_shm_processes(
      2,
      [&](std::uint32_t rank, const std::shared_ptr<shm::Region>& region) {
        const ThreadClock clock(1.0);
        shm::ShmFabric fabric(region, clock, {});
        const auto wait_set = fabric.make_wait_set();
        const auto endpoint = fabric.open({}, *wait_set);
        region->announce(rank, endpoint->address());
        char* const out = buffer(1);
        char* const in = buffer(2);
        make(rank, fabric, *wait_set, *endpoint, [&](Side& side) {
          for (std::size_t i = 0; i < sizes; ++i) {
            const Figures figures = measure(side, rank, size_at(i), out, in);
            if (rank == 0) (*table)[i] = figures;
          }
        });
      },
      settings));
  const Table measured = *table;
  munmap(shared, sizeof(Table));
  return measured;
}

void with_fabric(std::uint32_t rank, shm::ShmFabric& fabric, WaitSet& wait_set, Endpoint& endpoint,
                 const std::function<void(Side&)>& use) {
  FabricSide side(endpoint, wait_set,
                  fabric.region().address_of(1 - rank, Duration::seconds(30)).value());
  use(side);
}

MakeSide with_engine(const Route& route) {
  return [&route](std::uint32_t rank, shm::ShmFabric& fabric, WaitSet& wait_set, Endpoint& endpoint,
                  const std::function<void(Side&)>& use) {
    const ThreadClock clock(1.0);
    ThreadExecutor executor(clock);
    IdleProcessor processor;
    const RegionDirectory directory(fabric.region());
    const UniformChooser chooser(route);
    LoudWatch watch;
    mpi::ProcessOptions options;
    options.check_packets = false;  // Open MPI does not check them either
    options.credits = 16'384;
    mpi::Process process({executor, processor, wait_set, endpoint, directory, chooser, watch},
                         RankId{rank}, 2, options);
    EngineSide side(process.world(), static_cast<mpi::Rank>(1 - rank));
    use(side);
    process.finish();
  };
}

/// None if Open MPI is not here.
std::optional<Table> measure_open_mpi(const std::string& program, const std::string& single_copy) {
  const std::string command = fmt::format(
      "mpirun -n 2 --allow-run-as-root --mca btl self,vader --mca btl_vader_single_copy_mechanism "
      "{} {} {} {} 2>/dev/null",
      single_copy, program, smallest, largest);
  FILE* const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return std::nullopt;
  Table table;
  std::size_t lines = 0;
  unsigned long size = 0;
  Figures figures;
  while (lines < sizes &&
         std::fscanf(pipe, "%lu %lf %lf", &size, &figures.latency, &figures.bandwidth) == 3) {
    if (size == size_at(lines)) table[lines++] = figures;
  }
  if (pclose(pipe) != 0 || lines != sizes) return std::nullopt;
  return table;
}

void keep_better(Table& best, const Table& other) {
  for (std::size_t i = 0; i < sizes; ++i) best[i].keep_better(other[i]);
}

int run(int repetitions) {
  Table fabric;
  Table engine;
  Table single;
  Table twice;
  bool has_peer = true;
  for (int i = 0; i < repetitions && has_peer; ++i) {
    // Each time: on a virtual machine the processors may be elsewhere by then, and what two of them
    // share with it.
    const shm::Calibration calibration = shm::calibrate(sizes_of_region);
    fmt::print("{}", i == 0 ? calibration.to_text() : calibration.route_to_text());
    keep_better(fabric, measure_ours(with_fabric));
    for (const auto& [mechanism, best] : {std::pair{"cma", &single}, {"none", &twice}}) {
      keep_better(engine, measure_ours(with_engine(calibration.route)));
      const auto peer = measure_open_mpi(FERRY_OPENMPI_PROGRAM, mechanism);
      has_peer = has_peer && peer;
      if (peer) keep_better(*best, *peer);
    }
  }
  if (!has_peer) {
    fmt::print("skipped: mpirun does not run here (Debian: openmpi-bin)\n");
    return 0;
  }
  fmt::print("{:>8}  {:>8} {:>8} {:>8} {:>8} {:>6}   {:>8} {:>8} {:>8} {:>8} {:>6}\n", "bytes",
             "fabric", "engine", "OMPI cma", "none", "ratio", "fabric", "engine", "OMPI cma",
             "none", "ratio");
  fmt::print("{:>8}  {:^42}   {:^42}\n", "", "latency, us", "bandwidth, MB/s");
  double worst_latency = 0;
  double worst_bandwidth = 1e9;
  for (std::size_t i = 0; i < sizes; ++i) {
    Figures peer = single[i];
    peer.keep_better(twice[i]);
    const double latency_ratio = engine[i].latency / peer.latency;
    const double bandwidth_ratio = engine[i].bandwidth / peer.bandwidth;
    worst_latency = std::max(worst_latency, latency_ratio);
    worst_bandwidth = std::min(worst_bandwidth, bandwidth_ratio);
    fmt::print(
        "{:>8}  {:8.2f} {:8.2f} {:8.2f} {:8.2f} {:6.2f}   {:8.0f} {:8.0f} {:8.0f} {:8.0f} "
        "{:6.2f}\n",
        size_at(i), fabric[i].latency * 1e6, engine[i].latency * 1e6, single[i].latency * 1e6,
        twice[i].latency * 1e6, latency_ratio, fabric[i].bandwidth / 1e6, engine[i].bandwidth / 1e6,
        single[i].bandwidth / 1e6, twice[i].bandwidth / 1e6, bandwidth_ratio);
    bench::report(fmt::format("shm latency {} B", size_at(i)), engine[i].latency, peer.latency,
                  "s");
    bench::report(fmt::format("shm bandwidth {} B", size_at(i)), engine[i].bandwidth,
                  peer.bandwidth, "B/s", false);
  }
  fmt::print("worst: latency {:.2f} (at most 1.2), bandwidth {:.2f} (at least 0.9) of Open MPI's\n",
             worst_latency, worst_bandwidth);
  return 0;
}

}  // namespace
}  // namespace ferry

int main(int argc, char** argv) { return ferry::run(argc > 1 ? std::atoi(argv[1]) : 3); }
