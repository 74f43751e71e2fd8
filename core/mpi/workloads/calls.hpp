// The calls that workloads make: MPI's, with sizes in place of memory, and computation. In jobs
// they go to the engine (`engine_calls.hpp`), in tests to something that counts them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/mpi/types.hpp"
#include "core/units/units.hpp"

namespace ferry::mpi {

/// A non-blocking call that has not been waited for.
struct Pending {
  std::uint32_t slot = 0;
};

/// One rank's. No call allocates once as many requests are pending as ever will be. Sizes are
/// bytes. Blocking calls may throw `JobAborted`.
class Calls {
 public:
  Calls() = default;
  virtual ~Calls() = default;
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  [[nodiscard]] virtual Rank rank() const = 0;
  [[nodiscard]] virtual Rank size() const = 0;
  /// The rank's own time.
  [[nodiscard]] virtual TimePoint now() const = 0;
  virtual void compute(Duration work) = 0;

  virtual void send(std::size_t size, Rank to, Tag tag) = 0;
  virtual void receive(std::size_t size, Rank from, Tag tag) = 0;
  virtual void exchange(std::size_t size, Rank to, Tag tag, std::size_t into, Rank from,
                        Tag from_tag) = 0;
  /// A receive whose size only the message knows.
  virtual void receive_any_size(Rank from, Tag tag) = 0;
  [[nodiscard]] virtual Pending start_send(std::size_t size, Rank to, Tag tag) = 0;
  [[nodiscard]] virtual Pending start_receive(std::size_t size, Rank from, Tag tag) = 0;
  virtual void wait(Pending pending) = 0;
  virtual void wait_all(std::span<const Pending> pending) = 0;
  /// Whether it has ended; it then needs no wait.
  virtual bool test(Pending pending) = 0;

  virtual void barrier() = 0;
  virtual void bcast(std::size_t size, Rank root) = 0;
  virtual void reduce(std::size_t size, Rank root) = 0;
  virtual void allreduce(std::size_t size) = 0;
  /// `size` is one rank's part, as it is in the next three.
  virtual void gather(std::size_t size, Rank root) = 0;
  virtual void scatter(std::size_t size, Rank root) = 0;
  virtual void allgather(std::size_t size) = 0;
  virtual void alltoall(std::size_t size) = 0;
  /// Sizes by rank, in the next five.
  virtual void gatherv(std::span<const std::size_t> sizes, Rank root) = 0;
  virtual void scatterv(std::span<const std::size_t> sizes, Rank root) = 0;
  virtual void allgatherv(std::span<const std::size_t> sizes) = 0;
  virtual void alltoallv(std::span<const std::size_t> send_sizes,
                         std::span<const std::size_t> receive_sizes) = 0;
  virtual void reduce_scatter(std::span<const std::size_t> sizes) = 0;
  virtual void scan(std::size_t size) = 0;

  /// As `Process::suspension_turns`.
  [[nodiscard]] virtual std::uint64_t suspension_turns() const = 0;
  /// The largest of all ranks' values: an allreduce of 8 bytes whose result is real.
  [[nodiscard]] virtual Duration longest(Duration value) = 0;
};

}  // namespace ferry::mpi
