// A workload's calls as calls of the engine.
#pragma once

#include <array>
#include <cstddef>
#include <deque>
#include <optional>
#include <vector>

#include "core/mpi/communicator.hpp"
#include "core/mpi/compute_watch.hpp"
#include "core/mpi/process.hpp"
#include "core/mpi/workloads/calls.hpp"
#include "core/mpi/workloads/workload_log.hpp"
#include "core/ports/clock.hpp"
#include "core/ports/processor.hpp"

namespace ferry::mpi {

/// What a world gives to a rank's program.
struct EnginePorts {
  Clock& clock;
  Processor& processor;
  std::optional<VmId> vm;         ///< of the rank
  ComputeWatch* watch = nullptr;  ///< is told when the rank computes; null: nobody asks
  /// Whether all messages have bytes; else only those of at most `largest_checked_whole`.
  bool every_byte = false;
};

/// Messages up to this size have bytes in every world, and all of them are checked. Larger ones are
/// phantoms, whose sizes and order alone are; or, with `every_byte`, memory of which so much at
/// either end is checked here (packets are, whole, by the engine).
inline constexpr std::size_t largest_checked_whole = 64;

/// Counts what it is asked for in `log.traffic` and what came wrong in `log.wrong_messages`.
class EngineCalls final : public Calls {
 public:
  EngineCalls(Process& process, const EnginePorts& ports, RankLog& log);

  [[nodiscard]] Rank rank() const override { return rank_; }
  [[nodiscard]] Rank size() const override { return size_; }
  [[nodiscard]] TimePoint now() const override { return ports_.clock.now(); }
  void compute(Duration work) override;
  void send(std::size_t size, Rank to, Tag tag) override;
  void receive(std::size_t size, Rank from, Tag tag) override;
  void exchange(std::size_t size, Rank to, Tag tag, std::size_t into, Rank from,
                Tag from_tag) override;
  void receive_any_size(Rank from, Tag tag) override;
  [[nodiscard]] Pending start_send(std::size_t size, Rank to, Tag tag) override;
  [[nodiscard]] Pending start_receive(std::size_t size, Rank from, Tag tag) override;
  void wait(Pending pending) override;
  void wait_all(std::span<const Pending> pending) override;
  bool test(Pending pending) override;
  void barrier() override;
  void bcast(std::size_t size, Rank root) override;
  void reduce(std::size_t size, Rank root) override;
  void allreduce(std::size_t size) override;
  void gather(std::size_t size, Rank root) override;
  void scatter(std::size_t size, Rank root) override;
  void allgather(std::size_t size) override;
  void alltoall(std::size_t size) override;
  void gatherv(std::span<const std::size_t> sizes, Rank root) override;
  void scatterv(std::span<const std::size_t> sizes, Rank root) override;
  void allgatherv(std::span<const std::size_t> sizes) override;
  void alltoallv(std::span<const std::size_t> send_sizes,
                 std::span<const std::size_t> receive_sizes) override;
  void reduce_scatter(std::span<const std::size_t> sizes) override;
  void scan(std::size_t size) override;
  [[nodiscard]] std::uint64_t suspension_turns() const override {
    return process_.suspension_turns();
  }
  [[nodiscard]] Duration longest(Duration value) override;

 private:
  /// Of one message that is real.
  class Content {
   public:
    [[nodiscard]] std::byte* of(std::size_t size) {
      if (size <= few_.size()) return few_.data();
      if (many_.size() < size) many_.resize(size);
      return many_.data();
    }
    [[nodiscard]] const std::byte* data(std::size_t size) const {
      return size <= few_.size() ? few_.data() : many_.data();
    }

   private:
    std::array<std::byte, largest_checked_whole> few_{};
    std::vector<std::byte> many_;  ///< kept: taking memory anew costs more than a message
  };
  struct Slot {
    Request request;
    bool receives = false;
    std::size_t posted = 0;  ///< bytes of the buffer
    Content content;
  };

  [[nodiscard]] bool is_real(std::size_t size) const {
    return size > 0 && (ports_.every_byte || size <= largest_checked_whole);
  }
  /// Memory of a message that is real, filled with what this rank sends; else a phantom.
  ConstBuffer outgoing(std::size_t size, Tag tag, Content& content) const;
  Buffer incoming(std::size_t size, Content& content) const;
  /// Of collectives whose bytes nobody looks at but the engine.
  ConstBuffer any_bytes(std::size_t size, Content& content) const;
  Buffer any_room(std::size_t size, Content& content) const;
  /// Numbers to add up, or a phantom.
  ConstBuffer summands(std::size_t size);
  /// `posted`: what there was room for; the bytes are looked at only where it was real.
  void check_received(const Status& status, std::size_t posted, const Content& content);
  void check_sums(std::size_t size, const Content& content, const char* what);
  void complain(std::string what);
  [[nodiscard]] Pending take_slot();

  Process& process_;
  Communicator world_;
  EnginePorts ports_;
  RankLog& log_;
  Rank rank_;
  Rank size_;
  Duration slice_;          ///< computed since the latest call
  TimePoint slice_ended_;   ///< calls take time: one that goes on begins when it ended
  Content sent_;            ///< of the call that blocks
  Content content_;         ///< likewise
  std::size_t summed_ = 0;  ///< bytes of `summands_` that are filled
  Content summands_;
  std::deque<Slot> slots_;  ///< in place while requests point into them
  std::vector<std::uint32_t> free_;
  std::vector<Request> requests_;
  std::vector<Status> statuses_;
};

}  // namespace ferry::mpi
