// One of two rank processes that go through what happens to a verbs connection: packets, reads,
// queue pairs that break, a device that goes and comes back under another name. Everything that
// arrives is checked. Usage: verbs_pair RANK ADDRESS0 ADDRESS1 [--renew COMMAND]; COMMAND is run by
// rank 1 while its device is closed.
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <span>
#include <thread>

#include "tests/verbs/verbs_end.hpp"

namespace ferry::verbs {
namespace {

std::vector<std::byte> pattern(std::size_t size, std::size_t seed) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>((i * 31 + i / 256 + seed * 7) & 0xffU);
  }
  return bytes;
}

/// From now on this process is held to its limit of locked memory, which is none as yet, as if root
/// had not started it. Threads that it has already are not.
void be_held_to_locked_memory() {
  const rlimit all{RLIM_INFINITY, RLIM_INFINITY};
  if (setrlimit(RLIMIT_MEMLOCK, &all) != 0) give_up("the limit of locked memory cannot be raised");
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> sets{};
  if (syscall(SYS_capget, &header, sets.data()) != 0) give_up("capget failed");
  sets[0].effective &= ~(1U << CAP_IPC_LOCK);
  if (syscall(SYS_capset, &header, sets.data()) != 0) give_up("capset failed");
}

/// While it lives, nothing more can be locked in memory.
class NoLockedMemory {
 public:
  NoLockedMemory() { limit(0); }
  ~NoLockedMemory() { limit(RLIM_INFINITY); }
  NoLockedMemory(const NoLockedMemory&) = delete;
  NoLockedMemory& operator=(const NoLockedMemory&) = delete;

 private:
  static void limit(rlim_t bytes) {
    const rlimit limit{bytes, RLIM_INFINITY};
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) give_up("setrlimit failed");
  }
};

/// Not of malloc, whose memory may have been registered before.
struct NewMemory {
  explicit NewMemory(std::size_t size) {
    void* const made =
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED) give_up("there is no memory");
    bytes = {static_cast<std::byte*>(made), size};
  }
  ~NewMemory() { munmap(bytes.data(), bytes.size()); }
  NewMemory(const NewMemory&) = delete;
  NewMemory& operator=(const NewMemory&) = delete;
  std::span<std::byte> bytes;
};

class Pair {
 public:
  Pair(std::uint32_t rank, std::vector<std::string> addresses)
      : rank_(rank), end_(rank, std::move(addresses), {}) {}

  void done(const char* step) {
    fmt::print("rank {}: {}\n", rank_, step);
    std::fflush(stdout);
  }

  /// Packet `number` of the program, with a body that it makes. Some have another tag than the one
  /// before, so that heads are expected and are not.
  static PacketHeader header_of(std::size_t number, std::size_t size) {
    PacketHeader header;
    header.sequence = number;
    header.tag = static_cast<std::int32_t>(number / 7);
    header.size = size;
    header.checksum = ~std::uint64_t{number} * 0x9e37'79b9'7f4a'7c15;
    return header;
  }
  void send(std::size_t number) {
    const std::vector<std::byte> body = pattern(number * 97 % 8000, number);
    end_.post(1 - rank_, header_of(number, body.size()), {body.data(), body.size()});
  }
  void expect(std::size_t number) { check_packet(end_.receive(), number); }
  void check_packet(const Arrival& got, std::size_t number) const {
    const std::vector<std::byte> body = pattern(number * 97 % 8000, number);
    PacketHeader header = header_of(number, body.size());
    header.checksum &= got.checksum_bits;
    if (got.kind != Arrival::Kind::packet ||
        std::memcmp(&got.header, &header, sizeof header) != 0 ||
        !std::ranges::equal(got.body, body)) {
      give_up(fmt::format("rank {} expected packet {} and got {} of {} bytes, kind {}", rank_,
                          number, got.header.sequence, got.body_size, static_cast<int>(got.kind)));
    }
  }
  /// Both send so many and expect as many, a few ahead of each other.
  void exchange(std::size_t count, std::size_t ahead) {
    for (std::size_t i = 0; i < count + ahead; ++i) {
      if (i < count) send(sent_++);
      if (i >= ahead) expect(received_++);
    }
  }

  void must_have_saved_heads() {
    const VerbsCounts counts = end_.end->counts();
    if (counts.packets_without_head < counts.packets_posted / 3) {
      give_up(fmt::format("only {} of {} packets went without their heads",
                          counts.packets_without_head, counts.packets_posted));
    }
  }

  /// How it ended; packets may come meanwhile, as the other is ahead.
  Arrival::Kind read(std::uint64_t key, std::span<std::byte> into) {
    const Slice slice{into.data(), into.size()};
    end_.end->read(EndpointAddress{1 - rank_}, Channel::sriov, MemoryKey{key}, 0, {&slice, 1}, 5);
    for (;;) {
      const Arrival& got = end_.receive();
      if (got.kind != Arrival::Kind::packet) {
        if (got.cookie != 5) give_up("a read has another cookie");
        return got.kind;
      }
      check_packet(got, received_++);
      ++early_;
    }
  }
  /// Each waits for the other.
  void meet() {
    send(sent_++);
    early_ != 0 ? static_cast<void>(--early_) : expect(received_++);
  }

  void read_each_other() {
    const std::vector<std::byte> memory = pattern(1'500'000, rank_);
    const ConstSlice all{memory.data(), memory.size()};
    const MemoryKey key = end_.end->expose(Channel::sriov, {&all, 1});
    PacketHeader header;
    header.key = key.value;
    end_.post(1 - rank_, header);
    const std::uint64_t theirs = end_.receive().header.key;
    std::vector<std::byte> into(memory.size());
    for (const int round : {0, 1}) {
      std::ranges::fill(into, static_cast<std::byte>(round));
      if (read(theirs, into) != Arrival::Kind::read_done) give_up("a read failed");
      if (into != pattern(into.size(), 1 - rank_)) give_up("a read brought other bytes");
    }
    meet();  // the other has read
    end_.end->withdraw(key);
    meet();
    for (int round = 0; round < 2; ++round) {  // it was known before, then it is looked up
      if (read(theirs, into) != Arrival::Kind::read_failed) give_up("withdrawn memory was read");
    }
    meet();
  }

  /// What cannot be registered has no key; what is read arrives there all the same.
  void read_into_memory_that_cannot_be_registered() {
    const std::vector<std::byte> memory = pattern(1'500'000, rank_);
    const ConstSlice all{memory.data(), memory.size()};
    const MemoryKey key = end_.end->expose(Channel::sriov, {&all, 1});
    if (key.value == 0) give_up("memory could not be registered");
    std::vector<ConstSlice> pieces;
    for (std::size_t at = 0; at < memory.size(); at += 2000) {
      pieces.push_back({memory.data() + at, std::min<std::size_t>(2000, memory.size() - at)});
    }
    const MemoryKey in_pieces = end_.end->expose(Channel::sriov, pieces);
    PacketHeader header;
    header.key = key.value;
    header.more = in_pieces.value;
    end_.post(1 - rank_, header);
    const PacketHeader theirs = end_.receive().header;
    {
      const NoLockedMemory more_than_now;
      const NewMemory other(300'000);
      const ConstSlice slice{other.bytes.data(), other.bytes.size()};
      if (end_.end->expose(Channel::sriov, {&slice, 1}).value != 0) {
        give_up("memory was registered beyond the limit");
      }
      for (const std::uint64_t from : {theirs.key, theirs.more}) {
        const NewMemory into(memory.size());
        if (read(from, into.bytes) != Arrival::Kind::read_done) give_up("a read failed");
        if (!std::ranges::equal(into.bytes, pattern(memory.size(), 1 - rank_))) {
          give_up("a read brought other bytes");
        }
      }
    }
    if (end_.end->counts().registrations_refused < 3) give_up("registrations were not refused");
    if (end_.end->refused_registration().find("memlock") == std::string::npos) {
      give_up("what was refused does not name memlock: " + end_.end->refused_registration());
    }
    meet();  // the other has read
    end_.end->withdraw(key);
    end_.end->withdraw(in_pieces);
    meet();
  }

  void break_links() {
    for (int round = 0; round < 6; ++round) {
      if (round % 3 != 2) {
        exchange(40, 5);
        if (round % 2 == static_cast<int>(rank_)) {
          end_.end->break_connection(EndpointAddress{1 - rank_}, Channel::sriov);
        }
      } else {
        // In the midst of packets that are under way.
        for (int i = 0; i < 30; ++i) send(sent_++);
        end_.end->break_connection(EndpointAddress{1 - rank_}, Channel::sriov);
        for (int i = 0; i < 30; ++i) expect(received_++);
      }
    }
    exchange(10, 0);
    if (end_.end->counts().connections_broken == 0) give_up("no connection broke");
  }

  /// The other one goes on sending meanwhile.
  void lose_device(const std::string& command) {
    exchange(10, 3);
    const std::string before = end_.end->device_name();
    for (int i = 0; i < 20; ++i) send(sent_++);
    if (rank_ == 1) {
      end_.end->close_device();
      if (end_.end->device_is_open()) give_up("the device is still open");
      send(sent_++);  // waits
      if (!command.empty() && std::system(command.c_str()) != 0) give_up(command + " failed");
      end_.open();
      if (!command.empty() && end_.end->device_name() == before) give_up("its name is the same");
    } else {
      send(sent_++);
    }
    for (int i = 0; i < 21; ++i) expect(received_++);
    exchange(50, 5);
    read_each_other();
  }

  /// Rank 0 last: what it still says finds nobody.
  void leave() {
    exchange(1, 0);
    if (rank_ == 0) std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }

 private:
  std::uint32_t rank_;
  VerbsEnd end_;
  std::size_t sent_ = 0;
  std::size_t received_ = 0;
  std::size_t early_ = 0;  ///< packets of a meeting that have come before it
};

int run(std::uint32_t rank, const std::vector<std::string>& addresses, const std::string& command) {
  be_held_to_locked_memory();
  Pair pair(rank, addresses);
  pair.exchange(500, 20);
  pair.must_have_saved_heads();
  pair.done("packets");
  pair.read_each_other();
  pair.done("reads");
  pair.read_into_memory_that_cannot_be_registered();
  pair.done("unregistered memory");
  pair.break_links();
  pair.done("broken links");
  pair.lose_device("");
  pair.done("device closed and opened");
  pair.lose_device(command);
  pair.done("device renewed");
  pair.leave();
  pair.done("all well");
  return 0;
}

}  // namespace
}  // namespace ferry::verbs

int main(int argc, char** argv) {
  const std::string command = argc == 6 && std::string(argv[4]) == "--renew" ? argv[5] : "";
  if (argc != 4 && command.empty()) {
    ferry::verbs::give_up("usage: verbs_pair RANK ADDRESS0 ADDRESS1 [--renew COMMAND]");
  }
  return ferry::verbs::run(static_cast<std::uint32_t>(std::atoi(argv[1])), {argv[2], argv[3]},
                           command);
}
