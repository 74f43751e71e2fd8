// The collective calls of a communicator: what they check, and what they become.
#include <fmt/format.h>

#include <numeric>

#include "core/mpi/engine.hpp"
#include "core/units/check.hpp"

namespace ferry::mpi {
namespace {

using Sizes = std::span<const std::size_t>;

/// A collective as the engine takes it.
struct Prepared {
  CollectiveCall call;
  CollectiveShape shape;
  ConstBuffer input;
  Buffer output;
};

std::size_t sum_of(Sizes sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), std::size_t{0});
}

/// Arguments that a program got wrong end it; they are not worth formatting before that.
void check_size(const Communicator::State& in, Collective kind, const char* what, std::size_t given,
                std::size_t right) {
  if (given == right) return;
  check(false, fmt::format("{}: {} has {} bytes on rank {} of communicator {}, not {}",
                           to_name(kind), what, given, in.group.rank, in.group.name, right));
}

void check_sizes(const Communicator::State& in, Collective kind, Sizes sizes) {
  if (sizes.size() == static_cast<std::size_t>(in.group.size)) return;
  check(false, fmt::format("{}: there are {} sizes for the {} ranks of communicator {}",
                           to_name(kind), sizes.size(), in.group.size, in.group.name));
}

void check_root(const Communicator::State& in, Collective kind, Rank root) {
  if (root >= 0 && root < in.group.size) return;
  check(false, fmt::format("{}: root {} of communicator {} is not from 0 to {}", to_name(kind),
                           root, in.group.name, in.group.size - 1));
}

/// `size`: what all ranks have to agree on.
Prepared prepare(const Communicator::State& in, Collective kind, std::size_t size, Rank root,
                 const ConstBuffer& input, const Buffer& output) {
  Prepared prepared;
  prepared.call.kind = kind;
  prepared.call.size = size;
  prepared.call.root = root;
  prepared.shape.kind = kind;
  prepared.shape.rank = in.group.rank;
  prepared.shape.ranks = in.group.size;
  prepared.shape.root = root;
  prepared.shape.size = size;
  prepared.input = input;
  prepared.output = output;
  return prepared;
}

std::size_t ranks_of(const Communicator::State& in) {
  return static_cast<std::size_t>(in.group.size);
}

std::size_t own(const Communicator::State& in, Sizes sizes) {
  return sizes[static_cast<std::size_t>(in.group.rank)];
}

Prepared prepare_reduction(const Communicator::State& in, Collective kind, Rank root,
                           const ConstBuffer& from, const Buffer& into, ElementType type,
                           Reduction op) {
  Prepared prepared = prepare(in, kind, from.size(), root, from, into);
  prepared.call.type = type;
  prepared.call.op = op;
  prepared.shape.element = size_of(type);
  if (from.size() % size_of(type) != 0) {
    check(false, fmt::format("{}: {} bytes are no whole number of elements of {}", to_name(kind),
                             from.size(), size_of(type)));
  }
  return prepared;
}

Prepared barrier_of(const Communicator::State& in) {
  return prepare(in, Collective::barrier, 0, 0, {}, {});
}

Prepared bcast_of(const Communicator::State& in, const Buffer& data, Rank root) {
  check_root(in, Collective::bcast, root);
  return prepare(in, Collective::bcast, data.size(), root, {}, data);
}

Prepared reduce_of(const Communicator::State& in, const ConstBuffer& from, const Buffer& into,
                   ElementType type, Reduction op, Rank root) {
  check_root(in, Collective::reduce, root);
  const bool is_root = in.group.rank == root;
  if (is_root) check_size(in, Collective::reduce, "the result", into.size(), from.size());
  return prepare_reduction(in, Collective::reduce, root, from, is_root ? into : Buffer(), type, op);
}

Prepared allreduce_of(const Communicator::State& in, const ConstBuffer& from, const Buffer& into,
                      ElementType type, Reduction op, Collective kind = Collective::allreduce) {
  check_size(in, kind, "the result", into.size(), from.size());
  return prepare_reduction(in, kind, 0, from, into, type, op);
}

Prepared gather_of(const Communicator::State& in, const ConstBuffer& from, const Buffer& into,
                   Rank root) {
  check_root(in, Collective::gather, root);
  const bool is_root = in.group.rank == root;
  if (is_root)
    check_size(in, Collective::gather, "the result", into.size(), from.size() * ranks_of(in));
  return prepare(in, Collective::gather, from.size(), root, from, is_root ? into : Buffer());
}

Prepared gatherv_of(const Communicator::State& in, const ConstBuffer& from, const Buffer& into,
                    Sizes sizes, Rank root) {
  constexpr Collective kind = Collective::gatherv;
  check_root(in, kind, root);
  const bool is_root = in.group.rank == root;
  Prepared prepared = prepare(in, kind, 0, root, from, is_root ? into : Buffer());
  prepared.shape.size = from.size();
  if (!is_root) return prepared;
  check_sizes(in, kind, sizes);
  check_size(in, kind, "the root's part", from.size(), own(in, sizes));
  check_size(in, kind, "the result", into.size(), sum_of(sizes));
  prepared.shape.sizes = sizes;
  return prepared;
}

Prepared scatter_of(const Communicator::State& in, const ConstBuffer& from, const Buffer& into,
                    Rank root) {
  check_root(in, Collective::scatter, root);
  const bool is_root = in.group.rank == root;
  if (is_root)
    check_size(in, Collective::scatter, "what is sent", from.size(), into.size() * ranks_of(in));
  return prepare(in, Collective::scatter, into.size(), root, is_root ? from : ConstBuffer(), into);
}

Prepared scatterv_of(const Communicator::State& in, const ConstBuffer& from, Sizes sizes,
                     const Buffer& into, Rank root) {
  constexpr Collective kind = Collective::scatterv;
  check_root(in, kind, root);
  const bool is_root = in.group.rank == root;
  Prepared prepared = prepare(in, kind, 0, root, is_root ? from : ConstBuffer(), into);
  prepared.shape.size = into.size();
  if (!is_root) return prepared;
  check_sizes(in, kind, sizes);
  check_size(in, kind, "the root's part", into.size(), own(in, sizes));
  check_size(in, kind, "what is sent", from.size(), sum_of(sizes));
  prepared.shape.sizes = sizes;
  return prepared;
}

Prepared allgather_of(const Communicator::State& in, const ConstBuffer& from, const Buffer& into) {
  check_size(in, Collective::allgather, "the result", into.size(), from.size() * ranks_of(in));
  return prepare(in, Collective::allgather, from.size(), 0, from, into);
}

Prepared allgatherv_of(const Communicator::State& in, const ConstBuffer& from, const Buffer& into,
                       Sizes sizes) {
  constexpr Collective kind = Collective::allgatherv;
  check_sizes(in, kind, sizes);
  check_size(in, kind, "what is sent", from.size(), own(in, sizes));
  check_size(in, kind, "the result", into.size(), sum_of(sizes));
  Prepared prepared = prepare(in, kind, into.size(), 0, from, into);
  prepared.shape.sizes = sizes;
  return prepared;
}

Prepared alltoall_of(const Communicator::State& in, const ConstBuffer& from, const Buffer& into) {
  constexpr Collective kind = Collective::alltoall;
  const std::size_t block = from.size() / ranks_of(in);
  check_size(in, kind, "what is sent", from.size(), block * ranks_of(in));
  check_size(in, kind, "the result", into.size(), from.size());
  return prepare(in, kind, block, 0, from, into);
}

Prepared alltoallv_of(const Communicator::State& in, const ConstBuffer& from, Sizes send_sizes,
                      const Buffer& into, Sizes receive_sizes) {
  constexpr Collective kind = Collective::alltoallv;
  check_sizes(in, kind, send_sizes);
  check_sizes(in, kind, receive_sizes);
  check_size(in, kind, "what is sent", from.size(), sum_of(send_sizes));
  check_size(in, kind, "the result", into.size(), sum_of(receive_sizes));
  check_size(in, kind, "what goes to oneself", own(in, receive_sizes), own(in, send_sizes));
  Prepared prepared = prepare(in, kind, 0, 0, from, into);
  prepared.shape.sizes = send_sizes;
  prepared.shape.receive_sizes = receive_sizes;
  return prepared;
}

Prepared reduce_scatter_of(const Communicator::State& in, const ConstBuffer& from,
                           const Buffer& into, Sizes sizes, ElementType type, Reduction op) {
  constexpr Collective kind = Collective::reduce_scatter;
  check_sizes(in, kind, sizes);
  check_size(in, kind, "what is sent", from.size(), sum_of(sizes));
  check_size(in, kind, "the result", into.size(), own(in, sizes));
  Prepared prepared = prepare_reduction(in, kind, 0, from, into, type, op);
  prepared.shape.sizes = sizes;
  for (const std::size_t size : sizes)
    check(size % size_of(type) == 0, "reduce_scatter: blocks have whole elements");
  return prepared;
}

void run(Communicator::State& in, const Prepared& prepared) {
  in.engine->run_collective(in, prepared.call, prepared.shape, prepared.input, prepared.output);
}

Request start(Communicator::State& in, const Prepared& prepared) {
  return in.engine->start_collective(in, prepared.call, prepared.shape, prepared.input,
                                     prepared.output);
}

}  // namespace

void Communicator::barrier() { run(*state_, barrier_of(*state_)); }
Request Communicator::ibarrier() { return start(*state_, barrier_of(*state_)); }

void Communicator::bcast(const Buffer& data, Rank root) {
  run(*state_, bcast_of(*state_, data, root));
}
Request Communicator::ibcast(const Buffer& data, Rank root) {
  return start(*state_, bcast_of(*state_, data, root));
}

void Communicator::reduce(const ConstBuffer& from, const Buffer& into, ElementType type,
                          Reduction op, Rank root) {
  run(*state_, reduce_of(*state_, from, into, type, op, root));
}
Request Communicator::ireduce(const ConstBuffer& from, const Buffer& into, ElementType type,
                              Reduction op, Rank root) {
  return start(*state_, reduce_of(*state_, from, into, type, op, root));
}

void Communicator::allreduce(const ConstBuffer& from, const Buffer& into, ElementType type,
                             Reduction op) {
  run(*state_, allreduce_of(*state_, from, into, type, op));
}
Request Communicator::iallreduce(const ConstBuffer& from, const Buffer& into, ElementType type,
                                 Reduction op) {
  return start(*state_, allreduce_of(*state_, from, into, type, op));
}

void Communicator::gather(const ConstBuffer& from, const Buffer& into, Rank root) {
  run(*state_, gather_of(*state_, from, into, root));
}
Request Communicator::igather(const ConstBuffer& from, const Buffer& into, Rank root) {
  return start(*state_, gather_of(*state_, from, into, root));
}

void Communicator::gatherv(const ConstBuffer& from, const Buffer& into, Sizes sizes, Rank root) {
  run(*state_, gatherv_of(*state_, from, into, sizes, root));
}
Request Communicator::igatherv(const ConstBuffer& from, const Buffer& into, Sizes sizes,
                               Rank root) {
  return start(*state_, gatherv_of(*state_, from, into, sizes, root));
}

void Communicator::scatter(const ConstBuffer& from, const Buffer& into, Rank root) {
  run(*state_, scatter_of(*state_, from, into, root));
}
Request Communicator::iscatter(const ConstBuffer& from, const Buffer& into, Rank root) {
  return start(*state_, scatter_of(*state_, from, into, root));
}

void Communicator::scatterv(const ConstBuffer& from, Sizes sizes, const Buffer& into, Rank root) {
  run(*state_, scatterv_of(*state_, from, sizes, into, root));
}
Request Communicator::iscatterv(const ConstBuffer& from, Sizes sizes, const Buffer& into,
                                Rank root) {
  return start(*state_, scatterv_of(*state_, from, sizes, into, root));
}

void Communicator::allgather(const ConstBuffer& from, const Buffer& into) {
  run(*state_, allgather_of(*state_, from, into));
}
Request Communicator::iallgather(const ConstBuffer& from, const Buffer& into) {
  return start(*state_, allgather_of(*state_, from, into));
}

void Communicator::allgatherv(const ConstBuffer& from, const Buffer& into, Sizes sizes) {
  run(*state_, allgatherv_of(*state_, from, into, sizes));
}
Request Communicator::iallgatherv(const ConstBuffer& from, const Buffer& into, Sizes sizes) {
  return start(*state_, allgatherv_of(*state_, from, into, sizes));
}

void Communicator::alltoall(const ConstBuffer& from, const Buffer& into) {
  run(*state_, alltoall_of(*state_, from, into));
}
Request Communicator::ialltoall(const ConstBuffer& from, const Buffer& into) {
  return start(*state_, alltoall_of(*state_, from, into));
}

void Communicator::alltoallv(const ConstBuffer& from, Sizes send_sizes, const Buffer& into,
                             Sizes receive_sizes) {
  run(*state_, alltoallv_of(*state_, from, send_sizes, into, receive_sizes));
}
Request Communicator::ialltoallv(const ConstBuffer& from, Sizes send_sizes, const Buffer& into,
                                 Sizes receive_sizes) {
  return start(*state_, alltoallv_of(*state_, from, send_sizes, into, receive_sizes));
}

void Communicator::reduce_scatter(const ConstBuffer& from, const Buffer& into, Sizes sizes,
                                  ElementType type, Reduction op) {
  run(*state_, reduce_scatter_of(*state_, from, into, sizes, type, op));
}
Request Communicator::ireduce_scatter(const ConstBuffer& from, const Buffer& into, Sizes sizes,
                                      ElementType type, Reduction op) {
  return start(*state_, reduce_scatter_of(*state_, from, into, sizes, type, op));
}

void Communicator::scan(const ConstBuffer& from, const Buffer& into, ElementType type,
                        Reduction op) {
  run(*state_, allreduce_of(*state_, from, into, type, op, Collective::scan));
}
Request Communicator::iscan(const ConstBuffer& from, const Buffer& into, ElementType type,
                            Reduction op) {
  return start(*state_, allreduce_of(*state_, from, into, type, op, Collective::scan));
}

}  // namespace ferry::mpi
