#include "hw_backend/ranks/rank_places.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <map>
#include <utility>

#include "core/units/check.hpp"
#include "hw_backend/ranks/machine_address.hpp"
#include "hw_backend/shm/memory_reading.hpp"

namespace ferry::ranks {
namespace {

std::string first_line(const char* file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  return line;
}

/// Number of a file's object: the same for processes that mean the same thing by it.
std::string object_of(const char* path) {
  struct stat facts {};
  if (stat(path, &facts) != 0) return "none";
  return fmt::format("{:x}.{:x}", facts.st_dev, facts.st_ino);
}

/// Names for numbers, by first use.
class Numbers {
 public:
  std::uint32_t of(const std::string& name) {
    return numbers_.emplace(name, static_cast<std::uint32_t>(numbers_.size())).first->second;
  }

 private:
  std::map<std::string, std::uint32_t> numbers_;
};

}  // namespace

Whereabouts look_around() {
  const std::string kernel = first_line("/proc/sys/kernel/random/boot_id");
  Whereabouts here;
  here.machine = machine_name();
  here.memory = fmt::format("{}.{}.{}", kernel, object_of("/dev/shm"), geteuid());
  here.processes = fmt::format("{}.{}", kernel, object_of("/proc/self/ns/pid"));
  shm::let_others_read_this_process();
  here.reads = shm::processes_can_read_each_other();
  return here;
}

std::string to_text(const Whereabouts& whereabouts) {
  return fmt::format("{} {} {} {} {}{} {} {}", whereabouts.machine, whereabouts.memory,
                     whereabouts.processes, whereabouts.host.empty() ? "-" : whereabouts.host,
                     whereabouts.reads ? 'r' : '-', whereabouts.device ? 'd' : '-',
                     whereabouts.ivshmem.count(),
                     whereabouts.bootstrap.empty() ? "-" : whereabouts.bootstrap);
}

std::optional<Whereabouts> parse_whereabouts(std::string_view text) {
  std::array<std::string, 7> words;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::size_t end = text.find(' ');
    if ((end == std::string_view::npos) != (i + 1 == words.size())) return std::nullopt;
    words[i] = text.substr(0, end);
    if (words[i].empty()) return std::nullopt;
    if (end != std::string_view::npos) text.remove_prefix(end + 1);
  }
  const std::string& flags = words[4];
  if (flags.size() != 2) return std::nullopt;
  std::uint64_t size = 0;
  const char* const end = words[5].data() + words[5].size();
  const auto [stopped, error] = std::from_chars(words[5].data(), end, size);
  if (error != std::errc() || stopped != end) return std::nullopt;
  return Whereabouts{
      words[0],        words[1],        words[2],    words[3] == "-" ? "" : words[3],
      flags[0] == 'r', flags[1] == 'd', Bytes(size), words[6] == "-" ? "" : words[6]};
}

ChannelProfiles usable_profiles(const ChannelProfiles& profiles,
                                const std::vector<Whereabouts>& ranks, const PacketLimits& limits) {
  bool reads = true;
  std::map<std::string, std::string> processes;  // by memory
  for (const Whereabouts& rank : ranks) {
    reads = reads && rank.reads &&
            processes.emplace(rank.memory, rank.processes).first->second == rank.processes;
  }
  ChannelProfiles usable;
  for (const Channel channel : all_channels) {
    if (channel == Channel::cma && !reads) continue;
    for (const bool same_socket : {false, true}) {
      if (const TransportProfile* const profile = profiles.find(channel, same_socket)) {
        TransportProfile limited = *profile;
        const bool in_memory = channel == Channel::shm || channel == Channel::cma;
        if (channel != Channel::ivshmem) {  // the policy knows the device's
          limited.largest_packet =
              std::min(limited.largest_packet, in_memory ? limits.memory : limits.adapter);
        }
        usable.set(channel, same_socket, std::move(limited));
      }
    }
  }
  return usable;
}

RankPlaces::RankPlaces(const std::vector<Whereabouts>& ranks, const ChannelPolicy& policy,
                       const ChannelProfiles& profiles)
    : table_(policy, profiles), places_(ranks.size()) {
  Numbers memories;
  for (std::uint32_t i = 0; i < ranks.size(); ++i) {
    const Whereabouts& rank = ranks[i];
    const std::uint32_t memory = memories.of(rank.memory);
    check(memory < 0xffff, "a job is on fewer than 65,535 machines");
    store(RankId{i}, {.host = number_of(rank.host.empty() ? "memory " + rank.memory : rank.host),
                      .memory = static_cast<std::uint16_t>(memory),
                      .ivshmem = rank.ivshmem > Bytes(),
                      .device = rank.device});
  }
}

std::uint32_t RankPlaces::number_of(const std::string& host) {
  return hosts_.emplace(host, static_cast<std::uint32_t>(hosts_.size())).first->second;
}

RankPlaces::Place RankPlaces::place(RankId rank) const {
  const std::uint64_t word = places_[rank.index].load(std::memory_order_acquire);
  return {.host = static_cast<std::uint32_t>(word >> 32U),
          .memory = static_cast<std::uint16_t>(word >> 16U),
          .ivshmem = (word & 1U) != 0,
          .device = (word & 2U) != 0};
}

void RankPlaces::store(RankId rank, Place place) {
  places_[rank.index].store(std::uint64_t{place.host} << 32U | std::uint64_t{place.memory} << 16U |
                                (place.device ? 2U : 0U) | (place.ivshmem ? 1U : 0U),
                            std::memory_order_release);
}

bool RankPlaces::share_memory(RankId a, RankId b) const {
  return place(a).memory == place(b).memory;
}

PairClass RankPlaces::class_of(RankId from, RankId to) const {
  const Place a = place(from);
  const Place b = place(to);
  PairClass pairs;
  // Sockets: ranks do not say on which they are, and the operating system moves them about.
  pairs.same_socket = true;
  pairs.nearness = a.memory == b.memory ? Nearness::same_container
                   : a.host == b.host   ? Nearness::same_host
                                        : Nearness::other_host;
  pairs.ivshmem = a.ivshmem && b.ivshmem;
  pairs.virtual_functions = a.device && b.device;
  return pairs;
}

const Route& RankPlaces::route(RankId from, RankId to) const {
  return table_.of(class_of(from, to)).route;
}

std::vector<RankId> RankPlaces::sharing_memory(RankId rank) const {
  std::vector<RankId> ranks;
  for (std::uint32_t i = 0; i < places_.size(); ++i) {
    if (share_memory(rank, RankId{i})) ranks.push_back(RankId{i});
  }
  return ranks;
}

std::vector<std::uint32_t> RankPlaces::hosts() const {
  std::vector<std::uint32_t> hosts;
  for (std::uint32_t i = 0; i < places_.size(); ++i) hosts.push_back(place(RankId{i}).host);
  return hosts;
}

void RankPlaces::moved(const std::vector<RankId>& ranks, const std::string& host, bool ivshmem,
                       bool device) {
  const std::uint32_t number = number_of(host);
  for (const RankId rank : ranks) {
    Place changed = place(rank);
    changed.host = number;
    changed.ivshmem = ivshmem;
    changed.device = device;
    store(rank, changed);
  }
  generation_.fetch_add(1, std::memory_order_acq_rel);
}

}  // namespace ferry::ranks
