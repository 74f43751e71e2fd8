// CG: a sparse matrix in blocks over a grid of ranks with as many columns as rows, or twice as
// many. A product is summed over each row of ranks by exchanges of halves, its result goes to the
// transposed rank, and sums are exchanges of single numbers (CG/cg.f: setup_submatrix_info,
// conj_grad).
//
// An iteration's time is divided by cg.f's own count of operations for each row of the matrix, with
// z = nonzer (nonzer + 1): 3 before, in each inner iteration z for the product and 5 for vectors, z
// for the last product, and 3 after it.
#include <array>
#include <bit>

#include "core/mpi/workloads/nas.hpp"
#include "core/mpi/workloads/split.hpp"

namespace ferry::mpi {
namespace {

constexpr Tag transpose_tag = 1;

/// A rank's block and who it talks to.
struct Block {
  std::uint32_t log_columns = 0;
  std::array<Rank, 32> partners = {};  ///< by stage, from 0: the farthest first
  Rank transposed = 0;
  std::size_t rows = 0;     ///< of the rank's block
  std::size_t part = 0;     ///< `send_len`: of the product, what it ends up with
  std::size_t columns = 0;  ///< `exch_recv_length`: of the vector, what it has
  bool square = true;
};

/// Points of the rank's columns (`setup_submatrix_info`).
std::size_t columns_of(std::uint32_t total, std::uint32_t grid_columns, std::uint32_t column,
                       bool square) {
  if (total % grid_columns == 0) return total / grid_columns;
  if (square) return part_of(total, grid_columns, column);
  // Halves of what a row of ranks has, the first one the larger.
  const std::size_t whole = part_of(total, grid_columns / 2, column / 2);
  return column % 2 == 0 ? (whole - 1) / 2 + 1 : whole / 2;
}

Block block_of(std::uint32_t total, std::uint32_t ranks, std::uint32_t rank) {
  const auto log_ranks = static_cast<std::uint32_t>(std::countr_zero(ranks));
  Block block;
  block.log_columns = (log_ranks + 1) / 2;
  const std::uint32_t grid_columns = 1U << block.log_columns;
  const std::uint32_t grid_rows = ranks / grid_columns;
  const std::uint32_t row = rank / grid_columns;
  const std::uint32_t column = rank % grid_columns;
  block.square = grid_columns == grid_rows;
  block.rows = part_of(total, grid_rows, row);
  block.columns = columns_of(total, grid_columns, column, block.square);
  if (block.square) {
    block.part = block.rows;
    block.transposed = static_cast<Rank>(rank % grid_rows * grid_rows + rank / grid_rows);
  } else {
    block.part = rank % 2 == 0 ? (1 + block.rows) / 2 : block.rows / 2;
    block.transposed =
        static_cast<Rank>(2 * (rank / 2 % grid_rows * grid_rows + rank / 2 / grid_rows) + rank % 2);
  }
  std::uint32_t span = grid_columns;
  for (std::uint32_t stage = 0; stage < block.log_columns; ++stage) {
    const std::uint32_t partner = (column + span / 2) % span + column / span * span;
    block.partners[stage] = static_cast<Rank>(row * grid_columns + partner);
    span /= 2;
  }
  return block;
}

class Cg {
 public:
  Cg(const NasRun& run, Calls& calls)
      : run_(run),
        calls_(calls),
        block_(block_of(of_class(cg_problems, run.problem).rows,
                        static_cast<std::uint32_t>(calls.size()),
                        static_cast<std::uint32_t>(calls.rank()))) {
    const CgProblem& problem = of_class(cg_problems, run.problem);
    const double product = problem.nonzeros * (problem.nonzeros + 1.0);
    const double work = 3 + CgProblem::inner_iterations * (product + 5) + product + 3;
    const double share = 1 / (work * calls.size());
    product_ = run.iteration * (product * share);
    vector_ = run.iteration * share;
  }

  void run() {
    calls_.barrier();
    for (std::uint32_t i = 0; i < run_.iterations; ++i) {
      conjugate_gradient();
      sum(2);  // x.z and z.z
    }
    calls_.reduce(real_size, 0);  // the longest time
  }

 private:
  void conjugate_gradient() {
    calls_.compute(vector_ * 3);
    sum(1);  // rho
    for (std::uint32_t i = 0; i < CgProblem::inner_iterations; ++i) {
      multiply();
      calls_.compute(vector_);
      sum(1);  // p.q
      calls_.compute(vector_ * 3);
      sum(1);  // rho
      calls_.compute(vector_);
    }
    multiply();
    calls_.compute(vector_ * 3);
    sum(1);  // the residual's norm
  }

  void swap(std::size_t size, Rank with, Tag tag, std::size_t into) {
    const Pending pending = calls_.start_receive(into * real_size, with, tag);
    calls_.send(size * real_size, with, tag);
    calls_.wait(pending);
  }

  void sum(std::size_t numbers) {
    for (std::uint32_t stage = 0; stage < block_.log_columns; ++stage) {
      swap(numbers, block_.partners[stage], static_cast<Tag>(stage + 1), numbers);
    }
  }

  void multiply() {
    calls_.compute(product_);
    for (std::uint32_t stage = block_.log_columns; stage-- > 0;) {
      const bool first = stage + 1 == block_.log_columns;
      // Where columns are twice the rows, the first exchange halves what is summed.
      const std::size_t sent = !block_.square && first ? block_.rows - block_.part : block_.part;
      swap(sent, block_.partners[stage], static_cast<Tag>(stage + 1), block_.part);
    }
    if (block_.log_columns > 0) swap(block_.part, block_.transposed, transpose_tag, block_.columns);
  }

  const NasRun& run_;
  Calls& calls_;
  Block block_;
  Duration product_;
  Duration vector_;
};

}  // namespace

void run_cg(const NasRun& run, Calls& calls) { Cg(run, calls).run(); }

// With s = log2 of the columns of ranks: 26 products, each s exchanges and one with the transposed
// rank, of `part` numbers (of rows - part in the first where columns are twice the rows), and 52
// sums of s exchanges of one number, and one of two numbers (x.z and z.z).
Traffic cg_traffic(const NasRun& run, std::uint32_t ranks, std::uint32_t rank) {
  const Block block = block_of(of_class(cg_problems, run.problem).rows, ranks, rank);
  constexpr std::uint64_t products = CgProblem::inner_iterations + 1;
  constexpr std::uint64_t sums = 2 * CgProblem::inner_iterations + 2;
  const std::uint64_t stages = block.log_columns;
  const std::uint64_t transposes = stages > 0 ? 1 : 0;
  Traffic traffic;
  traffic.messages = run.iterations * (products * (stages + transposes) + (sums + 1) * stages);
  std::uint64_t product_numbers = (stages + transposes) * block.part;
  if (!block.square) product_numbers = product_numbers - 2 * block.part + block.rows;
  traffic.bytes = run.iterations * real_size * (products * product_numbers + (sums + 2) * stages);
  traffic.call(Collective::barrier, 0);
  traffic.call(Collective::reduce, real_size);
  return traffic;
}

}  // namespace ferry::mpi
