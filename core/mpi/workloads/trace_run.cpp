// A rank's part of a trace, call by call.
#include <algorithm>
#include <span>

#include "core/mpi/workloads/trace_file.hpp"

namespace ferry::mpi {
namespace {

using Kind = TraceAction::Kind;

/// Of messages whose tags the trace does not have.
constexpr Tag no_tag = 0;

class Replay {
 public:
  Replay(const TraceProgram::RankProgram& program, Duration million_units, Calls& calls)
      : program_(program), million_units_(million_units), calls_(calls) {}

  void run() {
    for (const TraceAction& action : program_.actions) {
      if (action.kind >= Kind::barrier) {
        collective(action);
      } else {
        act(action);
      }
    }
    wait_all();  // what the traced program did not wait for
  }

 private:
  struct Open {
    bool sends;
    Rank partner;
    Tag tag;
    Pending pending;
  };

  void compute(double units) {
    if (units > 0) calls_.compute(million_units_ * (units / 1e6));
  }

  void act(const TraceAction& action) {
    switch (action.kind) {
      case Kind::compute: return compute(action.amount);
      // Nobody else uses the rank's core, so that a rank that sleeps is one that computes.
      case Kind::sleep: return calls_.compute(Duration::milliseconds(1000) * action.amount);
      case Kind::send: return calls_.send(action.size, action.partner, action.tag);
      case Kind::receive:
        if (action.size == unknown_size) return calls_.receive_any_size(action.partner, action.tag);
        return calls_.receive(action.size, action.partner, action.tag);
      case Kind::isend:
        open_.push_back({true, action.partner, action.tag,
                         calls_.start_send(action.size, action.partner, action.tag)});
        return;
      case Kind::irecv:
        open_.push_back({false, action.partner, action.tag,
                         calls_.start_receive(action.size, action.partner, action.tag)});
        return;
      case Kind::sendrecv:
        return calls_.exchange(action.size, action.partner, no_tag, action.into, action.from,
                               no_tag);
      case Kind::wait:
      case Kind::test: return end(action);
      case Kind::wait_all: return wait_all();
      default: return;
    }
  }

  /// The oldest request that fits; none if a test has ended it.
  void end(const TraceAction& action) {
    const auto found = std::find_if(open_.begin(), open_.end(), [&](const Open& open) {
      return open.sends == action.sends && open.partner == action.partner && open.tag == action.tag;
    });
    if (found == open_.end()) return;
    if (action.kind == Kind::test) {
      if (!calls_.test(found->pending)) return;
    } else {
      calls_.wait(found->pending);
    }
    open_.erase(found);
  }

  void wait_all() {
    pending_.clear();
    for (const Open& open : open_) pending_.push_back(open.pending);
    calls_.wait_all(pending_);
    open_.clear();
  }

  [[nodiscard]] std::span<const std::size_t> sizes(const TraceAction& action, bool second) const {
    const auto ranks = static_cast<std::size_t>(calls_.size());
    return {program_.lists.data() + action.list + (second ? ranks : 0), ranks};
  }

  void collective(const TraceAction& action) {
    const std::size_t size = action.size;
    switch (action.kind) {
      case Kind::barrier: return calls_.barrier();
      case Kind::bcast: return calls_.bcast(size, action.partner);
      case Kind::reduce: calls_.reduce(size, action.partner); break;
      case Kind::allreduce: calls_.allreduce(size); break;
      case Kind::scan: calls_.scan(size); break;
      case Kind::reduce_scatter: calls_.reduce_scatter(sizes(action, false)); break;
      case Kind::gather: return calls_.gather(size, action.partner);
      case Kind::gatherv: return gatherv(action);
      case Kind::scatter: return calls_.scatter(size, action.partner);
      case Kind::scatterv: return scatterv(action);
      case Kind::allgather: return calls_.allgather(size);
      case Kind::allgatherv: return calls_.allgatherv(sizes(action, false));
      case Kind::alltoall: return calls_.alltoall(size);
      case Kind::alltoallv: return calls_.alltoallv(sizes(action, false), sizes(action, true));
      default: return;
    }
    compute(action.amount);
  }

  // The sizes that only the root has are zero elsewhere, where nothing but the rank's own counts.
  void gatherv(const TraceAction& action) {
    own_.assign(sizes(action, false).begin(), sizes(action, false).end());
    own_[static_cast<std::size_t>(calls_.rank())] = action.size;
    calls_.gatherv(own_, action.partner);
  }
  void scatterv(const TraceAction& action) {
    own_.assign(sizes(action, false).begin(), sizes(action, false).end());
    own_[static_cast<std::size_t>(calls_.rank())] = action.size;
    calls_.scatterv(own_, action.partner);
  }

  const TraceProgram::RankProgram& program_;
  Duration million_units_;
  Calls& calls_;
  std::vector<Open> open_;
  std::vector<Pending> pending_;
  std::vector<std::size_t> own_;
};

}  // namespace

void run_trace(const TraceProgram::RankProgram& program, Duration million_units, Calls& calls) {
  Replay(program, million_units, calls).run();
}

Traffic trace_traffic(const TraceProgram& program, std::uint32_t rank) {
  const TraceProgram::RankProgram& mine = program.ranks[rank];
  const std::size_t ranks = program.ranks.size();
  const auto sum = [&](const TraceAction& action) {
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < ranks; ++i) bytes += mine.lists[action.list + i];
    return bytes;
  };
  Traffic traffic;
  for (const TraceAction& action : mine.actions) {
    const bool root = action.partner == static_cast<Rank>(rank);
    switch (action.kind) {
      case Kind::send:
      case Kind::isend:
      case Kind::sendrecv: traffic.send(action.size); break;
      case Kind::barrier: traffic.call(Collective::barrier, 0); break;
      case Kind::bcast: traffic.call(Collective::bcast, root ? action.size : 0); break;
      case Kind::reduce: traffic.call(Collective::reduce, action.size); break;
      case Kind::allreduce: traffic.call(Collective::allreduce, action.size); break;
      case Kind::scan: traffic.call(Collective::scan, action.size); break;
      case Kind::gather: traffic.call(Collective::gather, action.size); break;
      case Kind::gatherv: traffic.call(Collective::gatherv, action.size); break;
      case Kind::scatter: traffic.call(Collective::scatter, root ? ranks * action.size : 0); break;
      case Kind::scatterv: traffic.call(Collective::scatterv, root ? sum(action) : 0); break;
      case Kind::allgather: traffic.call(Collective::allgather, action.size); break;
      case Kind::allgatherv:
        traffic.call(Collective::allgatherv, mine.lists[action.list + rank]);
        break;
      case Kind::alltoall: traffic.call(Collective::alltoall, ranks * action.size); break;
      case Kind::alltoallv: traffic.call(Collective::alltoallv, sum(action)); break;
      case Kind::reduce_scatter: traffic.call(Collective::reduce_scatter, sum(action)); break;
      default: break;
    }
  }
  return traffic;
}

}  // namespace ferry::mpi
