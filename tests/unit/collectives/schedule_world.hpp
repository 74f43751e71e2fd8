// Carries out the schedules of all ranks of a communicator on real bytes, in memory, in an order
// drawn from a seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/mpi/collectives/algorithms.hpp"
#include "tests/unit/collectives/meaning.hpp"

namespace ferry::mpi {

struct WorldOptions {
  std::uint64_t seed = 1;
  /// Share of sends, in percent, whose memory is read when they are posted; that of others is read
  /// when the receiver takes it, at any time after, and until then they have not ended.
  int eager_percent = 50;
  ElementType type = ElementType::int32;
  Reduction op = Reduction::sum;
};

/// Runs to the end. Empty, or what went wrong: a rank that never ends, a message without receiver,
/// sizes that differ.
std::string run_schedules(const std::vector<Schedule>& schedules, std::vector<RankMemory>& memory,
                          const WorldOptions& options);

/// What in a schedule of a rank breaks the promises of schedule.hpp, judged step by step; empty if
/// nothing does.
std::string broken_rules(const Schedule& schedule, std::size_t input_size, std::size_t output_size,
                         Rank rank, Rank ranks);

/// Messages that all ranks send.
std::size_t message_count(const std::vector<Schedule>& schedules);
/// The longest chain of rounds of messages: in each unit of time all messages that were sent
/// travel.
std::size_t critical_path(const std::vector<Schedule>& schedules);

}  // namespace ferry::mpi
