#include "sim_backend/event_queue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include "sim_backend/scheduler.hpp"

namespace ferry {
namespace {

using Key = std::pair<std::int64_t, std::uint64_t>;  // time and order of asking

/// The queue beside a sorted map of what is in it.
class Both {
 public:
  void push(std::int64_t at) {
    const std::uint64_t sequence = next_++;
    places_[{at, sequence}] = queue_.push({at, sequence, nullptr, nullptr});
  }
  void remove(std::size_t which) {
    const auto one = nth(which);
    queue_.remove(one->second);
    places_.erase(one);
  }
  void bring_forward(std::size_t which, std::int64_t at) {
    const auto one = nth(which);
    const EventQueue::Place place = one->second;
    const std::uint64_t sequence = next_++;
    queue_.bring_forward(place, at, sequence);
    places_.erase(one);
    places_[{at, sequence}] = place;
  }
  void take() {
    const EventQueue::Entry taken = queue_.take_front();
    EXPECT_EQ(Key(taken.at, taken.sequence), places_.begin()->first);
    now_ = taken.at;
    places_.erase(places_.begin());
  }
  void look() {
    ASSERT_EQ(queue_.empty(), places_.empty());
    if (places_.empty()) return;
    const EventQueue::Entry& front = queue_.front();
    EXPECT_EQ(Key(front.at, front.sequence), places_.begin()->first);
  }
  [[nodiscard]] std::size_t size() const { return places_.size(); }
  [[nodiscard]] std::int64_t now() const { return now_; }
  [[nodiscard]] std::int64_t time_of(std::size_t which) { return nth(which)->first.first; }

 private:
  std::map<Key, EventQueue::Place>::iterator nth(std::size_t which) {
    return std::next(places_.begin(), static_cast<std::ptrdiff_t>(which));
  }
  EventQueue queue_;
  std::map<Key, EventQueue::Place> places_;
  std::uint64_t next_ = 0;
  std::int64_t now_ = 0;
};

TEST(EventQueue, takes_entries_by_time_and_those_of_one_time_in_the_order_of_asking) {
  EventQueue queue;
  for (std::uint64_t i = 0; i < 10; ++i) {
    queue.push({static_cast<std::int64_t>(1'000 - i % 3), i, nullptr, nullptr});
  }
  std::vector<std::uint64_t> order;
  while (!queue.empty()) order.push_back(queue.take_front().sequence);
  EXPECT_EQ(order, (std::vector<std::uint64_t>{2, 5, 8, 1, 4, 7, 0, 3, 6, 9}));
}

TEST(EventQueue, agrees_with_a_sorted_map_whatever_is_done_with_it) {
  // Spans of time: the same instants again and again, up to years.
  for (const std::int64_t span : {std::int64_t{3}, std::int64_t{100}, std::int64_t{5'000},
                                  std::int64_t{1'000'000'000}, std::int64_t{1} << 60}) {
    std::mt19937_64 random(static_cast<std::uint64_t>(span));
    const auto below = [&](std::int64_t end) {
      return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(end));
    };
    const auto any_of = [&](const Both& both) { return random() % both.size(); };
    Both both;
    for (int step = 0; step < 20'000; ++step) {
      const std::int64_t what = below(10);
      const bool may_push = both.size() < 200 && both.now() < (std::int64_t{1} << 62) - 1;
      if (what < 4 && may_push) {
        both.push(both.now() + below(span));
      } else if (both.size() != 0 && what < 5) {
        both.remove(any_of(both));
      } else if (both.size() != 0 && what < 6) {
        const std::size_t which = any_of(both);
        both.bring_forward(which, both.now() + below(both.time_of(which) - both.now() + 1));
      } else if (both.size() != 0 && what < 9) {
        both.take();
      }
      if (step % 3 != 0) both.look();  // else it is not known when the next thing is done
      if (HasFailure()) FAIL() << "step " << step << " of span " << span;
    }
    while (both.size() != 0) both.take();
    both.look();
  }
}

TEST(EventQueueTest, shows_what_comes_next_and_nothing_that_comes_later) {
  EventQueue queue;
  // 100 to 103 are in one list that is not sorted yet.
  const std::vector<std::int64_t> times = {5'000'000, 3, 103, 3, 101, 100, 102};
  for (std::size_t i = 0; i < times.size(); ++i) queue.push({times[i], i, nullptr, nullptr});
  const auto shown = [&](int count) {
    std::vector<std::int64_t> seen;
    queue.look_at_next(count, [&](const EventQueue::Entry& entry) { seen.push_back(entry.at); });
    std::ranges::sort(seen);
    return seen;
  };
  using Times = std::vector<std::int64_t>;
  EXPECT_EQ(shown(9), (Times{3, 3, 100, 101, 102, 103, 5'000'000}));
  EXPECT_EQ(shown(6), (Times{3, 3, 100, 101, 102, 103}));
  EXPECT_EQ(shown(5), (Times{3, 3})) << "which three come first is not known";
  EXPECT_EQ(shown(1), (Times{3}));
  (void)queue.take_front();
  (void)queue.take_front();
  EXPECT_EQ(shown(3), (Times{100})) << "the front alone is";
  (void)queue.take_front();
  EXPECT_EQ(shown(3), (Times{101, 102, 103}));
  while (!queue.empty()) (void)queue.take_front();
  EXPECT_EQ(shown(3), Times{});
}

}  // namespace
}  // namespace ferry
