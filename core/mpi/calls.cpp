// The calls of a program: what they check, what they cost, when they block.
#include <fmt/format.h>

#include "core/mpi/engine_call.hpp"
#include "core/units/check.hpp"

namespace ferry::mpi {
namespace {

/// Of sends that have left when their call returns: complete, and nothing of them is kept.
constexpr Request ended = {~std::uint32_t{0}, ~std::uint32_t{0}};
bool is_ended(const Request& request) { return request.index == ended.index; }

std::uint32_t source_in_job(const Group& group, Rank from) {
  return from == any_source ? any_rank : group.in_job(from);
}

}  // namespace

void Engine::check_rank(const Communicator::State& in, Rank rank, const char* what) const {
  if (rank >= 0 && rank < in.group.size) return;
  check(false, fmt::format("{} {} of communicator {} is not from 0 to {}", what, rank,
                           in.group.name, in.group.size - 1));
}

Request Engine::isend(Communicator::State& in, const ConstBuffer& from, Rank to, Tag tag,
                      bool synchronous) {
  check_rank(in, to, "destination");
  const Call call(*this);
  Operation* send = start_send({in, in.group.context, tag, synchronous, 0}, to, from);
  if (send == nullptr) return ended;
  send->holds_request = true;
  return {send->index, send->generation};
}

Request Engine::irecv(Communicator::State& in, const Buffer& into, Rank from, Tag tag) {
  if (from != any_source) check_rank(in, from, "source");
  const Call call(*this);
  Operation& receive = post_receive(in, in.group.context, into, source_in_job(in.group, from), tag);
  receive.holds_request = true;
  return {receive.index, receive.generation};
}

void Engine::send(Communicator::State& in, const ConstBuffer& from, Rank to, Tag tag) {
  check_rank(in, to, "destination");
  const Call call(*this);
  Operation* send = start_send({in, in.group.context, tag, false, 0}, to, from);
  if (send == nullptr) return;
  block_on(*send);
  end_request(*send);
}

Status Engine::recv(Communicator::State& in, const Buffer& into, Rank from, Tag tag) {
  if (from != any_source) check_rank(in, from, "source");
  const Call call(*this);
  Operation& receive = post_receive(in, in.group.context, into, source_in_job(in.group, from), tag);
  block_on(receive);
  return end_request(receive);
}

Status Engine::sendrecv(Communicator::State& in, const ConstBuffer& from, Rank to, Tag send_tag,
                        const Buffer& into, Rank source, Tag tag) {
  check_rank(in, to, "destination");
  if (source != any_source) check_rank(in, source, "source");
  const Call call(*this);
  Operation& receive =
      post_receive(in, in.group.context, into, source_in_job(in.group, source), tag);
  Operation* send = start_send({in, in.group.context, send_tag, false, 0}, to, from);
  block_on(receive);
  const Status status = end_request(receive);
  if (send != nullptr) {
    block_on(*send);
    end_request(*send);
  }
  return status;
}

std::optional<Status> Engine::iprobe(Communicator::State& in, Rank from, Tag tag) {
  if (from != any_source) check_rank(in, from, "source");
  const Call call(*this);
  Matching& queues = matching(in.group.context);
  const Envelope wanted{source_in_job(in.group, from), tag};
  const Unexpected* found = nullptr;
  progress_until([&] { return (found = queues.find_message(wanted)) != nullptr; });
  if (found == nullptr) {
    throw_if_aborted();
    pause();
    return std::nullopt;
  }
  return Status{in.group.rank_of(found->source), found->tag, found->header.size};
}

Status Engine::probe(Communicator::State& in, Rank from, Tag tag) {
  if (from != any_source) check_rank(in, from, "source");
  const Call call(*this);
  Matching& queues = matching(in.group.context);
  const Envelope wanted{source_in_job(in.group, from), tag};
  const Unexpected* found = nullptr;
  const Block block(*this, Block::Probe{&in.group, from, tag});
  block_until([&] { return (found = queues.find_message(wanted)) != nullptr; });
  return {in.group.rank_of(found->source), found->tag, found->header.size};
}

Operation* Engine::operation_of(const Request& request) {
  if (request.empty() || is_ended(request)) return nullptr;
  return requests_.find({request.index, request.generation});
}

Status Engine::end_request(Operation& operation) {
  const Status status = operation.status;
  requests_.give_back(operation);
  return status;
}

void Engine::block_on(Operation& operation) {
  if (operation.is_complete()) return;
  const Block block(*this, operation);
  if (operation.kind == Operation::Kind::collective) return block_through(operation);
  block_until([&] { return operation.is_complete(); });
}

/// Most arrivals do not end a collective: what they set going goes on without the caller.
[[gnu::noinline]] void Engine::block_through(const Operation& collective) {
  const auto is_complete = [&] { return collective.is_complete(); };
  if (mutex_ == nullptr) {
    block_and_look(is_complete);
  } else {
    block_until(is_complete);
  }
  throw_if_aborted();  // it may be a mismatch
}

void Engine::throw_if_aborted() const {
  if (const std::string* why = aborted_.load(std::memory_order_acquire)) throw JobAborted(*why);
}

Status Engine::wait(Request& request) {
  Operation* operation = operation_of(request);
  if (operation == nullptr) {
    request = {};
    return {};
  }
  const Call call(*this);
  block_on(*operation);
  request = {};
  return end_request(*operation);
}

void Engine::wait_all(std::span<Request> requests, std::span<Status> statuses) {
  check(statuses.empty() || statuses.size() == requests.size(), "one status for each request");
  const Call call(*this);
  const Block block(*this, requests, true);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    Operation* operation = operation_of(requests[i]);
    if (operation != nullptr) block_until([&] { return operation->is_complete(); });
    const Status status = operation == nullptr ? Status{} : end_request(*operation);
    if (!statuses.empty()) statuses[i] = status;
    requests[i] = {};
  }
}

std::optional<std::size_t> Engine::wait_any(std::span<Request> requests, Status* status) {
  const Call call(*this);
  std::optional<std::size_t> found;
  bool all_empty = true;
  const auto look = [&] {
    for (std::size_t i = 0; i < requests.size(); ++i) {
      if (requests[i].empty()) continue;
      const Operation* operation = operation_of(requests[i]);
      all_empty = false;
      if (operation != nullptr && !operation->is_complete()) continue;
      found = i;
      return true;
    }
    return all_empty;
  };
  {
    const Block block(*this, requests, false);
    block_until(look);
  }
  if (!found) return std::nullopt;
  Operation* operation = operation_of(requests[*found]);
  const Status ended_as = operation == nullptr ? Status{} : end_request(*operation);
  if (status != nullptr) *status = ended_as;
  requests[*found] = {};
  return found;
}

bool Engine::test(Request& request, Status* status) {
  Operation* operation = operation_of(request);
  if (operation == nullptr) {
    request = {};
    if (status != nullptr) *status = {};
    return true;
  }
  const Call call(*this);
  if (!progress_until([&] { return operation->is_complete(); })) {
    throw_if_aborted();
    pause();
    return false;
  }
  request = {};
  const Status ended_as = end_request(*operation);
  if (status != nullptr) *status = ended_as;
  return true;
}

void Engine::cancel(Request& request) {
  const Call call(*this);
  Operation* operation = operation_of(request);
  if (operation == nullptr || operation->kind != Operation::Kind::receive) return;
  if (operation->state != Operation::State::posted) return;
  matching(operation->context).withdraw(*operation);
  operation->status.cancelled = true;
  complete(*operation);
}

}  // namespace ferry::mpi
