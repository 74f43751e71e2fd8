#include "core/mpi/communicator.hpp"

#include "core/mpi/engine.hpp"

namespace ferry::mpi {

Rank Communicator::rank() const { return state_->group.rank; }
Rank Communicator::size() const { return state_->group.size; }

Request Communicator::isend(const ConstBuffer& from, Rank to, Tag tag) {
  return state_->engine->isend(*state_, from, to, tag, false);
}
Request Communicator::issend(const ConstBuffer& from, Rank to, Tag tag) {
  return state_->engine->isend(*state_, from, to, tag, true);
}
Request Communicator::irecv(const Buffer& into, Rank from, Tag tag) {
  return state_->engine->irecv(*state_, into, from, tag);
}
void Communicator::send(const ConstBuffer& from, Rank to, Tag tag) {
  state_->engine->send(*state_, from, to, tag);
}
Status Communicator::recv(const Buffer& into, Rank from, Tag tag) {
  return state_->engine->recv(*state_, into, from, tag);
}
Status Communicator::sendrecv(const ConstBuffer& from, Rank to, Tag send_tag, const Buffer& into,
                              Rank source, Tag tag) {
  return state_->engine->sendrecv(*state_, from, to, send_tag, into, source, tag);
}
std::optional<Status> Communicator::iprobe(Rank from, Tag tag) {
  return state_->engine->iprobe(*state_, from, tag);
}
Status Communicator::probe(Rank from, Tag tag) { return state_->engine->probe(*state_, from, tag); }

Status Communicator::wait(Request& request) { return state_->engine->wait(request); }
void Communicator::wait_all(std::span<Request> requests, std::span<Status> statuses) {
  state_->engine->wait_all(requests, statuses);
}
std::optional<std::size_t> Communicator::wait_any(std::span<Request> requests, Status* status) {
  return state_->engine->wait_any(requests, status);
}
bool Communicator::test(Request& request, Status* status) {
  return state_->engine->test(request, status);
}
void Communicator::cancel(Request& request) { state_->engine->cancel(request); }

}  // namespace ferry::mpi
