#include "tests/unit/workloads/recording_calls.hpp"

#include <deque>
#include <map>
#include <tuple>

namespace ferry::mpi {
namespace {

struct RankState {
  std::size_t next = 0;
  std::size_t collectives = 0;  ///< entered
  std::map<std::uint32_t, const RecordedCall*> receives;
};

class Pairing {
 public:
  explicit Pairing(const std::vector<RecordingCalls*>& ranks)
      : ranks_(ranks), states_(ranks.size()) {}

  std::string run() {
    for (bool moved = true; moved && wrong_.empty();) {
      moved = false;
      for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
        while (wrong_.empty() && step(rank)) moved = true;
      }
    }
    if (!wrong_.empty()) return wrong_;
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
      if (states_[rank].next < ranks_[rank]->calls.size()) {
        return "rank " + std::to_string(rank) + " is stuck in its call " +
               std::to_string(states_[rank].next);
      }
    }
    for (const auto& [envelope, sizes] : messages_) {
      if (!sizes.empty()) {
        return "rank " + std::to_string(std::get<1>(envelope)) + " never receives a message";
      }
    }
    return "";
  }

 private:
  /// Whether the rank's next call could be carried out.
  bool step(std::size_t rank) {
    RankState& state = states_[rank];
    if (state.next == ranks_[rank]->calls.size()) return false;
    const RecordedCall& call = ranks_[rank]->calls[state.next];
    const auto me = static_cast<Rank>(rank);
    switch (call.kind) {
      case RecordedCall::Kind::send:
        messages_[{me, call.partner, call.tag}].push_back(call.size);
        break;
      case RecordedCall::Kind::start_receive: state.receives[call.slot] = &call; break;
      case RecordedCall::Kind::receive:
        if (!take(me, call)) return false;
        break;
      case RecordedCall::Kind::wait:
        if (!take(me, *state.receives.at(call.slot))) return false;
        break;
      case RecordedCall::Kind::collective:
        if (!join(state, call)) return false;
        break;
    }
    ++state.next;
    return true;
  }

  bool take(Rank me, const RecordedCall& call) {
    std::deque<std::size_t>& sizes = messages_[{call.partner, me, call.tag}];
    if (sizes.empty()) return false;
    if (sizes.front() != call.size) {
      wrong_ = "rank " + std::to_string(me) + " expects " + std::to_string(call.size) +
               " bytes from rank " + std::to_string(call.partner) + " and gets " +
               std::to_string(sizes.front());
      return false;
    }
    sizes.pop_front();
    return true;
  }

  /// All ranks have to come before one may leave: the strictest that a collective can be.
  bool join(RankState& state, const RecordedCall& call) {
    const std::size_t number = state.collectives;
    if (entered_.size() <= number) entered_.push_back({call.shape, {}});
    Entered& entered = entered_[number];
    if (entered.shape != call.shape) {
      wrong_ = entered.shape + " meets " + call.shape;
      return false;
    }
    entered.ranks[&state] = true;
    if (entered.ranks.size() < ranks_.size()) return false;
    ++state.collectives;
    return true;
  }

  struct Entered {
    std::string shape;
    std::map<const RankState*, bool> ranks;
  };
  const std::vector<RecordingCalls*>& ranks_;
  std::vector<RankState> states_;
  std::map<std::tuple<Rank, Rank, Tag>, std::deque<std::size_t>> messages_;
  std::vector<Entered> entered_;
  std::string wrong_;
};

}  // namespace

std::string pair_up(const std::vector<RecordingCalls*>& ranks) { return Pairing(ranks).run(); }

}  // namespace ferry::mpi
