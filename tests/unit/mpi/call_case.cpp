#include "tests/unit/mpi/call_case.hpp"

namespace ferry::mpi {

Request start_case(Communicator in, const CollectiveCase& test, RankMemory& memory) {
  const ConstBuffer from(memory.input.data(), memory.input.size());
  const Buffer into(memory.output.data(), memory.output.size());
  constexpr ElementType type = ElementType::int32;
  constexpr Reduction op = Reduction::sum;
  std::vector<std::size_t> sent;
  std::vector<std::size_t> received;
  if (test.kind == Collective::alltoallv) {
    sent = row(test, in.rank());
    received = column(test, in.rank());
  }
  switch (test.kind) {
    case Collective::barrier: return in.ibarrier();
    case Collective::bcast: return in.ibcast(into, test.root);
    case Collective::reduce: return in.ireduce(from, into, type, op, test.root);
    case Collective::allreduce: return in.iallreduce(from, into, type, op);
    case Collective::gather: return in.igather(from, into, test.root);
    case Collective::gatherv: return in.igatherv(from, into, test.sizes, test.root);
    case Collective::scatter: return in.iscatter(from, into, test.root);
    case Collective::scatterv: return in.iscatterv(from, test.sizes, into, test.root);
    case Collective::allgather: return in.iallgather(from, into);
    case Collective::allgatherv: return in.iallgatherv(from, into, test.sizes);
    case Collective::alltoall: return in.ialltoall(from, into);
    case Collective::alltoallv: return in.ialltoallv(from, sent, into, received);
    case Collective::reduce_scatter: return in.ireduce_scatter(from, into, test.sizes, type, op);
    case Collective::scan: return in.iscan(from, into, type, op);
    case Collective::none: break;
  }
  return {};
}

void run_case(Communicator in, const CollectiveCase& test, RankMemory& memory) {
  const ConstBuffer from(memory.input.data(), memory.input.size());
  const Buffer into(memory.output.data(), memory.output.size());
  constexpr ElementType type = ElementType::int32;
  constexpr Reduction op = Reduction::sum;
  std::vector<std::size_t> sent;
  std::vector<std::size_t> received;
  if (test.kind == Collective::alltoallv) {
    sent = row(test, in.rank());
    received = column(test, in.rank());
  }
  switch (test.kind) {
    case Collective::barrier: return in.barrier();
    case Collective::bcast: return in.bcast(into, test.root);
    case Collective::reduce: return in.reduce(from, into, type, op, test.root);
    case Collective::allreduce: return in.allreduce(from, into, type, op);
    case Collective::gather: return in.gather(from, into, test.root);
    case Collective::gatherv: return in.gatherv(from, into, test.sizes, test.root);
    case Collective::scatter: return in.scatter(from, into, test.root);
    case Collective::scatterv: return in.scatterv(from, test.sizes, into, test.root);
    case Collective::allgather: return in.allgather(from, into);
    case Collective::allgatherv: return in.allgatherv(from, into, test.sizes);
    case Collective::alltoall: return in.alltoall(from, into);
    case Collective::alltoallv: return in.alltoallv(from, sent, into, received);
    case Collective::reduce_scatter: return in.reduce_scatter(from, into, test.sizes, type, op);
    case Collective::scan: return in.scan(from, into, type, op);
    case Collective::none: break;
  }
}

CollectiveCase random_case(Rank ranks, std::size_t largest, std::mt19937_64& random) {
  CollectiveCase test;
  test.kind = static_cast<Collective>(1 + random() % (collective_count - 1));
  test.ranks = ranks;
  if (has_root(test.kind))
    test.root = static_cast<Rank>(random() % static_cast<std::uint64_t>(ranks));
  if (by_sizes(test.kind)) {
    test.sizes = uneven_sizes(test, largest, random);
  } else if (test.kind != Collective::barrier) {
    test.size = random() % (largest + 1) * (reduces(test.kind) ? sum_element : 1);
  }
  return test;
}

}  // namespace ferry::mpi
