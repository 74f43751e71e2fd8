#include "core/mpi/collectives/schedule_builder.hpp"

#include <algorithm>
#include <array>

#include "core/units/check.hpp"

namespace ferry::mpi {
namespace {

constexpr std::size_t scratch_alignment = 16;

bool is_transfer(const Step& step) {
  return step.kind == Step::Kind::send || step.kind == Step::Kind::receive;
}

}  // namespace

ScheduleBuilder::ScheduleBuilder(Schedule& into) : schedule_(into) {
  schedule_.steps.clear();
  schedule_.rounds.clear();
  schedule_.scratch = 0;
}

void ScheduleBuilder::transfer(const Step& step) {
  if (has_local_) end_round();
  schedule_.steps.push_back(step);
}

void ScheduleBuilder::local(const Step& step) {
  check(step.from.size == step.into.size, "a copy or reduction has as many bytes on both sides");
  check(step.into.region != Region::input, "a collective does not write what its caller sends");
  has_local_ = true;
  schedule_.steps.push_back(step);
}

void ScheduleBuilder::send(Rank peer, const Piece& from) {
  if (from.size > 0) transfer({Step::Kind::send, peer, from, {}});
}

void ScheduleBuilder::receive(Rank peer, const Piece& into) {
  if (into.size == 0) return;
  check(into.region != Region::input, "a collective does not write what its caller sends");
  transfer({Step::Kind::receive, peer, {}, into});
}

void ScheduleBuilder::copy(const Piece& from, const Piece& into) {
  if (from.size > 0) local({Step::Kind::copy, 0, from, into});
}

void ScheduleBuilder::reduce(const Piece& from, const Piece& into) {
  if (from.size > 0) local({Step::Kind::reduce, 0, from, into});
}

void ScheduleBuilder::signal(Rank peer) {
  transfer({Step::Kind::send, peer, {Region::scratch, 0, 0}, {}});
}

void ScheduleBuilder::await(Rank peer) {
  transfer({Step::Kind::receive, peer, {}, {Region::scratch, 0, 0}});
}

void ScheduleBuilder::end_round() {
  const std::size_t end = schedule_.steps.size();
  if (end == round_begin_) return;
  schedule_.rounds.push_back({.first = static_cast<std::uint32_t>(round_begin_),
                              .count = static_cast<std::uint32_t>(end - round_begin_)});
  round_begin_ = end;
  has_local_ = false;
}

Piece ScheduleBuilder::reserve(std::size_t size) {
  const std::size_t offset =
      (schedule_.scratch + scratch_alignment - 1) / scratch_alignment * scratch_alignment;
  schedule_.scratch = offset + size;
  return {Region::scratch, offset, size};
}

void ScheduleBuilder::finish() {
  end_round();
  std::array<LastSends, 3> regions;
  const auto readers = [&regions](const Piece& piece) {
    return regions[static_cast<std::size_t>(piece.region)].before(piece.offset, piece.size);
  };
  std::uint32_t sends = 0;
  std::uint32_t ended = 0;
  for (Round& round : schedule_.rounds) {
    const std::span steps(&schedule_.steps[round.first], round.count);
    for (const Step& step : steps)
      if (step.kind == Step::Kind::receive) ended = std::max(ended, readers(step.into));
    round.sends_ended_before = ended;
    for (const Step& step : steps) {
      if (step.kind != Step::Kind::send) continue;
      // The caller's own memory is never written, so nothing waits for who reads it.
      if (step.from.region != Region::input)
        regions[static_cast<std::size_t>(step.from.region)].note(step.from.offset, step.from.size,
                                                                 sends);
      ++sends;
    }
    for (const Step& step : steps)
      if (!is_transfer(step)) ended = std::max(ended, readers(step.into));
    round.sends_ended_between = ended;
  }
}

void LastSends::split_at(std::size_t offset) {
  auto after = ranges_.upper_bound(offset);
  if (after == ranges_.begin()) return;
  auto& [begin, range] = *std::prev(after);
  if (begin == offset || range.end <= offset) return;
  ranges_.emplace_hint(after, offset, range);
  range.end = offset;
}

void LastSends::note(std::size_t offset, std::size_t size, std::uint32_t number) {
  if (size == 0) return;
  split_at(offset);
  split_at(offset + size);
  ranges_.erase(ranges_.lower_bound(offset), ranges_.lower_bound(offset + size));
  ranges_.emplace(offset, Range{offset + size, number});
}

std::uint32_t LastSends::before(std::size_t offset, std::size_t size) const {
  if (size == 0) return 0;
  std::uint32_t last = 0;
  auto range = ranges_.upper_bound(offset);
  if (range != ranges_.begin() && std::prev(range)->second.end > offset) --range;
  for (; range != ranges_.end() && range->first < offset + size; ++range)
    last = std::max(last, range->second.number + 1);
  return last;
}

}  // namespace ferry::mpi
