// How much the links carried over time, at a resolution that follows the length of the run.
#pragma once

#include <cstdint>
#include <vector>

#include "core/record/link_usage.hpp"
#include "core/topology/link_map.hpp"
#include "core/units/units.hpp"

namespace ferry {

/// Counts what passes over each link in intervals of one length. When there are too many intervals,
/// each two become one of twice the length: whatever a run takes, it has between 64 and 128 of them
/// (fewer if it ends before 64 ms), and every byte is in the right one.
class LinkMeter {
 public:
  static constexpr std::size_t most_intervals = 128;

  /// Adds to the present interval of every link of the route.
  void add(const LinkMap::Route& route, Bytes bytes);
  /// When the present interval ends; whoever counts begins the next one then.
  [[nodiscard]] TimePoint boundary() const;
  void begin_next_interval();

  [[nodiscard]] LinkUsage usage(const LinkMap& links, const Instance& instance) const;

 private:
  /// What each link carried in one interval, by link; those beyond its end carried nothing. What is
  /// added next to each other in time lies next to each other in memory.
  using Interval = std::vector<Bytes>;

  Duration interval_ = Duration::milliseconds(1);
  std::vector<Interval> past_;
  Interval present_;
};

}  // namespace ferry
