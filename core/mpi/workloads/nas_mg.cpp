// MG: V-cycles over grids of halving size; after each step the ranks give their borders to their
// neighbours along the three axes, which are periodic: a rank that is alone along an axis sends to
// itself. On grids with fewer points than ranks along an axis some ranks are idle ("dead"), and
// take their borders from the others on the way back (MG/mg.f: setup, mg3P, comm3, comm3_ex).
//
// An iteration's time is divided by the operations that mg.f's comments count for each point:
// psinv and resid 19, rprj3 24 (of the coarser grid), interp 20 (of the coarser grid).
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <vector>

#include "core/mpi/workloads/nas.hpp"

namespace ferry::mpi {
namespace {

constexpr std::size_t axes = 3;
constexpr double smooth_work = 19;
constexpr double residual_work = 19;
constexpr double restrict_work = 24;
constexpr double interpolate_work = 20;

/// One grid as a rank has it.
struct Level {
  std::array<std::uint32_t, axes> width = {};  ///< `mi`: points and two of the border; 2: none
  std::array<Rank, axes> next = {};            ///< `nbr(axis, +1)`
  std::array<Rank, axes> previous = {};        ///< `nbr(axis, -1)`
  std::array<bool, axes> gives = {};           ///< `give_ex`
  std::array<bool, axes> takes = {};           ///< `take_ex`
  bool dead = false;

  [[nodiscard]] std::size_t points() const {
    if (dead) return 0;
    std::size_t points = 1;
    for (const std::uint32_t one : width) points *= one - 2;
    return points;
  }
  /// What comm3 sends along an axis in either direction, points: borders that are already there
  /// are sent on.
  [[nodiscard]] std::size_t face(std::size_t axis) const {
    switch (axis) {
      case 0: return std::size_t{width[1] - 2} * (width[2] - 2);
      case 1: return std::size_t{width[0]} * (width[2] - 2);
      default: return std::size_t{width[0]} * width[1];
    }
  }
  /// A whole plane across an axis, border included.
  [[nodiscard]] std::size_t plane(std::size_t axis) const {
    return std::size_t{width[(axis + 1) % axes]} * width[(axis + 2) % axes];
  }
};

/// From the coarsest, number 1, to the finest; number 0 is not used.
std::vector<Level> levels_of(std::uint32_t finest, std::uint32_t ranks, std::uint32_t rank) {
  const auto log_ranks = static_cast<std::uint32_t>(std::countr_zero(ranks));
  const std::uint32_t log_x = log_ranks / 3;
  const std::uint32_t log_y = (log_ranks - log_x) / 2;
  const std::array<std::uint32_t, axes> count = {1U << log_x, 1U << log_y,
                                                 1U << (log_ranks - log_x - log_y)};
  const std::array<std::uint32_t, axes> place = {rank % count[0], rank / count[0] % count[1],
                                                 rank / (count[0] * count[1])};
  const auto rank_at = [&](const std::array<std::uint32_t, axes>& at) {
    return static_cast<Rank>(at[0] + count[0] * (at[1] + count[1] * at[2]));
  };
  std::vector<Level> levels(finest + 1);
  std::array<std::uint32_t, axes> step = {1, 1, 1};
  for (std::uint32_t k = finest; k >= 1; --k) {
    Level& level = levels[k];
    const std::uint64_t points = 1ULL << k;
    for (std::size_t axis = 0; axis < axes; ++axis) {
      const auto width = [&](std::uint64_t at) {
        return static_cast<std::uint32_t>(2 + (at + 1) * points / count[axis] -
                                          at * points / count[axis]);
      };
      const std::uint32_t mine = width(place[axis]);
      const std::uint32_t neighbours = width(place[axis] + step[axis]);
      level.width[axis] = mine;
      if (neighbours == 2 || mine == 2) step[axis] *= 2;
      if (k < finest) {
        levels[k + 1].gives[axis] = neighbours == 2 && mine == 3;
        levels[k + 1].takes[axis] = neighbours == 3 && mine == 2;
      }
      level.dead = level.dead || mine == 2;
    }
    for (std::size_t axis = 0; axis < axes; ++axis) {
      std::array<std::uint32_t, axes> at = place;
      at[axis] = (place[axis] + step[axis]) % count[axis];
      level.next[axis] = rank_at(at);
      at[axis] = (place[axis] + count[axis] - step[axis] % count[axis]) % count[axis];
      level.previous[axis] = rank_at(at);
    }
  }
  return levels;
}

Tag tag_of(std::size_t axis, bool forward) {
  return static_cast<Tag>(10 * (axis + 1) + (forward ? 1 : 0));
}

class Mg {
 public:
  Mg(const NasRun& run, Calls& calls)
      : run_(run),
        calls_(calls),
        finest_(of_class(mg_problems, run.problem).log_points),
        levels_(levels_of(finest_, static_cast<std::uint32_t>(calls.size()),
                          static_cast<std::uint32_t>(calls.rank()))) {
    double work = residual_work * std::exp2(3.0 * finest_);
    for (std::uint32_t k = 1; k <= finest_; ++k) {
      const double points = std::exp2(3.0 * k);
      work += points * smooth_work;
      if (k > 1) work += points * residual_work;
      if (k < finest_) work += points * (restrict_work + interpolate_work);
    }
    iteration_nanoseconds_ = static_cast<double>(run.iteration.count_nanoseconds()) / work;
  }

  void run() {
    calls_.barrier();
    step(finest_, residual_work);
    norms();
    for (std::uint32_t i = 0; i < run_.iterations; ++i) {
      cycle();
      step(finest_, residual_work);
    }
    norms();
    calls_.reduce(real_size, 0);  // the longest time
  }

 private:
  void cycle() {
    for (std::uint32_t k = finest_; k > 1; --k) step(k - 1, restrict_work);
    step(1, smooth_work);
    for (std::uint32_t k = 2; k <= finest_; ++k) {
      compute(k - 1, interpolate_work);
      expand(levels_[k]);
      step(k, residual_work);
      step(k, smooth_work);
    }
  }

  /// Something computed for each point of a grid, and its borders exchanged.
  void step(std::uint32_t k, double work) {
    compute(k, work);
    const Level& level = levels_[k];
    if (level.dead || calls_.size() == 1) return;
    for (std::size_t axis = 0; axis < axes; ++axis) {
      const std::size_t size = level.face(axis) * real_size;
      trade(axis, level.previous[axis], level.next[axis], size, size, true, true);
    }
  }

  /// Borders for ranks that had no points on the coarser grid.
  void expand(const Level& level) {
    if (calls_.size() == 1) return;
    for (std::size_t axis = 0; axis < axes; ++axis) {
      const std::size_t plane = level.plane(axis) * real_size;
      trade(axis, level.previous[axis], level.next[axis], 2 * plane, plane, level.gives[axis],
            level.takes[axis]);
    }
  }

  /// `forward` bytes go to the next rank, `backward` to the previous one; likewise from them.
  void trade(std::size_t axis, Rank previous, Rank next, std::size_t forward, std::size_t backward,
             bool gives, bool takes) {
    std::array<Pending, 2> pending;
    if (takes) {
      pending[0] = calls_.start_receive(backward, next, tag_of(axis, false));
      pending[1] = calls_.start_receive(forward, previous, tag_of(axis, true));
    }
    if (gives) {
      calls_.send(forward, next, tag_of(axis, true));
      calls_.send(backward, previous, tag_of(axis, false));
    }
    if (takes) {
      calls_.wait(pending[0]);
      calls_.wait(pending[1]);
    }
  }

  void norms() {
    calls_.allreduce(real_size);  // the largest
    calls_.allreduce(real_size);  // the sum of squares
  }

  void compute(std::uint32_t k, double work) {
    const double nanoseconds =
        iteration_nanoseconds_ * work * static_cast<double>(levels_[k].points());
    calls_.compute(Duration::nanoseconds(std::llround(nanoseconds)));
  }

  const NasRun& run_;
  Calls& calls_;
  std::uint32_t finest_;
  std::vector<Level> levels_;
  double iteration_nanoseconds_ = 0;
};

}  // namespace

void run_mg(const NasRun& run, Calls& calls) { Mg(run, calls).run(); }

// Each exchange of a grid's borders is six messages of its faces, for ranks that have points there.
// A cycle has one for restriction to each grid but the finest, two (residual and smoother) on each
// but the coarsest, one (smoother) there, and the residual after it one more on the finest; the
// first residual is one on its own. So 3 for each grid and iteration, but 2 for the coarsest, and
// one more. Expanding gives a neighbour two planes and the other one: two messages for an axis.
Traffic mg_traffic(const NasRun& run, std::uint32_t ranks, std::uint32_t rank) {
  Traffic traffic;
  const std::uint32_t finest = of_class(mg_problems, run.problem).log_points;
  const std::vector<Level> levels = levels_of(finest, ranks, rank);
  for (std::uint32_t k = 1; ranks > 1 && k <= finest; ++k) {
    const Level& level = levels[k];
    const std::uint64_t exchanges =
        (k == 1 ? 2 : 3) * std::uint64_t{run.iterations} + (k == finest ? 1 : 0);
    for (std::size_t axis = 0; axis < axes; ++axis) {
      if (!level.dead) {
        traffic.messages += exchanges * 2;
        traffic.bytes += exchanges * 2 * level.face(axis) * real_size;
      }
      if (level.gives[axis]) {
        traffic.messages += std::uint64_t{run.iterations} * 2;
        traffic.bytes += std::uint64_t{run.iterations} * 3 * level.plane(axis) * real_size;
      }
    }
  }
  traffic.call(Collective::barrier, 0);
  for (int norm = 0; norm < 4; ++norm) traffic.call(Collective::allreduce, real_size);
  traffic.call(Collective::reduce, real_size);
  return traffic;
}

}  // namespace ferry::mpi
