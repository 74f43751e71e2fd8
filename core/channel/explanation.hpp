// A decision in the form in which people read it: ranges of sizes, with times, and why each ends.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "core/channel/coordinator.hpp"

namespace ferry {

struct ExplainedRange {
  std::size_t first = 0;            ///< size of a message
  std::optional<std::size_t> last;  ///< none: without end
  Choice choice;
  std::string ends;  ///< why it does; empty without an end
};

/// The ranges of the route, or none if nothing joins the pairs.
[[nodiscard]] std::vector<ExplainedRange> explain_ranges(const Decision& decision);

/// "a read by cma".
[[nodiscard]] std::string to_words(const Choice& choice);
/// "two VMs of one host, two sockets"; `containers`: their VMs have some.
[[nodiscard]] std::string to_words(const PairClass& pairs, bool containers);

/// What every call of the job's ranks costs: `call`, and with a migration thread `lock`.
[[nodiscard]] Duration call_time(const JobSpec& job, const RuntimeCosts& costs);

/// From the call of the sender until the message is in the buffer of a receiver that waits, with
/// open, idle channels: `call_time` + `choice_time`.
[[nodiscard]] Duration predicted_time(const Choice& choice, const PairClass& pairs,
                                      const ChannelProfiles& profiles, Duration call, Bytes size);

}  // namespace ferry
