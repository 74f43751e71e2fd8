// What happens next: entries by time, and by the order of asking among those of one time.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <vector>

namespace ferry {

class Event;

/// Time only goes forward here, so entries need no order before their time comes near. They lie in
/// lists by the highest digit, of six bits, in which their time differs from that of the entry that
/// was taken last (a hierarchical timing wheel: Varghese and Lauck, SOSP 1987); what is taken sorts
/// the list that it was in by the digits below. Each entry moves a few times, however many there
/// are, without comparisons that nobody could foresee, as a heap makes them. Entries of one time
/// are always in one list, in the order in which they came.
class EventQueue {
 public:
  using Place = std::uint32_t;
  static constexpr Place none = ~Place{0};

  struct Entry {
    std::int64_t at;         ///< not negative
    std::uint64_t sequence;  ///< ascends from push to push
    Event* event;
    const void*
        stack;  ///< of a task that will go on when it happens, as far as is known; else null
  };

  EventQueue();
  [[nodiscard]] bool empty() const { return levels_ == 0; }
  /// Of a queue that is not empty. It is looked for only if it is not known.
  [[nodiscard]] const Entry& front() const {
    if (front_ == none) find_front();
    return entries_[front_];
  }
  [[nodiscard]] const Entry& at(Place place) const { return entries_[place]; }

  /// Not before the entry that was taken last. The place is its until it is taken or removed.
  Place push(const Entry& entry) {
    if (free_ == none) grow();
    const Place place = free_;
    free_ = links_[sentinels + place].next;
    entries_[place] = entry;
    insert(place);
    if (front_ != none && entry.at < entries_[front_].at) front_ = place;
    return place;
  }
  /// To no later a time, and behind all that are there already for that time.
  void bring_forward(Place place, std::int64_t at, std::uint64_t sequence) {
    if (front_ == place && at == entries_[place].at) front_ = none;
    const bool is_front = front_ == place || (front_ != none && at < entries_[front_].at);
    unlink(place);
    entries_[place].at = at;
    entries_[place].sequence = sequence;
    insert(place);
    if (is_front) front_ = place;
  }
  void remove(Place place) {
    unlink(place);
    give_back(place);
    if (front_ == place) front_ = none;
  }
  /// Tells `look` of the entries that come next, at most `count` and at least one if there is any.
  /// They are all before those that are left out, and nearly in order: not those of one list, which
  /// is sorted when the first of them is taken.
  template <class Look>
  void look_at_next(int count, const Look& look) const {
    int left = count;
    for (std::uint32_t levels = levels_; levels != 0; levels &= levels - 1) {
      const auto level = static_cast<std::uint32_t>(std::countr_zero(levels));
      for (std::uint64_t used = used_[level]; used != 0; used &= used - 1) {
        const std::uint32_t list =
            level * width + static_cast<std::uint32_t>(std::countr_zero(used));
        if (level != 0 && !holds_at_most(list, left)) {
          if (left == count) look(front());
          return;
        }
        for (std::uint32_t node = links_[list].next; node != list; node = links_[node].next) {
          look(entries_[node - sentinels]);
          if (--left == 0) return;
        }
      }
    }
  }
  Entry take_front() {
    const Entry taken = front();
    const Place place = front_;
    const std::uint32_t list = list_of(taken.at);
    unlink(place);
    give_back(place);
    front_ = none;
    base_ = static_cast<std::uint64_t>(taken.at);
    if (list >= width) sort_out(list);
    return taken;
  }

 private:
  static constexpr unsigned digit = 6;
  static constexpr std::uint32_t width = 1U << digit;
  static constexpr std::uint32_t level_count = 11;  // of six bits, in 63
  static constexpr std::uint32_t sentinels = level_count * width;
  /// Lists are rings through a sentinel each.
  struct Links {
    std::uint32_t previous;
    std::uint32_t next;
  };

  [[nodiscard]] std::uint32_t list_of(std::int64_t at) const {
    const std::uint64_t time = static_cast<std::uint64_t>(at);
    // The lowest bit does not matter: level 0 holds what differs in the last digit, or not at all.
    const auto level =
        static_cast<std::uint32_t>(63 - std::countl_zero((time ^ base_) | 1)) / digit;
    return level * width + (static_cast<std::uint32_t>(time >> (level * digit)) & (width - 1));
  }
  [[nodiscard]] bool holds_at_most(std::uint32_t list, int count) const {
    std::uint32_t node = links_[list].next;
    for (; node != list; node = links_[node].next) {
      if (count-- == 0) return false;
    }
    return true;
  }
  void insert(Place place) {
    const std::uint32_t list = list_of(entries_[place].at);
    const std::uint32_t node = sentinels + place;
    const std::uint32_t last = links_[list].previous;
    links_[node] = {last, list};
    links_[last].next = node;
    links_[list].previous = node;
    used_[list / width] |= std::uint64_t{1} << list % width;
    levels_ |= 1U << list / width;
  }
  void unlink(Place place) {
    const Links own = links_[sentinels + place];
    links_[own.previous].next = own.next;
    links_[own.next].previous = own.previous;
    if (own.previous == own.next) note_emptied(own.next);  // what is on either side: the sentinel
  }
  void note_emptied(std::uint32_t list) {
    std::uint64_t& used = used_[list / width];
    used &= ~(std::uint64_t{1} << list % width);
    if (used == 0) levels_ &= ~(1U << list / width);
  }
  void give_back(Place place) {
    links_[sentinels + place].next = free_;
    free_ = place;
  }
  void find_front() const;
  void sort_out(std::uint32_t list);
  void grow();

  std::vector<Links> links_;  // the sentinels', then the places'
  std::vector<Entry> entries_;
  std::array<std::uint64_t, level_count> used_ = {};  // lists that are not empty, a bit each
  std::uint32_t levels_ = 0;                          // those that have any
  Place free_ = none;
  mutable Place front_ = none;  // none: not known
  std::uint64_t base_ = 0;      // when the last one was taken
};

}  // namespace ferry
