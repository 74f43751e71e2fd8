#include "core/record/link_usage.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "core/record/csv.hpp"
#include "core/units/natural_order.hpp"

namespace ferry {
namespace {

constexpr std::size_t links_over_time = 64;
/// Shares sum up to a little less than 1 where parts of transfers meet.
constexpr double full = 0.95;

using UsedLink = LinkUsage::Link;

Bytes total(const UsedLink& link) {
  return std::accumulate(link.carried.begin(), link.carried.end(), Bytes());
}

Duration times(Duration interval, std::size_t count) {
  return Duration::nanoseconds(interval.count_nanoseconds() * static_cast<std::int64_t>(count));
}

double utilisation(Bytes bytes, Duration time, const UsedLink& link) {
  const double most = link.bandwidth.to_bytes_per_second() * time.to_seconds();
  return most > 0 ? static_cast<double>(bytes.count()) / most : 0;
}

/// By the time that each link needs for all its bytes; equal ones by name.
std::vector<const UsedLink*> most_loaded_first(const LinkUsage& usage) {
  struct Loaded {
    double seconds;
    const UsedLink* link;
  };
  std::vector<Loaded> order;
  for (const UsedLink& link : usage.links) {
    order.push_back({utilisation(total(link), Duration::seconds(1), link), &link});
  }
  std::sort(order.begin(), order.end(), [&](const Loaded& a, const Loaded& b) {
    if (a.seconds != b.seconds) return a.seconds > b.seconds;
    if (a.link->network != b.link->network) return natural_less(a.link->network, b.link->network);
    return natural_less(a.link->name, b.link->name);
  });
  std::vector<const UsedLink*> links;
  for (const Loaded& loaded : order) links.push_back(loaded.link);
  return links;
}

/// From the first interval in which any link carried something to the last.
Duration active_time(const LinkUsage& usage) {
  std::size_t first = std::string::npos;
  std::size_t end = 0;
  for (const UsedLink& link : usage.links) {
    for (std::size_t i = 0; i < link.carried.size(); ++i) {
      if (link.carried[i] == Bytes()) continue;
      first = std::min(first, i);
      end = std::max(end, i + 1);
    }
  }
  return end == 0 ? Duration() : times(usage.interval, end - first);
}

std::string share_text(double share) { return fmt::format("{:.4f}", share); }

}  // namespace

std::string links_csv(const LinkUsage& usage) {
  const Duration active = active_time(usage);
  CsvText csv({"network", "link", "bandwidth_bytes_per_second", "bytes", "mean_utilisation",
               "peak_utilisation", "full_seconds"});
  for (const UsedLink* link : most_loaded_first(usage)) {
    double peak = 0;
    std::size_t full_intervals = 0;
    for (const Bytes bytes : link->carried) {
      const double share = utilisation(bytes, usage.interval, *link);
      peak = std::max(peak, share);
      if (share >= full) ++full_intervals;
    }
    csv.field(link->network)
        .field(link->name)
        .field(fmt::format("{:.0f}", link->bandwidth.to_bytes_per_second()))
        .count(total(*link).count())
        .field(share_text(utilisation(total(*link), active, *link)))
        .field(share_text(peak))
        .seconds(times(usage.interval, full_intervals))
        .end_row();
  }
  return csv.take();
}

std::string link_usage_csv(const LinkUsage& usage) {
  CsvText csv({"network", "link", "start_seconds", "end_seconds", "utilisation"});
  std::vector<const UsedLink*> links = most_loaded_first(usage);
  links.resize(std::min(links.size(), links_over_time));
  for (const UsedLink* link : links) {
    for (std::size_t i = 0; i < link->carried.size(); ++i) {
      if (link->carried[i] == Bytes()) continue;
      csv.field(link->network)
          .field(link->name)
          .seconds(times(usage.interval, i))
          .seconds(times(usage.interval, i + 1))
          .field(share_text(utilisation(link->carried[i], usage.interval, *link)))
          .end_row();
    }
  }
  return csv.take();
}

}  // namespace ferry
