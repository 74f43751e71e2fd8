#include "hw_backend/ranks/rank_channels.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/ports/world_error.hpp"
#include "core/units/check.hpp"
#include "hw_backend/ranks/machine_address.hpp"

namespace ferry::ranks {
namespace {

constexpr std::array by_memory = {Channel::shm, Channel::cma};
constexpr std::array by_adapter = {Channel::sriov, Channel::sriov_loopback, Channel::passthrough,
                                   Channel::native};

std::string region_name(const std::string& job) {
  std::string name = "job-" + job;
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
}

}  // namespace

RankChannels::RankChannels(JobMember member, const Scenario& scenario, const Instance& instance,
                           JobId job, ChannelWishes wishes, const ThreadClock& clock)
    : member_(std::move(member)),
      scenario_(scenario),
      instance_(instance),
      job_(job),
      wishes_(std::move(wishes)),
      clock_(clock),
      here_(look_around()) {
  if (instance_.jobs[job_.index].ivshmem > Bytes()) {
    here_.ivshmem = IvshmemPart::size_of(device_part());
  }
  here_.device = adapter_is_there(wishes_.device).has_value();
  if (!here_.device && !wishes_.device.empty() && wishes_.device != "none") {
    throw WorldError(adapter_is_there(wishes_.device).error().reason);
  }
  if (!here_.device) return;
  TcpBootstrapSettings settings;
  if (!wishes_.listen.empty()) settings.listen_on = wishes_.listen;
  settings.reached_as = !wishes_.reached_as.empty() ? wishes_.reached_as
                        : wishes_.listen.empty()    ? machine_address()
                                                    : "";
  settings.job = member_.id.substr(0, 64);
  auto listening = TcpBootstrap::listen(member_.rank, member_.ranks, settings);
  if (!listening) throw WorldError(listening.error().reason);
  bootstrap_ = std::move(*listening);
  here_.bootstrap = bootstrap_->address();
}

RankChannels::~RankChannels() {
  if (endpoint_ == nullptr) return;
  endpoint_->set_part(by_adapter, nullptr);
  endpoint_->set_part(by_memory, nullptr);
}

/// Jobs that may run at the same time have different parts: all those of the scenario.
shm::DevicePart RankChannels::device_part() const {
  shm::DevicePart part{wishes_.ivshmem, 0, 0};
  for (std::uint32_t i = 0; i < instance_.jobs.size(); ++i) {
    if (instance_.jobs[i].ivshmem == Bytes()) continue;
    if (i == job_.index) part.index = part.count;
    ++part.count;
  }
  part.count = std::max(part.count, 1U);
  return part;
}

/// The scenario's, but for the packets that IVShmem carries: as many bytes as the smallest device
/// does.
ChannelPolicy RankChannels::policy() const {
  ChannelPolicy policy =
      ChannelPolicy::of(instance_.jobs[job_.index], instance_, scenario_.platform.mpi);
  Bytes smallest;
  for (const Whereabouts& rank : all_) {
    if (rank.ivshmem == Bytes()) continue;
    smallest = smallest == Bytes() ? rank.ivshmem : std::min(smallest, rank.ivshmem);
  }
  // `decide` lets a packet be a quarter of a rank's part.
  policy.ivshmem_part =
      Bytes(4 * shm::Region::largest_body_on_device(smallest, member_.ranks).count());
  return policy;
}

void RankChannels::join(std::vector<Whereabouts> all) {
  check(all.size() == member_.ranks, "every rank says where it is");
  all_ = std::move(all);
  std::vector<RankId> sharing;
  for (std::uint32_t rank = 0; rank < all_.size(); ++rank) {
    if (all_[rank].memory == here_.memory) sharing.push_back(RankId{rank});
    uses_adapters_ =
        uses_adapters_ || (here_.device && all_[rank].device && all_[rank].memory != here_.memory);
  }
  sharing_ = sharing.size();
  is_first_here_ = sharing.front() == member_.rank;
  shm::Region::remove_stale_names();
  const auto sizes = shm::RegionSizes::of_job(static_cast<std::uint32_t>(sharing_), member_.ranks,
                                              shm::Region::memory_for_names());
  auto region = shm::Region::join(region_name(member_.id), sizes);
  if (!region) throw WorldError(region.error().reason);
  region_ = std::move(*region);
  fabric_ = std::make_unique<shm::ShmFabric>(region_, clock_, shm::ShmProfiles{});
  make_wait_set();
  endpoint_ = std::make_unique<JoinedEndpoint>(member_.rank, *wait_set_);
  in_memory_ = fabric_->open_named(member_.rank, *waiting_);
  endpoint_->set_part(by_memory, in_memory_.get());
  ivshmem_ =
      std::make_unique<IvshmemPart>(IvshmemPart::Job{member_.id, member_.ranks, member_.rank},
                                    device_part(), *waiting_, *endpoint_);
  for (const RankId rank : sharing) {
    const auto address = region_->address_of(rank.index, wishes_.patience);
    if (!address) throw WorldError(address.error().reason);
  }
  // All have it: nothing stays behind from here on, however they end.
  region_->remove_name();
}

void RankChannels::make_wait_set() {
  if (!uses_adapters_) {
    memory_wait_set_ = fabric_->make_shm_wait_set();
    wait_set_ = memory_wait_set_.get();
    waiting_ = memory_wait_set_.get();
    return;
  }
  event_wait_set_ = std::make_unique<EventWaitSet>(clock_);
  memory_events_ = std::make_unique<MemoryEvents>(region_, *event_wait_set_);
  wait_set_ = event_wait_set_.get();
  waiting_ = memory_events_.get();
}

bool RankChannels::hosts_are_unknown() const {
  return std::any_of(all_.begin(), all_.end(), [](const Whereabouts& rank) {
    return rank.ivshmem > Bytes() && rank.host.empty();
  });
}

void RankChannels::open_ivshmem() {
  if (here_.ivshmem == Bytes()) return;
  if (const Result<> opened = ivshmem_->open(); !opened) throw WorldError(opened.error().reason);
}

const Whereabouts& RankChannels::mine_with_neighbours() {
  if (ivshmem_->is_open()) {
    here_.host = fmt::format("that-of-rank-{}", ivshmem_->here().front().index);
  }
  return here_;
}

void RankChannels::connect(std::vector<Whereabouts> all) {
  all_ = std::move(all);
  const PacketLimits limits{Bytes(in_memory_->largest_body(Channel::shm)), largest_adapter_body()};
  places_ = std::make_unique<RankPlaces>(
      all_, policy(), usable_profiles(scenario_.platform.channels, all_, limits));
  if (uses_adapters_) open_adapter();
}

void RankChannels::open_adapter() {
  bootstrap_->start([this](RankId rank) -> Result<std::string> {
    if (all_[rank.index].bootstrap.empty()) {
      return failure(FailureKind::refused,
                     fmt::format("rank {} listens nowhere: it has no adapter", rank.index));
    }
    return all_[rank.index].bootstrap;
  });
  auto adapter = ranks::open_adapter(wishes_.device, *bootstrap_, *event_wait_set_);
  if (!adapter) throw WorldError(adapter.error().reason);
  adapter_ = std::move(*adapter);
  endpoint_->set_part(by_adapter, &adapter_->endpoint());
}

void RankChannels::close_devices() {
  if (ivshmem_ != nullptr) ivshmem_->close();
  if (adapter_ != nullptr) adapter_->close_device();
}

std::vector<std::string> RankChannels::open_devices(bool ivshmem, bool adapter,
                                                    const Patience& patience) {
  std::vector<std::string> failures;
  if (ivshmem && here_.ivshmem > Bytes()) {
    if (const Result<> opened = ivshmem_->open(patience.ivshmem); !opened) {
      failures.push_back(opened.error().reason);
    }
  }
  if (adapter && adapter_ != nullptr) {
    if (const Result<> opened = adapter_->open_device(patience.adapter); !opened) {
      failures.push_back(opened.error().reason);
    }
  }
  return failures;
}

bool RankChannels::reaches_all() const {
  const auto is_open = [this](Channel channel) {
    if (channel == Channel::ivshmem) return ivshmem_->is_open();
    const bool adapters = std::ranges::find(by_adapter, channel) != by_adapter.end();
    return !adapters || (adapter_ != nullptr && adapter_->device_is_open());
  };
  for (std::uint32_t rank = 0; rank < member_.ranks; ++rank) {
    if (rank == member_.rank.index) continue;
    for (const Route::Range& range : places_->route(member_.rank, RankId{rank}).ranges()) {
      if (!is_open(range.choice.channel) || !is_open(range.choice.data)) return false;
    }
  }
  return true;
}

}  // namespace ferry::ranks
