// LU: pencils along z over a 2-D grid of ranks. An iteration is a lower sweep, a plane of z after
// the other from the north-west corner, an upper sweep back, and the right-hand side with two rows
// of ghost points from each neighbour (LU/ssor.f, blts.f, buts.f, exchange_1.f, exchange_3.f).
//
// An iteration's time: a third for each sweep (jacld + blts, jacu + buts), evenly over the planes,
// and a third for the right-hand side, a third of that for each axis; assumed.
#include <array>
#include <cmath>
#include <optional>

#include "core/mpi/workloads/nas.hpp"
#include "core/mpi/workloads/split.hpp"

namespace ferry::mpi {
namespace {

constexpr std::size_t unknowns = 5;  ///< at each point
constexpr std::size_t ghost_rows = 2;
// init_comm.f
constexpr Tag from_south = 1;
constexpr Tag from_north = 2;
constexpr Tag from_east = 3;
constexpr Tag from_west = 4;

/// A rank's place in the grid (proc_grid.f, neighbors.f, subdomain.f).
struct Pencil {
  std::optional<Rank> north;
  std::optional<Rank> south;
  std::optional<Rank> west;
  std::optional<Rank> east;
  std::uint32_t x = 0;  ///< points
  std::uint32_t y = 0;
  std::uint32_t inner_x = 0;  ///< points that are not on the problem's boundary
  std::uint32_t inner_y = 0;
};

Pencil pencil_of(std::uint32_t points, std::uint32_t ranks, std::uint32_t rank) {
  auto columns = static_cast<std::uint32_t>(std::sqrt(static_cast<double>(ranks)) + 0.001);
  while (ranks % columns != 0) --columns;
  const std::uint32_t rows = ranks / columns;
  const std::uint32_t row = rank % rows;
  const std::uint32_t column = rank / rows;
  Pencil pencil;
  const auto id = static_cast<Rank>(rank);
  const auto step = static_cast<Rank>(rows);
  if (row > 0) pencil.north = id - 1;
  if (row + 1 < rows) pencil.south = id + 1;
  if (column > 0) pencil.west = id - step;
  if (column + 1 < columns) pencil.east = id + step;
  pencil.x = part_of(points, rows, row);
  pencil.y = part_of(points, columns, column);
  pencil.inner_x = pencil.x - (pencil.north ? 0 : 1) - (pencil.south ? 0 : 1);
  pencil.inner_y = pencil.y - (pencil.west ? 0 : 1) - (pencil.east ? 0 : 1);
  return pencil;
}

class Lu {
 public:
  Lu(const NasRun& run, Calls& calls)
      : run_(run),
        calls_(calls),
        planes_(of_class(lu_problems, run.problem).points),
        pencil_(pencil_of(planes_, static_cast<std::uint32_t>(calls.size()),
                          static_cast<std::uint32_t>(calls.rank()))) {
    const double share =
        static_cast<double>(pencil_.x) * pencil_.y / (static_cast<double>(planes_) * planes_);
    const Duration third = run.iteration * (share / 3);
    plane_ = third * (1.0 / (planes_ - 2));
    axis_ = third * (1.0 / 3);
  }

  void run() {
    calls_.barrier();
    for (std::uint32_t i = 1; i <= run_.iterations; ++i) {
      const std::size_t along_y = unknowns * pencil_.inner_y * real_size;
      const std::size_t along_x = unknowns * pencil_.inner_x * real_size;
      for (std::uint32_t k = 2; k < planes_; ++k) {
        sweep(pencil_.north, pencil_.south, from_north, along_y, pencil_.west, pencil_.east,
              from_west, along_x);
      }
      for (std::uint32_t k = 2; k < planes_; ++k) {
        sweep(pencil_.south, pencil_.north, from_south, along_y, pencil_.east, pencil_.west,
              from_east, along_x);
      }
      // `inorm` is the number of iterations: norms of the last one alone.
      if (i == run_.iterations) norm();
      right_hand_side();
      if (i == run_.iterations) norm();
    }
    calls_.allreduce(real_size);  // the longest time
  }

 private:
  /// One plane: from two neighbours, computed, to the two opposite ones.
  void sweep(std::optional<Rank> first_from, std::optional<Rank> first_to, Tag first_tag,
             std::size_t first_size, std::optional<Rank> second_from, std::optional<Rank> second_to,
             Tag second_tag, std::size_t second_size) {
    if (first_from) calls_.receive(first_size, *first_from, first_tag);
    if (second_from) calls_.receive(second_size, *second_from, second_tag);
    calls_.compute(plane_);
    if (first_to) calls_.send(first_size, *first_to, first_tag);
    if (second_to) calls_.send(second_size, *second_to, second_tag);
  }

  void norm() { calls_.allreduce(unknowns * real_size); }

  void shift(std::optional<Rank> from, std::optional<Rank> to, Tag tag, std::size_t size) {
    std::optional<Pending> pending;
    if (from) pending = calls_.start_receive(size, *from, tag);
    if (to) calls_.send(size, *to, tag);
    if (pending) calls_.wait(*pending);
  }

  void right_hand_side() {
    const std::size_t side = ghost_rows * unknowns * planes_ * real_size;
    shift(pencil_.north, pencil_.south, from_north, side * pencil_.y);
    shift(pencil_.south, pencil_.north, from_south, side * pencil_.y);
    calls_.compute(axis_);
    shift(pencil_.west, pencil_.east, from_west, side * pencil_.x);
    shift(pencil_.east, pencil_.west, from_east, side * pencil_.x);
    calls_.compute(axis_ + axis_);  // y and z
  }

  const NasRun& run_;
  Calls& calls_;
  std::uint32_t planes_;
  Pencil pencil_;
  Duration plane_;
  Duration axis_;
};

}  // namespace

void run_lu(const NasRun& run, Calls& calls) { Lu(run, calls).run(); }

// With n planes, h and v neighbours along x and y (each 0 to 2), i iterations: every plane but the
// outer two goes once over each edge in each direction that it has, so i (n - 2) (h + v) messages
// of 5 doubles for each inner point of the edge; and i (h + v) ghost faces of 2 x 5 x n doubles for
// each point of the edge.
Traffic lu_traffic(const NasRun& run, std::uint32_t ranks, std::uint32_t rank) {
  const std::uint64_t planes = of_class(lu_problems, run.problem).points;
  const Pencil pencil = pencil_of(static_cast<std::uint32_t>(planes), ranks, rank);
  const std::uint64_t along_x = (pencil.north ? 1 : 0) + (pencil.south ? 1 : 0);
  const std::uint64_t along_y = (pencil.west ? 1 : 0) + (pencil.east ? 1 : 0);
  Traffic traffic;
  traffic.messages = run.iterations * (planes - 2 + 1) * (along_x + along_y);
  const std::uint64_t sweep_bytes =
      unknowns * real_size * (along_x * pencil.inner_y + along_y * pencil.inner_x);
  const std::uint64_t ghost_bytes =
      ghost_rows * unknowns * real_size * planes * (along_x * pencil.y + along_y * pencil.x);
  traffic.bytes = run.iterations * ((planes - 2) * sweep_bytes + ghost_bytes);
  traffic.call(Collective::barrier, 0);
  for (int norm = 0; norm < 2; ++norm) traffic.call(Collective::allreduce, unknowns * real_size);
  traffic.call(Collective::allreduce, real_size);
  return traffic;
}

}  // namespace ferry::mpi
