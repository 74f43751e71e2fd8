// One of two rank processes that measure the verbs channel as perftest's ib_send_lat and
// ib_write_bw measure the device. Usage: verbs_speed RANK ADDRESS0 ADDRESS1 latency BYTES ROUNDS,
// or bandwidth; `sleeping` or `polling` behind it: waits sleep at once, or look for as long as the
// slowest message takes. Rank 0 prints the figure and what a message took of the device.
#include <algorithm>
#include <chrono>
#include <cstring>

#include "tests/verbs/verbs_end.hpp"

namespace ferry::verbs {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t warm_up = 100;
constexpr std::size_t under_way = 16;

double seconds_since(steady_clock::time_point start) {
  return std::chrono::duration<double>(steady_clock::now() - start).count();
}

/// What perftest looks at, too: where machines are emulated, the system's clock may be a device,
/// which costs as much as a message does.
std::uint64_t ticks() {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  return static_cast<std::uint64_t>(steady_clock::now().time_since_epoch().count());
#endif
}

/// As the MPI engine's of messages of one kind.
PacketHeader header_of(std::uint32_t rank, std::size_t number, std::size_t size) {
  PacketHeader header;
  header.source = rank;
  header.sequence = number;
  header.credits = static_cast<std::uint32_t>(number);
  header.size = size;
  header.checksum = number * 0x9e37'79b9'7f4a'7c15;
  return header;
}

struct Settings {
  std::uint32_t rank = 0;
  std::size_t size = 0;
  std::size_t rounds = 0;
  LookLimits looks;
};

void tell(const VerbsCounts& before, const VerbsCounts& after, double messages) {
  const auto each = [&](std::uint64_t VerbsCounts::*count) {
    return static_cast<double>(after.*count - before.*count) / messages;
  };
  fmt::print(
      "each of them: send doorbells {:.2f}, receive doorbells {:.2f}, completions {:.2f}, "
      "notifications asked {:.2f}, words {:.2f}, without head {:.2f}\n",
      each(&VerbsCounts::send_doorbells), each(&VerbsCounts::receive_doorbells),
      each(&VerbsCounts::completions), each(&VerbsCounts::notifications_asked),
      each(&VerbsCounts::credit_messages), each(&VerbsCounts::packets_without_head));
}

/// Half a round trip, the median; each side sends one message and receives one in a round.
void measure_latency(VerbsEnd& end, const Settings& with) {
  const std::vector<std::byte> body(with.size);
  const ConstSlice out{body.data(), body.size()};
  std::vector<std::uint64_t> at;
  at.reserve(with.rounds + 1);
  VerbsCounts before;
  steady_clock::time_point start;
  for (std::size_t i = 0; i < warm_up + with.rounds; ++i) {
    if (i == warm_up) {
      before = end.end->counts();
      start = steady_clock::now();
    }
    if (i >= warm_up) at.push_back(ticks());
    if (with.rank == 0) {
      end.post(1, header_of(0, i, with.size), out);
      static_cast<void>(end.receive(true));
    } else {
      static_cast<void>(end.receive(true));
      end.post(0, header_of(1, i, with.size), out);
    }
  }
  at.push_back(ticks());
  if (with.rank != 0) return;
  const double microseconds_a_tick =
      seconds_since(start) * 1e6 / static_cast<double>(at.back() - at.front());
  std::vector<double> halves;
  for (std::size_t i = 0; i < with.rounds; ++i) {
    halves.push_back(static_cast<double>(at[i + 1] - at[i]) * microseconds_a_tick / 2);
  }
  std::ranges::sort(halves);
  fmt::print("latency {} B: quickest {:.2f} us, median {:.2f} us\n", with.size, halves[0],
             halves[halves.size() / 2]);
  tell(before, end.end->counts(), static_cast<double>(with.rounds));
}

void tell_bandwidth(VerbsEnd& end, const Settings& with, const VerbsCounts& before,
                    steady_clock::time_point start) {
  const double seconds = seconds_since(start);
  fmt::print("bandwidth {} B: {:.3f} MB/s\n", with.size,
             static_cast<double>(with.size * with.rounds) / seconds / 1e6);
  tell(before, end.end->counts(), static_cast<double>(with.rounds));
}

/// Rank 1 sends packets, as it does of small messages.
void measure_packets(VerbsEnd& end, const Settings& with) {
  const std::vector<std::byte> body(with.size);
  VerbsCounts before;
  steady_clock::time_point start;
  for (std::size_t i = 0; i < warm_up + with.rounds; ++i) {
    if (i == warm_up) {
      before = end.end->counts();
      start = steady_clock::now();
    }
    if (with.rank == 1) {
      end.post(0, header_of(1, i, with.size), {body.data(), body.size()});
    } else {
      static_cast<void>(end.receive(true));
    }
  }
  if (with.rank == 0) tell_bandwidth(end, with, before, start);
}

/// Rank 0 reads the memory of rank 1, as it does for large messages.
void measure_reads(VerbsEnd& end, const Settings& with) {
  std::vector<std::byte> memory(with.size);
  if (with.rank == 1) {
    const ConstSlice all{memory.data(), memory.size()};
    PacketHeader header;
    header.key = end.end->expose(Channel::sriov, {&all, 1}).value;
    for (std::size_t i = 0; i < under_way; ++i) end.post(0, header);
    static_cast<void>(end.receive());
    return;
  }
  MemoryKey key;
  for (std::size_t i = 0; i < under_way; ++i) key.value = end.receive().header.key;
  const Slice into{memory.data(), memory.size()};
  const auto read = [&] {
    end.end->read(EndpointAddress{1}, Channel::sriov, key, 0, {&into, 1}, 1);
  };
  const auto await = [&] {
    if (end.receive().kind != Arrival::Kind::read_done) give_up("a read failed");
  };
  for (std::size_t i = 0; i < under_way; ++i) {
    read();
    await();
  }
  const VerbsCounts before = end.end->counts();
  const auto start = steady_clock::now();
  for (std::size_t i = 0; i < with.rounds + under_way; ++i) {
    if (i < with.rounds) read();
    if (i >= under_way) await();
  }
  tell_bandwidth(end, with, before, start);
  end.post(1, {});
}

void measure_bandwidth(VerbsEnd& end, const Settings& with) {
  const bool small = with.size <= end.end->largest_body(Channel::sriov);
  small ? measure_packets(end, with) : measure_reads(end, with);
}

void run(std::vector<std::string> addresses, const std::string& what, const Settings& with) {
  VerbsEnd end(with.rank, std::move(addresses), {}, with.looks);
  what == "latency" ? measure_latency(end, with) : measure_bandwidth(end, with);
  // Nobody leaves while the other still needs it.
  end.post(1 - with.rank, {});
  static_cast<void>(end.receive());
}

}  // namespace
}  // namespace ferry::verbs

int main(int argc, char** argv) {
  using namespace ferry::verbs;
  using ferry::Duration;
  const std::string waits = argc == 8 ? argv[7] : "";
  if (argc != 7 && waits != "sleeping" && waits != "polling") {
    give_up(
        "usage: verbs_speed RANK ADDRESS0 ADDRESS1 latency|bandwidth BYTES ROUNDS "
        "[sleeping|polling]");
  }
  ferry::LookLimits looks;
  if (waits == "sleeping") looks = {Duration::zero(), Duration::zero()};
  if (waits == "polling") looks = {Duration::milliseconds(100), Duration::milliseconds(100)};
  run({argv[2], argv[3]}, argv[4],
      {.rank = static_cast<std::uint32_t>(std::atoi(argv[1])),
       .size = static_cast<std::size_t>(std::atol(argv[5])),
       .rounds = static_cast<std::size_t>(std::atol(argv[6])),
       .looks = looks});
  return 0;
}
