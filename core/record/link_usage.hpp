// What the links of the networks carried over a run. Only a world that knows its links has it: the
// simulated one.
#pragma once

#include <string>
#include <vector>

#include "core/units/units.hpp"

namespace ferry {

struct LinkUsage {
  /// One direction of one link.
  struct Link {
    std::string network;
    std::string name;     ///< "host3 out", "leaf 2 to spine 0"
    Bandwidth bandwidth;  ///< of the scenario
    /// What passed in each interval, from the start of the run; nothing after the last.
    std::vector<Bytes> carried;
  };
  Duration interval;        ///< every one has this length
  std::vector<Link> links;  ///< each that carried something
};

/// network, link, bandwidth_bytes_per_second, bytes, mean_utilisation, peak_utilisation,
/// full_seconds: one row a direction of a link that carried something, the most loaded first.
/// Shares are of the bandwidth: the mean from the first interval in which any link carried
/// something to the last, the peak of one interval; full are the intervals of 95 % and more.
std::string links_csv(const LinkUsage& usage);

/// network, link, start_seconds, end_seconds, utilisation: one row an interval in which a link
/// carried something, for the 64 links that were loaded most, in the order of `links_csv`.
std::string link_usage_csv(const LinkUsage& usage);

}  // namespace ferry
