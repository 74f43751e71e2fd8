#include "core/channel/choice.hpp"

#include "core/units/check.hpp"

namespace ferry {

std::string_view to_name(Protocol protocol) {
  switch (protocol) {
    case Protocol::eager: return "eager";
    case Protocol::rendezvous_read: return "rendezvous_read";
    case Protocol::rendezvous_fragments: return "rendezvous_fragments";
  }
  return "?";
}

Route::Route(std::vector<Range> ranges) : ranges_(std::move(ranges)) {
  check(!ranges_.empty() && ranges_.back().last == std::numeric_limits<std::size_t>::max(),
        "a route's last range has no end");
  control_ = ranges_.front().choice.channel;
  for (std::size_t i = 0; i < ranges_.size(); ++i) {
    const Choice& choice = ranges_[i].choice;
    check(i == 0 || ranges_[i - 1].last < ranges_[i].last, "the ranges of a route ascend");
    check(choice.fragment > 0, "a fragment has bytes");
    check(choice.protocol != Protocol::eager || choice.channel == choice.data,
          "an eager packet is its data");
    check(choice.protocol == Protocol::eager || choice.channel == control_,
          "control packets of a pair go by one channel");
  }
}

}  // namespace ferry
