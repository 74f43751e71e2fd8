#include "sim_backend/event_queue.hpp"

namespace ferry {

EventQueue::EventQueue() : links_(sentinels) {
  for (std::uint32_t list = 0; list < sentinels; ++list) links_[list] = {list, list};
}

void EventQueue::find_front() const {
  const auto level = static_cast<std::uint32_t>(std::countr_zero(levels_));
  const std::uint32_t list =
      level * width + static_cast<std::uint32_t>(std::countr_zero(used_[level]));
  Place least = links_[list].next - sentinels;
  front_ = least;
  if (level == 0) return;  // all in it are of one time
  std::int64_t earliest = entries_[least].at;
  for (std::uint32_t node = links_[links_[list].next].next; node != list;
       node = links_[node].next) {
    const std::int64_t at = entries_[node - sentinels].at;
    least = at < earliest ? node - sentinels : least;
    earliest = at < earliest ? at : earliest;
  }
  front_ = least;
}

/// What was in one list with the entry that was taken is closer to it than all others: below there
/// is nothing yet.
void EventQueue::sort_out(std::uint32_t list) {
  std::uint32_t node = links_[list].next;
  if (node == list) return;
  links_[list] = {list, list};
  note_emptied(list);
  while (node != list) {
    const std::uint32_t next = links_[node].next;
    insert(node - sentinels);
    node = next;
  }
}

void EventQueue::grow() {
  const auto made = static_cast<Place>(entries_.size());
  const Place more = made == 0 ? 64 : made;
  entries_.resize(made + more);
  links_.resize(sentinels + made + more);
  for (Place place = made + more; place-- > made;) give_back(place);
}

}  // namespace ferry
