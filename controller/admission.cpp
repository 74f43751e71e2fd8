#include "controller/admission.hpp"

namespace ferry {

Admission::Admission(const Instance& instance, Limiter& limiter, Inventory& inventory,
                     std::function<std::vector<AdmissionMove>(std::size_t)> moves_of)
    : instance_(instance),
      limiter_(limiter),
      inventory_(inventory),
      moves_of_(std::move(moves_of)),
      first_room_(limiter.place_count()),
      first_turn_(first_room_ + instance.hosts.size()),
      lacks_(first_turn_ + instance.vms.size()) {}

void Admission::add(std::size_t wave, TimePoint not_before) { timed_.push({not_before, wave}); }

void Admission::come_due(TimePoint now) {
  while (!timed_.empty() && timed_.top().not_before <= now) {
    due_.push(timed_.top().wave);
    timed_.pop();
  }
}

std::optional<std::size_t> Admission::next(TimePoint now) {
  come_due(now);
  while (!due_.empty() || !free_.empty()) {
    std::size_t wave = 0;
    std::optional<std::size_t> source;
    if (!due_.empty() && (free_.empty() || due_.top() < free_.begin()->first)) {
      wave = due_.top();
      due_.pop();
    } else {
      wave = free_.begin()->first;
      source = free_.begin()->second;
      free_.erase(free_.begin());
      lacks_[*source].waiting.pop();
    }
    const std::optional<std::size_t> lack = take(wave);
    if (lack == source && lack && exhausted(*lack)) {
      // The others that wait for it need not be looked at.
      lacks_[*lack].waiting.push(wave);
      lacks_[*lack].free = false;
      continue;
    }
    if (source) {
      if (lacks_[*source].waiting.empty()) {
        lacks_[*source].free = false;
      } else {
        free_.emplace(lacks_[*source].waiting.top(), *source);
      }
    }
    if (!lack) return wave;
    lacks_[*lack].refused.push_back(wave);
  }
  return std::nullopt;
}

bool Admission::has_candidates(TimePoint now) const {
  return !due_.empty() || !free_.empty() || (!timed_.empty() && timed_.top().not_before <= now);
}

TimePoint Admission::next_time() const {
  return timed_.empty() ? TimePoint::never() : timed_.top().not_before;
}

std::optional<std::size_t> Admission::take(std::size_t wave) {
  const std::vector<AdmissionMove> moves = moves_of_(wave);
  std::optional<std::size_t> lack;
  std::size_t taken = 0;
  for (; taken < moves.size() && !lack; ++taken) {
    const AdmissionMove& move = moves[taken];
    const MoveSpec& spec = instance_.moves[move.move];
    if (move.waits_for) {
      lack = turn_of(*move.waits_for);
    } else if (const std::optional<std::size_t> full =
                   limiter_.full_place(spec, move.from, move.to)) {
      lack = full;
    } else if (!inventory_.fits(spec.vm, move.to)) {
      lack = room_on(move.to);
    }
    if (lack) break;
    limiter_.take(spec, move.from, move.to);
    inventory_.reserve(spec.vm, move.to);
  }
  if (!lack) return std::nullopt;
  for (std::size_t i = 0; i < taken; ++i) {
    const AdmissionMove& move = moves[i];
    limiter_.give(instance_.moves[move.move], move.from, move.to);
    inventory_.release(instance_.moves[move.move].vm, move.to);
  }
  return lack;
}

bool Admission::exhausted(std::size_t lack) const {
  return lack < first_room_ && limiter_.full(lack);
}

void Admission::came_free(std::size_t index) {
  Lack& lack = lacks_[index];
  if (lack.waiting.empty() && lack.refused.empty()) return;
  if (lack.free) free_.erase({lack.waiting.top(), index});
  for (const std::size_t wave : lack.refused) lack.waiting.push(wave);
  lack.refused.clear();
  lack.free = true;
  free_.emplace(lack.waiting.top(), index);
}

void Admission::links_left(const MoveSpec& move, HostId from, HostId to) {
  for (const std::size_t place : limiter_.slots_of(move, from, to)) came_free(place);
}

void Admission::given_up(const MoveSpec& move) { came_free(turn_of(move.vm)); }

void Admission::redirected(HostId host) { came_free(room_on(host)); }

void Admission::move_ended(const MoveSpec& move, HostId from, HostId to) {
  for (const std::size_t place : limiter_.places_of(move, from, to)) came_free(place);
  came_free(room_on(from));
  came_free(room_on(to));
  came_free(turn_of(move.vm));
}

}  // namespace ferry
