#include "core/record/phase_times.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include "core/units/check.hpp"

namespace ferry {
namespace {

struct Piece {
  TimePoint from;
  TimePoint to;
  Phase phase;
};

/// The span that an instant belongs to, of `a` and `b` that both cover it.
const Piece& winner(const Piece& a, const Piece& b) {
  return std::pair(a.to, a.phase) < std::pair(b.to, b.phase) ? b : a;
}

}  // namespace

PhaseTimes phase_times(const std::vector<SpanRecord>& spans, TimePoint start, TimePoint end) {
  check(start <= end, "a move ends no earlier than it starts");
  std::vector<Piece> pieces;
  for (const SpanRecord& span : spans) {
    const Piece piece{std::clamp(span.start, start, end), std::clamp(span.end, start, end),
                      span.phase};
    if (piece.from < piece.to) pieces.push_back(piece);
  }
  std::sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) {
    return std::tuple(a.from, a.phase, a.to) < std::tuple(b.from, b.phase, b.to);
  });

  PhaseTimes times{};
  const auto count = [&times](Phase phase, TimePoint from, TimePoint to) {
    times[static_cast<std::size_t>(phase)] += to - from;
  };
  // Between two successive starts the covering span that ends last keeps winning, as far as it
  // reaches.
  TimePoint done = start;
  Piece covering{start, start, Phase::set_pre_migration};
  for (const Piece& piece : pieces) {
    if (piece.from > done) {
      const TimePoint covered = std::clamp(covering.to, done, piece.from);
      count(covering.phase, done, covered);
      count(piece.phase, covered, piece.from);
      done = piece.from;
    }
    covering = winner(covering, piece);
  }
  count(covering.phase, done, end);
  return times;
}

}  // namespace ferry
