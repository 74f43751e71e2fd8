// Collectives as they go: rounds of steps, moved on by the ends of their receives.
#include <fmt/format.h>

#include <cstring>

#include "core/mpi/engine_call.hpp"
#include "core/mpi/message_path.hpp"
#include "core/mpi/slices.hpp"
#include "core/units/check.hpp"

namespace ferry::mpi {
namespace {

bool has_root(Collective kind) {
  switch (kind) {
    case Collective::bcast:
    case Collective::reduce:
    case Collective::gather:
    case Collective::gatherv:
    case Collective::scatter:
    case Collective::scatterv: return true;
    default: return false;
  }
}

/// A call for people, as far as it is known: `mark` as in `PacketHeader::more`.
std::string describe_call(std::uint64_t mark, bool whole) {
  const auto kind = static_cast<Collective>(mark >> collective_shift);
  std::string text(to_name(kind));
  if (!whole) return text;
  const std::uint64_t size = mark & ((std::uint64_t{1} << root_shift) - 1);
  text += fmt::format(" of {} bytes", size);
  if (has_root(kind))
    text += fmt::format(", root {}", static_cast<std::uint16_t>(mark >> root_shift));
  return text;
}

ConstSlice memory_from(const CollectiveRun& run, const Leg& leg) {
  const std::byte* const base = run.region(leg.region);
  return {base == nullptr ? nullptr : base + leg.offset, leg.size};
}

Slice memory_into(const CollectiveRun& run, Region region, std::size_t offset, std::size_t size) {
  check(region != Region::input, "a collective does not write to what it sends");
  std::byte* const base = run.region(region);
  return {base == nullptr ? nullptr : base + offset, size};
}

/// How many sends, the oldest ones, have ended.
std::uint32_t ended_sends(const CollectiveRun& run) {
  const Operation* oldest = run.sends_open.front();
  return oldest == nullptr ? run.sends_started : oldest->ordinal;
}

}  // namespace

Request Engine::start_schedule(Communicator::State& in, const CollectiveCall& call,
                               std::shared_ptr<const Schedule> schedule, const ConstBuffer& input,
                               const Buffer& output) {
  const Call scope(*this);
  CollectiveRun& run = make_run(in, call, input, output);
  Operation& request = *run.request;
  request.holds_request = true;
  take_course(run, *schedule);
  begin_run(run);
  return {request.index, request.generation};
}

Request Engine::start_collective(Communicator::State& in, const CollectiveCall& call,
                                 const CollectiveShape& shape, const ConstBuffer& input,
                                 const Buffer& output) {
  const Call scope(*this);
  Operation& request = begin_collective(in, call, shape, input, output);
  request.holds_request = true;
  return {request.index, request.generation};
}

void Engine::run_collective(Communicator::State& in, const CollectiveCall& call,
                            const CollectiveShape& shape, const ConstBuffer& input,
                            const Buffer& output) {
  const Call scope(*this);
  Operation& request = begin_collective(in, call, shape, input, output);
  block_on(request);
  end_request(request);
}

Operation& Engine::begin_collective(Communicator::State& in, const CollectiveCall& call,
                                    const CollectiveShape& shape, const ConstBuffer& input,
                                    const Buffer& output) {
  CollectiveRun& run = make_run(in, call, input, output);
  Operation& request = *run.request;  // the run may be over before we return
  if (const std::shared_ptr<const Schedule>& schedule = in.planner->start(shape)) {
    take_course(run, *schedule);
    begin_run(run);
    return request;
  }
  auto held = std::make_unique<HeldCollective>();
  held->sizes.assign(shape.sizes.begin(), shape.sizes.end());
  held->receive_sizes.assign(shape.receive_sizes.begin(), shape.receive_sizes.end());
  held->shape = shape;
  held->shape.sizes = held->sizes;
  held->shape.receive_sizes = held->receive_sizes;
  run.held = std::move(held);
  return request;
}

void Engine::take_course(CollectiveRun& run, const Schedule& schedule) {
  Communicator::State& in = *run.communicator;
  std::shared_ptr<void>* const kept = in.planner->attachment(schedule);
  if (kept != nullptr && *kept != nullptr) {
    run.course = std::static_pointer_cast<Course>(*kept);
  } else {
    run.course = std::make_shared<Course>(make_course(schedule, in.group));
    if (kept != nullptr) *kept = run.course;
  }
  run.round_at = run.course->legs.data();
  run.end = run.round_at + run.course->legs.size();
}

/// A run with its number and request, which has no schedule yet.
CollectiveRun& Engine::make_run(Communicator::State& in, const CollectiveCall& call,
                                const ConstBuffer& input, const Buffer& output) {
  leave_if_aborted();
  CollectiveRun& run = runs_.take();
  run.communicator = &in;
  run.call = call;
  run.context = in.group.context + 1;
  run.mark = mark_of(call);
  run.number = in.next_collective;
  in.next_collective = in.next_collective == largest_tag ? 0 : in.next_collective + 1;
  Operation& request = requests_.take(Operation::Kind::collective, Operation::State::moving);
  request.group = &in.group;
  request.context = run.context;
  request.tag = run.number;
  request.collective = static_cast<std::uint8_t>(call.kind);
  request.from = input;
  request.into = output;
  request.run = nullptr;
  run.request = &request;
  in.runs.push_back(run);
  return run;
}

void Engine::begin_run(CollectiveRun& run) {
  Communicator::State& in = *run.communicator;
  place_regions(run, run.request->from, run.request->into);
  const CollectiveMark mark{run.number, run.call};
  in.recent[static_cast<std::size_t>(run.number) % in.recent.size()] = mark;
  check_waiting(in, mark);
  if (run.round_at != run.end) {
    soon_ = first_ = soon_from(run, run.round_at, run.round_at);
    first_.communicator = &in;
    if (first_course_ != run.course) first_course_ = run.course;
  }
  advance(run);
}

void Engine::release_held(Communicator::State& in) {
  for (CollectiveRun* run = in.runs.front(); run != nullptr;) {
    CollectiveRun* const next = in.runs.next(*run);
    if (run->held != nullptr) {
      const std::shared_ptr<const Schedule>& schedule = in.planner->start(run->held->shape);
      if (schedule == nullptr) return;
      take_course(*run, *schedule);
      run->held.reset();
      begin_run(*run);
    }
    run = next;
  }
}

void Engine::place_regions(CollectiveRun& run, const ConstBuffer& input, const Buffer& output) {
  const std::size_t scratch = run.course->scratch;
  if (input.is_phantom() || output.is_phantom()) return;  // nothing is there
  if (scratch != 0) run.region(Region::scratch) = blocks_.take(scratch);
  const bool both_whole = input.pieces().size() == 1 && output.pieces().size() == 1;
  if (!both_whole) [[unlikely]] {
    return pack(run, input, output);
  }
  run.region(Region::input) = const_cast<std::byte*>(input.pieces().front().data);
  run.region(Region::output) = output.pieces().front().data;
}

void Engine::pack(CollectiveRun& run, const ConstBuffer& input, const Buffer& output) {
  run.packed = std::make_unique<PackedBuffers>();
  run.packed->input.resize(input.size());
  copy_from(input.pieces(), 0, run.packed->input.data(), input.size());
  run.region(Region::input) = run.packed->input.data();
  run.packed->output.resize(output.size());
  // What is received in part keeps the rest of what was there.
  std::size_t offset = 0;
  for (const Slice& piece : output.pieces()) {
    if (piece.size != 0) std::memcpy(run.packed->output.data() + offset, piece.data, piece.size);
    offset += piece.size;
  }
  run.region(Region::output) = run.packed->output.data();
}

// What each message of a collective passes is one function: calls cost about as much as what is
// done in them.

[[gnu::always_inline]] inline void Engine::start_send_leg(CollectiveRun& run, Leg& leg,
                                                          std::uint32_t context) {
  if (!leg.knows_peer()) [[unlikely]] {
    leg.know(peer_of(leg.rank()));
  }
  Peer& peer = leg.peer();
  note_latest(peer);
  const ConstSlice from = memory_from(run, leg);
  const std::uint32_t ordinal = run.sends_started++;
  const SendCall call{*run.communicator, context, run.number, false, run.mark};
  const bool is_phantom = from.data == nullptr && from.size != 0;
  if (peer.may_send() &&
      try_eager_here(peer, call, {&from, 1}, from.size, is_phantom ? flag_phantom : 0, 0)) {
    return;
  }
  Operation& send = start_late_send(peer, call, {from.data, from.size});
  if (send.is_complete()) return requests_.give_back(send);
  send.run = &run;
  send.ordinal = ordinal;
  run.sends_open.push_back(send);
}

[[gnu::always_inline]] inline void Engine::start_receive_leg(CollectiveRun& run, const Leg& leg,
                                                             std::uint32_t context) {
  const Slice into = memory_into(run, leg.region, leg.offset, leg.size);
  Operation& receive = requests_.take(Operation::Kind::receive, Operation::State::posted);
  receive.source = leg.rank().index;
  receive.tag = run.number;
  receive.context = context;
  receive.group = &run.communicator->group;
  receive.into = {into.data, into.size};
  receive.collective = static_cast<std::uint8_t>(run.call.kind);
  receive.run = &run;
  ++run.receives_open;
  start_receive(receive);
}

[[gnu::always_inline]] inline bool Engine::start_round(CollectiveRun& run, Leg* round) {
  if (ended_sends(run) < round->sends_ended_before()) return false;
  run.round_started = true;
  const std::uint32_t context = run.context;
  Leg* const end = round + 1 + round->other;
  for (Leg* leg = round + 1; leg != end; ++leg) {
    if (leg->kind == Leg::Kind::send) {
      start_send_leg(run, *leg, context);
    } else {
      start_receive_leg(run, *leg, context);
    }
  }
  return true;
}

[[gnu::always_inline]] inline void Engine::local_legs(CollectiveRun& run, const Leg* round) {
  const Leg* const end = round + 1 + round->offset;
  for (const Leg* leg = round + 1 + round->other; leg != end; ++leg) {
    const ConstSlice from = memory_from(run, *leg);
    const Slice into = memory_into(run, leg->into_region(), leg->into_offset(), leg->size);
    if (leg->kind == Leg::Kind::copy) {
      if (from.data != nullptr && into.data != nullptr && from.data != into.data) {
        std::memmove(into.data, from.data, from.size);
      }
      continue;
    }
    reduce_into(run.call.op, run.call.type, from, into);
    if (!options_.costs.reduce.is_unlimited()) {
      ports_.processor.spend(Bytes(leg->size) / options_.costs.reduce);
    }
  }
}

void Engine::advance(CollectiveRun& run) {
  if (run.advancing) return;
  run.advancing = true;
  while (run.round_at != run.end) {
    Leg* const round = run.round_at;
    if (!run.round_started && !start_round(run, round)) break;
    if (run.receives_open != 0 || ended_sends(run) < round->sends_ended_between()) {
      const Leg* const next = round + 1 + round->offset;
      soon_ = soon_from(run, round, next == run.end ? round : next);
      break;
    }
    local_legs(run, round);
    run.round_started = false;
    ++run.round;
    run.round_at = round + 1 + round->offset;
  }
  run.advancing = false;
  if (run.round_at == run.end && run.sends_open.empty()) end_run(run);
}

/// What the run touches from `round` on; `sends`: the next round that sends.
[[gnu::always_inline]] inline Engine::Soon Engine::soon_from(const CollectiveRun& run,
                                                             const Leg* round, const Leg* sends) {
  Soon soon{&run, round, nullptr, nullptr};
  const Leg* const end = sends + 1 + sends->other;
  for (const Leg* leg = sends + 1; leg != end; ++leg) {
    if (leg->kind != Leg::Kind::send) continue;
    if (leg->knows_peer()) soon.peer = &leg->peer();
    break;
  }
  return soon;
}

void Engine::end_run(CollectiveRun& run) {
  soon_ = first_;
  if (run.packed != nullptr) {
    const std::vector<std::byte>& output = run.packed->output;
    copy_into(run.request->into.pieces(), 0, output.data(), output.size());
  }
  if (std::byte* const scratch = run.region(Region::scratch)) {
    blocks_.give_back(scratch, run.course->scratch);
  }
  run.course.reset();
  run.communicator->runs.remove(run);
  Operation& request = *run.request;
  runs_.give_back(run);
  complete(request);
}

// --- Ranks that do not call the same. ---

/// A message of a collective that met no receive of one.
void Engine::check_collective(const PacketHeader& header) {
  const std::uint32_t index = header.context / 2;
  if (index >= communicators_.size() || communicators_[index] == nullptr) return;
  const Communicator::State& in = *communicators_[index];
  const CollectiveMark& mark = in.recent[static_cast<std::size_t>(header.tag) % in.recent.size()];
  if (mark.number == header.tag) check_collective(in, mark, header);
}

void Engine::check_waiting(const Communicator::State& in, const CollectiveMark& ours) {
  const Matching& queues = matching(in.group.context + 1);
  for (const Unexpected* message = queues.first_unexpected(); message != nullptr;
       message = Matching::next_unexpected(*message)) {
    if (message->tag == ours.number) check_collective(in, ours, message->header);
  }
}

void Engine::check_collective(const Communicator::State& in, const CollectiveMark& ours,
                              const PacketHeader& theirs) {
  const std::uint64_t mine = mark_of(ours.call);
  const bool whole = static_cast<PacketKind>(theirs.kind) == PacketKind::eager;
  if (whole ? mine == theirs.more : ours.call.kind == collective_of(theirs)) return;
  fail(fmt::format("collective {} of communicator {}: rank {} calls {}, rank {} calls {}",
                   ours.number, in.group.name, in.group.rank, describe_call(mine, true),
                   in.group.rank_of(theirs.source), describe_call(theirs.more, whole)));
}

void Engine::fail_step(const Operation& step, const PacketHeader& header) {
  fail(fmt::format(
      "collective {} of communicator {}: in {}, rank {} expects {} bytes from rank "
      "{}, which sends {} bytes",
      step.tag, step.group->name, to_name(static_cast<Collective>(step.collective)),
      step.group->rank, step.into.size(), step.group->rank_of(header.source), header.size));
}

}  // namespace ferry::mpi
