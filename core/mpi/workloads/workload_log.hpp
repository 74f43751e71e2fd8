// What the ranks of a workload report: times, traffic and samples.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/mpi/workloads/traffic.hpp"
#include "core/ports/transport_profile.hpp"
#include "core/scenario/workload.hpp"
#include "core/units/units.hpp"

namespace ferry::mpi {

/// One measured operation.
struct Sample {
  std::uint64_t message_bytes = 0;
  std::uint32_t round = 0;  ///< of all sizes; of searches and iterations their number
  TimePoint began;
  Duration took;
};

/// What a rank has sent by a channel between two moves that it was told of.
struct ChannelPackets {
  Channel channel = Channel::shm;
  std::uint32_t moves = 0;  ///< of VMs of its job, before
  std::uint64_t packets = 0;
  bool operator==(const ChannelPackets&) const = default;
};

struct RankLog {
  TimePoint began;  ///< of the workload's first call
  TimePoint ended;  ///< of its last
  Traffic traffic;
  Duration longest_slice;  ///< of computation between two calls
  std::vector<Sample> samples;
  std::uint64_t wrong_messages = 0;  ///< whose bytes, size or error were not as they should be
  std::string first_wrong;
  std::vector<ChannelPackets> packets;  ///< where the world counts them
};

/// Of a job; one `RankLog` for each rank, made beforehand, which is the rank's alone while it runs.
class WorkloadLog {
 public:
  explicit WorkloadLog(std::uint32_t ranks) : ranks_(ranks) {}
  [[nodiscard]] RankLog& of(std::uint32_t rank) { return ranks_[rank]; }
  [[nodiscard]] std::span<const RankLog> ranks() const { return ranks_; }
  /// From the first rank's start to the last one's end.
  [[nodiscard]] Duration elapsed() const;

 private:
  std::vector<RankLog> ranks_;
};

/// Ranks whose samples are kept: the first ones, so that a big job's memory does not grow with
/// ranks x iterations.
inline constexpr std::uint32_t sampling_ranks = 64;

/// A row of measurements.csv, without the job.
struct Measurement {
  std::string metric;
  std::optional<std::uint64_t> message_bytes;
  std::uint32_t repetition = 0;
  double value = 0;
  std::string_view unit;  ///< `s`, `B/s`, `packets`
};

/// From `first` to `second`.
using Interval = std::pair<TimePoint, TimePoint>;

/// The rows of a job. Of each size and round the median of the samples (of collectives of their
/// means over ranks); samples that overlap one of `outages` are kept apart: what they took beyond
/// the median, in sum, is the row METRIC_exposed. Times in s, bandwidths in B/s.
///   osu_latency    latency: half of a round trip
///   osu_bw         bandwidth: of a window of 64 messages and its acknowledgement
///   osu_bcast, osu_allreduce    bcast_latency, allreduce_latency
///   overlap, iterate    iteration_time
///   graph500       search_time of each search, and search_time_mean of all, outages included
[[nodiscard]] std::vector<Measurement> measurements(WorkloadType type, const WorkloadLog& log,
                                                    std::span<const Interval> outages);

/// Of all ranks together: `packets_CHANNEL`, with the number of moves before as repetition. Empty
/// where the world does not count them.
[[nodiscard]] std::vector<Measurement> channel_packets(const WorkloadLog& log);

}  // namespace ferry::mpi
