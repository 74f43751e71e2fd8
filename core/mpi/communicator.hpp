// The calls that an MPI program makes, by way of one rank's communicator. Semantics are MPI's:
// order of matching per (communicator, source, tag), wildcards, local and non-local completion,
// progress inside calls.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "core/mpi/types.hpp"

namespace ferry::mpi {

/// Groups of ranks that can talk to each other, as one of them sees it. Cheap to copy. All calls
/// are made by tasks of its rank. Blocking calls end early only if the task is cancelled or the job
/// is aborted: they then throw `JobAborted` (core/mpi/process.hpp), which unwinds the rank.
class Communicator {
 public:
  [[nodiscard]] Rank rank() const;
  [[nodiscard]] Rank size() const;

  // --- Point to point. Sends are standard mode; ssend's end when the receive has been matched. ---
  [[nodiscard]] Request isend(const ConstBuffer& from, Rank to, Tag tag);
  [[nodiscard]] Request issend(const ConstBuffer& from, Rank to, Tag tag);
  [[nodiscard]] Request irecv(const Buffer& into, Rank from, Tag tag);
  void send(const ConstBuffer& from, Rank to, Tag tag);
  Status recv(const Buffer& into, Rank from, Tag tag);
  Status sendrecv(const ConstBuffer& from, Rank to, Tag send_tag, const Buffer& into, Rank source,
                  Tag tag);
  /// The envelope of the message that a receive would match now.
  [[nodiscard]] std::optional<Status> iprobe(Rank from, Tag tag);
  Status probe(Rank from, Tag tag);

  // --- Completion. A request that is complete becomes empty; an empty one is complete. ---
  Status wait(Request& request);
  void wait_all(std::span<Request> requests, std::span<Status> statuses = {});
  /// Index of one that completed; none if all are empty.
  std::optional<std::size_t> wait_any(std::span<Request> requests, Status* status = nullptr);
  /// Progresses and returns whether it was complete; costs a poll if not.
  bool test(Request& request, Status* status = nullptr);
  /// A receive that is not matched ends as cancelled. A send is never withdrawn: it completes. The
  /// request has to be waited for in any case.
  void cancel(Request& request);

  // --- Collectives; every rank calls them in the same order. Sizes are bytes. The `i` ones return
  // at once; several may be under way. ---
  void barrier();
  void bcast(const Buffer& data, Rank root);
  void reduce(const ConstBuffer& from, const Buffer& into, ElementType type, Reduction op,
              Rank root);
  void allreduce(const ConstBuffer& from, const Buffer& into, ElementType type, Reduction op);
  void gather(const ConstBuffer& from, const Buffer& into, Rank root);
  void gatherv(const ConstBuffer& from, const Buffer& into, std::span<const std::size_t> sizes,
               Rank root);
  void scatter(const ConstBuffer& from, const Buffer& into, Rank root);
  void scatterv(const ConstBuffer& from, std::span<const std::size_t> sizes, const Buffer& into,
                Rank root);
  void allgather(const ConstBuffer& from, const Buffer& into);
  void allgatherv(const ConstBuffer& from, const Buffer& into, std::span<const std::size_t> sizes);
  void alltoall(const ConstBuffer& from, const Buffer& into);
  void alltoallv(const ConstBuffer& from, std::span<const std::size_t> send_sizes,
                 const Buffer& into, std::span<const std::size_t> receive_sizes);
  /// Of `sizes[i]` bytes for rank i.
  void reduce_scatter(const ConstBuffer& from, const Buffer& into,
                      std::span<const std::size_t> sizes, ElementType type, Reduction op);
  void scan(const ConstBuffer& from, const Buffer& into, ElementType type, Reduction op);

  [[nodiscard]] Request ibarrier();
  [[nodiscard]] Request ibcast(const Buffer& data, Rank root);
  [[nodiscard]] Request ireduce(const ConstBuffer& from, const Buffer& into, ElementType type,
                                Reduction op, Rank root);
  [[nodiscard]] Request iallreduce(const ConstBuffer& from, const Buffer& into, ElementType type,
                                   Reduction op);
  [[nodiscard]] Request igather(const ConstBuffer& from, const Buffer& into, Rank root);
  [[nodiscard]] Request igatherv(const ConstBuffer& from, const Buffer& into,
                                 std::span<const std::size_t> sizes, Rank root);
  [[nodiscard]] Request iscatter(const ConstBuffer& from, const Buffer& into, Rank root);
  [[nodiscard]] Request iscatterv(const ConstBuffer& from, std::span<const std::size_t> sizes,
                                  const Buffer& into, Rank root);
  [[nodiscard]] Request iallgather(const ConstBuffer& from, const Buffer& into);
  [[nodiscard]] Request iallgatherv(const ConstBuffer& from, const Buffer& into,
                                    std::span<const std::size_t> sizes);
  [[nodiscard]] Request ialltoall(const ConstBuffer& from, const Buffer& into);
  [[nodiscard]] Request ialltoallv(const ConstBuffer& from, std::span<const std::size_t> send_sizes,
                                   const Buffer& into, std::span<const std::size_t> receive_sizes);
  [[nodiscard]] Request ireduce_scatter(const ConstBuffer& from, const Buffer& into,
                                        std::span<const std::size_t> sizes, ElementType type,
                                        Reduction op);
  [[nodiscard]] Request iscan(const ConstBuffer& from, const Buffer& into, ElementType type,
                              Reduction op);

  // --- Communicators; collective calls. ---
  [[nodiscard]] Communicator dup();
  /// Ranks of one color, ordered by key, then by rank; none for a negative color.
  [[nodiscard]] std::optional<Communicator> split(std::int32_t color, std::int32_t key);

  /// The engine's side of it (communicator_state.hpp).
  struct State;
  /// `state` is its process's and lives as long.
  explicit Communicator(State& state) : state_(&state) {}
  [[nodiscard]] State& state() const { return *state_; }

 private:
  State* state_;
};

}  // namespace ferry::mpi
