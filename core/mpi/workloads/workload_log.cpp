#include "core/mpi/workloads/workload_log.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>

#include "core/mpi/workloads/osu.hpp"

namespace ferry::mpi {
namespace {

struct Quantity {
  std::string_view metric;
  std::string_view unit;
};

std::optional<Quantity> quantity_of(WorkloadType type) {
  switch (type) {
    case WorkloadType::osu_latency: return Quantity{"latency", "s"};
    case WorkloadType::osu_bw: return Quantity{"bandwidth", "B/s"};
    case WorkloadType::osu_bcast: return Quantity{"bcast_latency", "s"};
    case WorkloadType::osu_allreduce: return Quantity{"allreduce_latency", "s"};
    case WorkloadType::overlap:
    case WorkloadType::iterate: return Quantity{"iteration_time", "s"};
    case WorkloadType::graph500: return Quantity{"search_time", "s"};
    default: return std::nullopt;
  }
}

bool overlaps(TimePoint from, TimePoint to, std::span<const Interval> outages) {
  return std::any_of(outages.begin(), outages.end(), [&](const Interval& outage) {
    return from < outage.second && outage.first < to;
  });
}

/// Middle one, or the mean of the two in the middle.
double median(std::vector<double> values) {
  const std::size_t middle = values.size() / 2;
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(middle),
                   values.end());
  const double upper = values[middle];
  if (values.size() % 2 == 1) return upper;
  return (upper +
          *std::max_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(middle))) /
         2;
}

/// The n-th samples of all ranks as one: earliest start, mean time.
struct Joined {
  std::uint64_t message_bytes = 0;
  std::uint32_t round = 0;
  TimePoint began;
  TimePoint ended;
  double seconds = 0;
};

std::vector<Joined> join(const WorkloadLog& log) {
  std::vector<Joined> joined;
  std::size_t ranks = 0;
  for (const RankLog& rank : log.ranks()) {
    if (rank.samples.empty()) continue;
    ++ranks;
    if (joined.empty()) {
      joined.reserve(rank.samples.size());
      for (const Sample& sample : rank.samples) {
        joined.push_back({sample.message_bytes, sample.round, sample.began,
                          sample.began + sample.took, sample.took.to_seconds()});
      }
      continue;
    }
    // A rank that was stopped has fewer.
    joined.resize(std::min(joined.size(), rank.samples.size()));
    for (std::size_t i = 0; i < joined.size(); ++i) {
      const Sample& sample = rank.samples[i];
      joined[i].began = std::min(joined[i].began, sample.began);
      joined[i].ended = std::max(joined[i].ended, sample.began + sample.took);
      joined[i].seconds += sample.took.to_seconds();
    }
  }
  for (Joined& one : joined) one.seconds /= static_cast<double>(ranks);
  return joined;
}

/// Of samples of one size and round.
void add_rows(std::span<const Joined> group, const Quantity& quantity, WorkloadType type,
              std::span<const Interval> outages, std::vector<Measurement>& rows) {
  std::vector<double> quiet;
  std::vector<double> exposed;
  for (const Joined& one : group) {
    (overlaps(one.began, one.ended, outages) ? exposed : quiet).push_back(one.seconds);
  }
  const bool is_osu_type = is_osu(type);
  Measurement row{std::string(quantity.metric), std::nullopt, group.front().round, 0,
                  quantity.unit};
  if (is_osu_type || type == WorkloadType::overlap) row.message_bytes = group.front().message_bytes;
  const double typical = quiet.empty() ? 0 : median(quiet);
  if (!quiet.empty()) {
    row.value = typical;
    if (type == WorkloadType::osu_latency) row.value = typical / 2;
    if (type == WorkloadType::osu_bw && typical > 0) {
      row.value = static_cast<double>(osu_window * group.front().message_bytes) / typical;
    }
    rows.push_back(row);
  }
  if (exposed.empty()) return;
  row.metric = fmt::format("{}_exposed", quantity.metric);
  row.unit = "s";
  row.value = 0;
  for (const double seconds : exposed) row.value += seconds - typical;
  rows.push_back(row);
}

void add_searches(std::span<const Joined> searches, std::vector<Measurement>& rows) {
  double sum = 0;
  for (const Joined& search : searches) {
    rows.push_back({"search_time", std::nullopt, search.round, search.seconds, "s"});
    sum += search.seconds;
  }
  rows.push_back(
      {"search_time_mean", std::nullopt, 0, sum / static_cast<double>(searches.size()), "s"});
}

}  // namespace

Duration WorkloadLog::elapsed() const {
  if (ranks_.empty()) return Duration::zero();
  TimePoint began = ranks_.front().began;
  TimePoint ended = ranks_.front().ended;
  for (const RankLog& rank : ranks_) {
    began = std::min(began, rank.began);
    ended = std::max(ended, rank.ended);
  }
  return ended - began;
}

std::vector<Measurement> measurements(WorkloadType type, const WorkloadLog& log,
                                      std::span<const Interval> outages) {
  std::vector<Measurement> rows;
  const std::optional<Quantity> quantity = quantity_of(type);
  if (!quantity) return rows;
  const std::vector<Joined> samples = join(log);
  if (samples.empty()) return rows;
  if (type == WorkloadType::graph500) {
    add_searches(samples, rows);
    return rows;
  }
  for (std::size_t first = 0; first < samples.size();) {
    std::size_t end = first + 1;
    const auto same = [&](const Joined& other) {
      return other.message_bytes == samples[first].message_bytes &&
             other.round == samples[first].round;
    };
    while (end < samples.size() && same(samples[end])) ++end;
    add_rows({samples.data() + first, end - first}, *quantity, type, outages, rows);
    first = end;
  }
  return rows;
}

std::vector<Measurement> channel_packets(const WorkloadLog& log) {
  std::map<std::pair<std::uint32_t, Channel>, std::uint64_t> sums;
  for (const RankLog& rank : log.ranks()) {
    for (const ChannelPackets& part : rank.packets)
      sums[{part.moves, part.channel}] += part.packets;
  }
  std::vector<Measurement> rows;
  for (const auto& [when, packets] : sums) {
    rows.push_back({fmt::format("packets_{}", to_name(when.second)), std::nullopt, when.first,
                    static_cast<double>(packets), "packets"});
  }
  return rows;
}

}  // namespace ferry::mpi
