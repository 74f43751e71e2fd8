#include "core/channel/coordinator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "core/channel/costs.hpp"
#include "core/scenario/limits.hpp"
#include "core/units/check.hpp"

namespace ferry {
namespace {

constexpr Bytes least_packet = Bytes::kibi(1);

std::string_view word_of(ChannelMode mode) {
  switch (mode) {
    case ChannelMode::isolated: return "default";
    case ChannelMode::one_layer: return "one_layer";
    case ChannelMode::two_layer: return "two_layer";
    case ChannelMode::hybrid: return "hybrid";
  }
  return "?";
}

std::string_view word_of(ChannelDevice device) {
  switch (device) {
    case ChannelDevice::sriov: return "sriov";
    case ChannelDevice::passthrough: return "passthrough";
    case ChannelDevice::native: return "native";
  }
  return "?";
}

ChannelDevice device_of(Channel channel) {
  switch (channel) {
    case Channel::passthrough: return ChannelDevice::passthrough;
    case Channel::native: return ChannelDevice::native;
    default: return ChannelDevice::sriov;
  }
}

/// Decides for one class.
class Coordinator {
 public:
  Coordinator(const PairClass& pairs, const ChannelPolicy& policy, const ChannelProfiles& profiles)
      : policy_(policy), profiles_(profiles) {
    out_.pairs = pairs;
  }

  Decision run() {
    for (const Channel channel : all_channels) refusal(channel) = lacking(channel);
    choose_channels();
    if (packet_channels_.empty()) {
      out_.route = Route(unreachable());
      return std::move(out_);
    }
    add_candidates();
    out_.route = Route(ranges());
    return std::move(out_);
  }

 private:
  std::string& refusal(Channel channel) { return out_.refusals[static_cast<std::size_t>(channel)]; }
  [[nodiscard]] const TransportProfile* profile(Channel channel) const {
    return profiles_.find(channel, out_.pairs.same_socket);
  }

  /// Why `channel` cannot join these ranks at all; empty if it can.
  [[nodiscard]] std::string lacking(Channel channel) const {
    const Nearness nearness = out_.pairs.nearness;
    const bool one_vm = nearness <= Nearness::same_vm;
    const bool one_host = nearness <= Nearness::same_host;
    switch (channel) {
      case Channel::shm:
      case Channel::cma:
        if (!one_vm) return one_host ? "the ranks are in two VMs" : "the ranks are on two hosts";
        break;
      case Channel::ivshmem:
        if (!one_host) return "the ranks are on two hosts";
        if (!out_.pairs.ivshmem) {
          return one_vm ? "the VM has no IVShmem device" : "not both VMs have an IVShmem device";
        }
        if (policy_.ivshmem_part == Bytes()) return "the job has no IVShmem region";
        break;
      case Channel::sriov:
      case Channel::sriov_loopback:
      case Channel::passthrough:
      case Channel::native:
        if (device_of(channel) != policy_.device) {
          return fmt::format("the job's device is {}", word_of(policy_.device));
        }
        if (channel == Channel::sriov && one_host) return "the ranks are on one host";
        if (channel == Channel::sriov_loopback && !one_host) return "the ranks are on two hosts";
        if (policy_.device == ChannelDevice::sriov && !out_.pairs.virtual_functions) {
          return one_vm ? "the VM has no virtual function" : "not both VMs have a virtual function";
        }
        break;
    }
    if (profile(channel) == nullptr) return "nothing says what it costs here";
    if (channel == Channel::cma && !profile(channel)->reads) {
      return "it carries no packets, and nobody reads by it here (reads: false)";
    }
    if (channel == Channel::ivshmem && packet_of(channel) < least_packet) {
      return fmt::format("a rank's part of the job's region, {}, is too small for packets of {}",
                         to_text(policy_.ivshmem_part), to_text(least_packet));
    }
    return "";
  }

  [[nodiscard]] Bytes packet_of(Channel channel) const {
    const Bytes packet = profile(channel)->largest_packet;
    if (channel != Channel::ivshmem) return packet;
    return std::min(packet, Bytes(policy_.ivshmem_part.count() / 4));
  }

  [[nodiscard]] Channel device_channel() const {
    switch (policy_.device) {
      case ChannelDevice::sriov: break;
      case ChannelDevice::passthrough: return Channel::passthrough;
      case ChannelDevice::native: return Channel::native;
    }
    return out_.pairs.nearness == Nearness::other_host ? Channel::sriov : Channel::sriov_loopback;
  }

  bool takes(Channel channel) {
    if (!refusal(channel).empty()) return false;
    packet_channels_.push_back(channel);
    return true;
  }
  /// `channel` could, and the rules do without it.
  void leave(Channel channel, std::string reason) {
    if (refusal(channel).empty()) refusal(channel) = std::move(reason);
  }

  void choose_channels() {
    const Nearness nearness = out_.pairs.nearness;
    const Channel device = device_channel();
    const std::string mode = fmt::format("mode {}", word_of(policy_.mode));
    const bool sees_memory =
        nearness == Nearness::same_container ||
        (nearness == Nearness::same_vm && policy_.mode != ChannelMode::isolated);
    if (nearness == Nearness::same_vm && !sees_memory) {
      for (const Channel channel : {Channel::shm, Channel::cma, Channel::ivshmem}) {
        leave(channel, mode + " does not see that both containers are in one VM");
      }
    }
    if (nearness == Nearness::same_host && policy_.mode < ChannelMode::two_layer) {
      leave(Channel::ivshmem, mode + " does not see that both VMs are on one host");
    }
    if (sees_memory && takes(Channel::shm)) {
      reads_by_cma_ = refusal(Channel::cma).empty();
      leave(Channel::ivshmem, "the ranks share memory in their VM");
      leave(device, "the ranks share memory in their VM");
      return;
    }
    leave(Channel::cma, "it carries no packets, and there is no shm beside it");
    if (takes(Channel::ivshmem)) {
      const bool competes = nearness == Nearness::same_host &&
                            policy_.mode == ChannelMode::hybrid && !out_.pairs.same_socket;
      if (competes) {
        takes(device);
      } else {
        leave(device, policy_.mode == ChannelMode::hybrid
                          ? "on one socket IVShmem does without the adapter"
                          : mode + " uses the adapter only where IVShmem is missing");
      }
      return;
    }
    takes(device);
  }

  [[nodiscard]] std::string unreachable() const {
    std::string text;
    for (const Channel channel : all_channels) {
      text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", to_name(channel),
                          out_.refusals[static_cast<std::size_t>(channel)]);
    }
    return text;
  }

  struct Threshold {
    std::size_t size;
    std::string source;
  };
  /// Of messages whose data go by `channel`.
  [[nodiscard]] std::optional<Threshold> threshold_of(Channel channel) const {
    if (policy_.eager_threshold) {
      return Threshold{policy_.eager_threshold->count(), "the job's eager_threshold"};
    }
    const Bytes bytes = policy_.eager_thresholds[static_cast<std::size_t>(channel)];
    if (bytes == Bytes()) return std::nullopt;
    return Threshold{bytes.count(),
                     fmt::format("the platform's mpi.eager_thresholds.{}", to_name(channel))};
  }

  void add_candidates() {
    const auto for_nothing = [&](Channel channel) {
      return packet_time(*profile(channel), Bytes());
    };
    const Channel control =
        *std::min_element(packet_channels_.begin(), packet_channels_.end(),
                          [&](Channel a, Channel b) { return for_nothing(a) < for_nothing(b); });
    for (const Channel channel : packet_channels_) add_eager(channel);
    for (const Channel channel : packet_channels_) {
      if (profile(channel)->reads) add_rendezvous(Protocol::rendezvous_read, control, channel);
      add_rendezvous(Protocol::rendezvous_fragments, control, channel);
    }
    if (reads_by_cma_) add_rendezvous(Protocol::rendezvous_read, control, Channel::cma);
  }

  void add_eager(Channel channel) {
    Candidate& candidate = out_.candidates.emplace_back();
    const std::size_t packet = packet_of(channel).count();
    candidate.choice = {Protocol::eager, channel, channel, static_cast<std::uint32_t>(packet)};
    candidate.largest = packet;
    candidate.bound =
        fmt::format("a packet of {} is at most {}", to_name(channel), to_text(Bytes(packet)));
    const std::optional<Threshold> threshold = threshold_of(channel);
    if (threshold && threshold->size <= packet) {
      candidate.largest = threshold->size;
      candidate.bound = threshold->source;
    }
  }

  void add_rendezvous(Protocol protocol, Channel control, Channel data) {
    Candidate& candidate = out_.candidates.emplace_back();
    const Channel packets = data == Channel::cma ? Channel::shm : data;
    const std::size_t packet = packet_of(packets).count();
    candidate.choice = {protocol, control, data, static_cast<std::uint32_t>(packet)};
    const std::optional<Threshold> threshold = threshold_of(packets);
    if (!threshold) return;
    candidate.smallest = std::min(threshold->size, packet) + 1;
    candidate.bound = threshold->source;
  }

  [[nodiscard]] std::size_t best(std::size_t size) const {
    std::size_t chosen = out_.candidates.size();
    Duration least;
    for (std::size_t i = 0; i < out_.candidates.size(); ++i) {
      const Candidate& candidate = out_.candidates[i];
      if (size < candidate.smallest || size > candidate.largest) continue;
      const Duration time = choice_time(candidate.choice, out_.pairs, profiles_, Bytes(size));
      if (chosen == out_.candidates.size() || time < least) {
        chosen = i;
        least = time;
      }
    }
    check(chosen < out_.candidates.size(), "some candidate carries every size");
    return chosen;
  }

  /// Sizes between which costs are straight lines, but for the steps of fragments.
  [[nodiscard]] std::vector<std::size_t> corners() const {
    std::vector<std::size_t> sizes = {0};
    const auto add = [&](std::size_t size) {
      sizes.push_back(size);
      if (size > 0) sizes.push_back(size - 1);
      sizes.push_back(size + 1);
    };
    for (std::size_t size = 1; size <= limits::memory.count(); size *= 2) sizes.push_back(size);
    for (const Candidate& candidate : out_.candidates) {
      add(candidate.smallest);
      if (candidate.largest <= limits::memory.count()) add(candidate.largest);
      add(candidate.choice.fragment);
      for (const TransportSegment& segment : profile(candidate.choice.data)->segments) {
        add(segment.from_size.count());
      }
    }
    std::sort(sizes.begin(), sizes.end());
    sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
    return sizes;
  }

  /// Where the best candidate changes between `low` and `high`, into `ends`: the last size of each
  /// but the last, with its candidate.
  void find_ends(std::size_t low, std::size_t at_low, std::size_t high, std::size_t at_high,
                 std::vector<std::pair<std::size_t, std::size_t>>& ends) const {
    if (at_low == at_high) return;
    if (high == low + 1) {
      ends.emplace_back(low, at_low);
      return;
    }
    const std::size_t middle = low + (high - low) / 2;
    const std::size_t at_middle = best(middle);
    find_ends(low, at_low, middle, at_middle, ends);
    find_ends(middle, at_middle, high, at_high, ends);
  }

  [[nodiscard]] std::vector<Route::Range> ranges() const {
    std::vector<std::pair<std::size_t, std::size_t>> ends;
    const std::vector<std::size_t> sizes = corners();
    std::size_t last = best(sizes.front());
    for (std::size_t i = 1; i < sizes.size(); ++i) {
      const std::size_t next = best(sizes[i]);
      find_ends(sizes[i - 1], last, sizes[i], next, ends);
      last = next;
    }
    ends.emplace_back(std::numeric_limits<std::size_t>::max(), last);
    std::vector<Route::Range> ranges;
    for (const auto& [end, candidate] : ends) {
      ranges.push_back({end, out_.candidates[candidate].choice});
    }
    return ranges;
  }

  const ChannelPolicy& policy_;
  const ChannelProfiles& profiles_;
  Decision out_;
  std::vector<Channel> packet_channels_;  ///< that are used, by preference
  bool reads_by_cma_ = false;
};

}  // namespace

ChannelPolicy ChannelPolicy::of(const JobSpec& job, const Instance& instance,
                                const MpiCosts& costs) {
  ChannelPolicy policy;
  policy.mode = job.channels.mode;
  policy.device = job.channels.device;
  policy.eager_threshold = job.channels.eager_threshold.size;
  policy.eager_thresholds = costs.eager_thresholds;
  std::map<HostId, std::uint64_t> ranks;
  std::uint64_t most = 1;
  for (const VmId vm : job.vms) {
    most = std::max(most, ranks[instance.vms[vm.index].host] += job.ranks_per_vm);
  }
  policy.ivshmem_part = Bytes(job.ivshmem.count() / most);
  return policy;
}

Decision decide(const PairClass& pairs, const ChannelPolicy& policy,
                const ChannelProfiles& profiles) {
  return Coordinator(pairs, policy, profiles).run();
}

Duration choice_time(const Choice& choice, const PairClass& pairs, const ChannelProfiles& profiles,
                     Bytes size) {
  const TransportProfile* control = profiles.find(choice.channel, pairs.same_socket);
  const TransportProfile* data = profiles.find(choice.data, pairs.same_socket);
  check(control != nullptr && data != nullptr, "a candidate's channels have profiles");
  return message_time(choice, *control, *data, size);
}

RouteTable::RouteTable(ChannelPolicy policy, ChannelProfiles profiles)
    : policy_(std::move(policy)), profiles_(std::move(profiles)) {}

const Decision& RouteTable::of(const PairClass& pairs) const {
  Entry& entry = entries_[pairs.index()];
  std::call_once(entry.made, [&] { entry.decision = decide(pairs, policy_, profiles_); });
  return *entry.decision;
}

JobChannels::JobChannels(const JobSpec& job, const Instance& instance, const Locality& locality,
                         std::shared_ptr<const RouteTable> table)
    : job_(job), instance_(instance), locality_(locality), table_(std::move(table)) {}

RankSite JobChannels::site(RankId rank) const {
  const VmId vm = job_.vms[rank.index / job_.ranks_per_vm];
  return site_of(job_, instance_.vms[vm.index], rank);
}

RankPlace JobChannels::place(RankId rank) const {
  const RankSite here = site(rank);
  return {.vm = here.vm,
          .host = locality_.host(here.vm),
          .container = here.container,
          .socket = locality_.socket(here.vm, here.vcpu)};
}

PairClass JobChannels::class_of(RankId from, RankId to) const {
  const RankSite a = site(from);
  const RankSite b = site(to);
  const Locality::Relation relation = locality_.between(a, b);
  const auto both = [&](DeviceKind device) {
    return locality_.has(a.vm, device) && locality_.has(b.vm, device);
  };
  return {relation.nearness, relation.same_socket, both(DeviceKind::virtual_function),
          both(DeviceKind::ivshmem)};
}

const Route& JobChannels::route(RankId from, RankId to) const {
  return table_->of(class_of(from, to)).route;
}

}  // namespace ferry
