#include "core/mpi/course.hpp"

namespace ferry::mpi {
namespace {

Leg leg_of(const Step& step, const Group& group) {
  const bool receives = step.kind == Step::Kind::receive;
  const Piece& piece = receives ? step.into : step.from;
  Leg leg;
  leg.region = piece.region;
  leg.offset = piece.offset;
  leg.size = piece.size;
  switch (step.kind) {
    case Step::Kind::send: leg.kind = Leg::Kind::send; break;
    case Step::Kind::receive: leg.kind = Leg::Kind::receive; break;
    case Step::Kind::copy: leg.kind = Leg::Kind::copy; break;
    case Step::Kind::reduce: leg.kind = Leg::Kind::reduce; break;
  }
  if (receives || step.kind == Step::Kind::send) {
    leg.other = std::uint64_t{group.in_job(step.peer)} << 1U | 1U;
  } else {
    leg.other = static_cast<std::uint64_t>(step.into.region) << 56U | step.into.offset;
  }
  return leg;
}

bool is_transfer(const Leg& leg) {
  return leg.kind == Leg::Kind::send || leg.kind == Leg::Kind::receive;
}

}  // namespace

Course make_course(const Schedule& schedule, const Group& group) {
  Course course;
  course.scratch = schedule.scratch;
  course.legs.reserve(schedule.rounds.size() + schedule.steps.size());
  for (const Round& round : schedule.rounds) {
    const std::size_t at = course.legs.size();
    Leg head;
    head.offset = round.count;
    head.size = round.sends_ended_before | std::uint64_t{round.sends_ended_between} << 32U;
    course.legs.push_back(head);
    for (std::uint32_t i = 0; i < round.count; ++i) {
      course.legs.push_back(leg_of(schedule.steps[round.first + i], group));
      if (is_transfer(course.legs.back())) ++course.legs[at].other;
    }
  }
  return course;
}

}  // namespace ferry::mpi
