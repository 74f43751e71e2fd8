#include "tests/bench/bare_fibers.hpp"

#include <boost/context/fiber.hpp>
#include <boost/context/fixedsize_stack.hpp>
#include <cstdlib>
#include <queue>
#include <vector>

namespace ferry::bench {
namespace {

namespace context = boost::context;

class Simulation {
 public:
  explicit Simulation(const Play& play) : play_(play) {
    for (int rank = 0; rank < play.ranks; ++rank) {
      ranks_.push_back({*this, rank, {}, {}, 0, false});
    }
    for (Rank& rank : ranks_) {
      rank.inside = context::fiber(std::allocator_arg, context::fixedsize_stack(32 * 1024),
                                   [this, &rank](context::fiber&& outside) {
                                     rank.outside = std::move(outside);
                                     play_part(play_, rank.number, rank);
                                     ++ended_;
                                     return std::move(rank.outside);
                                   });
      at(0, rank, false);
    }
  }

  double run() {
    while (!events_.empty()) {
      const Event event = events_.top();
      events_.pop();
      now_ = event.time;
      Rank& rank = *event.rank;
      if (event.is_message) {
        ++rank.arrived;
        if (!rank.waits) continue;
        rank.waits = false;
      }
      rank.inside = std::move(rank.inside).resume();
    }
    if (ended_ != play_.ranks) std::abort();
    return static_cast<double>(now_) / 1e9;
  }

 private:
  struct Rank {
    void send(int to, int bytes) {
      const double on_wire = 1e9 * bytes / bytes_per_second;
      simulation.at(simulation.now_ + overhead_nanoseconds + latency_nanoseconds +
                        static_cast<std::int64_t>(on_wire),
                    simulation.ranks_[static_cast<std::size_t>(to)], true);
      compute(overhead_nanoseconds);
    }
    void receive(int /*from*/, int /*bytes*/) {
      while (arrived == 0) {
        waits = true;
        outside = std::move(outside).resume();
      }
      --arrived;
    }
    void compute(std::int64_t nanoseconds) {
      simulation.at(simulation.now_ + nanoseconds, *this, false);
      outside = std::move(outside).resume();
    }
    void allreduce() { exchange_by_doubling(simulation.play_.ranks, number, *this); }

    Simulation& simulation;
    int number;
    context::fiber inside;
    context::fiber outside;
    int arrived;
    bool waits;
  };
  struct Event {
    std::int64_t time;
    std::uint64_t sequence;
    Rank* rank;
    bool is_message;
    bool operator<(const Event& other) const {
      return time > other.time || (time == other.time && sequence > other.sequence);
    }
  };
  void at(std::int64_t time, Rank& rank, bool is_message) {
    events_.push({time, next_sequence_++, &rank, is_message});
  }

  Play play_;
  std::vector<Rank> ranks_;
  std::priority_queue<Event> events_;
  std::int64_t now_ = 0;
  std::uint64_t next_sequence_ = 0;
  int ended_ = 0;
};

}  // namespace

Measured play_with_bare_fibers(const Play& play) {
  Measured measured;
  Simulation simulation(play);
  measured.seconds = seconds_of([&] { measured.figure = simulation.run(); });
  measured.count = messages_of(play);
  return measured;
}

}  // namespace ferry::bench
