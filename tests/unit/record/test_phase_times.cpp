#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "core/record/phase_times.hpp"

namespace ferry {
namespace {

TimePoint at(std::int64_t nanoseconds) { return TimePoint::at(Duration::nanoseconds(nanoseconds)); }

SpanRecord span(Phase phase, std::int64_t from, std::int64_t to) {
  return {VmId{0}, phase, HostId{0}, at(from), at(to), Outcome::completed};
}

/// Nanoseconds by phase.
std::array<std::int64_t, phase_count> counts(const std::vector<SpanRecord>& spans,
                                             std::int64_t start, std::int64_t end) {
  const PhaseTimes times = phase_times(spans, at(start), at(end));
  std::array<std::int64_t, phase_count> result{};
  for (std::size_t i = 0; i < phase_count; ++i) result[i] = times[i].count_nanoseconds();
  return result;
}

using Expected = std::array<std::int64_t, phase_count>;

TEST(phase_times, phases_in_a_row_keep_their_lengths) {
  EXPECT_EQ(counts({span(Phase::set_pre_migration, 0, 2), span(Phase::detach_vf, 2, 5),
                    span(Phase::remove_ivshmem, 5, 6), span(Phase::migration, 6, 16),
                    span(Phase::attach_vf, 16, 20), span(Phase::add_ivshmem, 20, 21),
                    span(Phase::set_post_migration, 21, 24)},
                   0, 24),
            (Expected{2, 3, 1, 10, 4, 1, 3}));
}

TEST(phase_times, an_overlap_counts_to_the_phase_that_ends_last) {
  // detach 0..10, ivshmem 4..6 inside it: all to detach.
  EXPECT_EQ(counts({span(Phase::detach_vf, 0, 10), span(Phase::remove_ivshmem, 4, 6)}, 0, 10),
            (Expected{0, 10, 0, 0, 0, 0, 0}));
  // ivshmem reaches beyond: it takes over when it begins.
  EXPECT_EQ(counts({span(Phase::detach_vf, 0, 10), span(Phase::remove_ivshmem, 4, 12)}, 0, 12),
            (Expected{0, 4, 8, 0, 0, 0, 0}));
}

TEST(phase_times, at_equal_ends_the_later_phase_counts) {
  EXPECT_EQ(counts({span(Phase::attach_vf, 0, 10), span(Phase::add_ivshmem, 3, 10)}, 0, 10),
            (Expected{0, 0, 0, 0, 3, 7, 0}));
  EXPECT_EQ(counts({span(Phase::add_ivshmem, 0, 10), span(Phase::attach_vf, 3, 10)}, 0, 10),
            (Expected{0, 0, 0, 0, 0, 10, 0}));
}

TEST(phase_times, a_gap_counts_to_the_phase_that_follows) {
  EXPECT_EQ(counts({span(Phase::migration, 2, 5), span(Phase::attach_vf, 9, 10)}, 0, 10),
            (Expected{0, 0, 0, 5, 5, 0, 0}));
}

TEST(phase_times, what_follows_the_last_phase_counts_to_the_one_that_ended_last) {
  EXPECT_EQ(counts({span(Phase::attach_vf, 0, 8), span(Phase::add_ivshmem, 1, 3)}, 0, 20),
            (Expected{0, 0, 0, 0, 20, 0, 0}));
}

TEST(phase_times, a_phase_that_was_tried_again_is_one_sum) {
  EXPECT_EQ(counts({span(Phase::detach_vf, 0, 4), span(Phase::detach_vf, 10, 13)}, 0, 13),
            (Expected{0, 13, 0, 0, 0, 0, 0}));
}

TEST(phase_times, without_spans_everything_counts_to_the_first_phase) {
  EXPECT_EQ(counts({}, 3, 10), (Expected{7, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(counts({}, 3, 3), (Expected{}));
}

TEST(phase_times, parts_outside_the_move_do_not_count) {
  EXPECT_EQ(counts({span(Phase::detach_vf, -5, 2), span(Phase::migration, 2, 90)}, 0, 10),
            (Expected{0, 2, 0, 8, 0, 0, 0}));
}

rc::Gen<std::vector<SpanRecord>> any_spans() {
  return rc::gen::container<std::vector<SpanRecord>>(rc::gen::map(
      rc::gen::tuple(rc::gen::inRange(0, 7), rc::gen::inRange(0, 60), rc::gen::inRange(0, 30)),
      [](const std::tuple<int, int, int>& drawn) {
        const auto [phase, from, length] = drawn;
        return span(static_cast<Phase>(phase), from, from + length);
      }));
}

TEST(phase_times, always_add_up_to_the_total_and_agree_with_counting_each_instant) {
  const bool holds = rc::check("each nanosecond once", [] {
    const auto spans = *any_spans();
    const auto start = *rc::gen::inRange(0, 40);
    const auto end = start + *rc::gen::inRange(0, 60);
    // The definition, one instant (the nanosecond from t) at a time.
    Expected expected{};
    for (std::int64_t t = start; t < end; ++t) {
      const SpanRecord* best = nullptr;
      const auto end_of = [&](const SpanRecord& s) { return std::min(s.end, at(end)); };
      const auto start_of = [&](const SpanRecord& s) { return std::max(s.start, at(start)); };
      for (const SpanRecord& s : spans) {
        if (s.start > at(t) || s.end <= at(t)) continue;
        if (best == nullptr ||
            std::pair(end_of(s), s.phase) > std::pair(end_of(*best), best->phase))
          best = &s;
      }
      if (best == nullptr) {  // the one that starts next
        for (const SpanRecord& s : spans) {
          if (s.start <= at(t) || s.start >= at(end) || s.end <= s.start) continue;
          if (best == nullptr || std::pair(s.start, s.phase) < std::pair(best->start, best->phase))
            best = &s;
        }
      }
      if (best == nullptr) {  // the one that ended last
        for (const SpanRecord& s : spans) {
          if (start_of(s) >= end_of(s)) continue;
          if (best == nullptr ||
              std::pair(end_of(s), s.phase) > std::pair(end_of(*best), best->phase))
            best = &s;
        }
      }
      const Phase phase = best == nullptr ? Phase::set_pre_migration : best->phase;
      ++expected[static_cast<std::size_t>(phase)];
    }
    RC_ASSERT(counts(spans, start, end) == expected);
  });
  EXPECT_TRUE(holds);
}

}  // namespace
}  // namespace ferry
