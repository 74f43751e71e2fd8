// A workload's calls without any world: each is written down and counted. What workloads do depends
// on no received bytes, so that one rank after the other can be recorded, and all are then paired.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/mpi/workloads/calls.hpp"
#include "core/mpi/workloads/traffic.hpp"

namespace ferry::mpi {

struct RecordedCall {
  enum class Kind : std::uint8_t { send, receive, start_receive, wait, collective };
  Kind kind = Kind::send;
  Rank partner = 0;
  Tag tag = 0;
  std::size_t size = 0;
  std::uint32_t slot = 0;
  /// Of a collective: what all ranks have to have in common.
  std::string shape = {};
};

class RecordingCalls final : public Calls {
 public:
  RecordingCalls(Rank rank, Rank size) : rank_(rank), size_(size) {}

  Traffic traffic;
  Duration computed;
  std::uint64_t computations = 0;
  std::vector<RecordedCall> calls;
  /// Calls, counted from 0, before which the rank was suspended for 10 s.
  std::vector<std::size_t> suspended_before_call;
  /// Of alltoallv: sizes to each rank, and from each.
  std::vector<std::vector<std::size_t>> sent_parts;
  std::vector<std::vector<std::size_t>> received_parts;

  [[nodiscard]] Rank rank() const override { return rank_; }
  [[nodiscard]] Rank size() const override { return size_; }
  [[nodiscard]] TimePoint now() const override {
    return TimePoint::at(computed +
                         Duration::microseconds(static_cast<std::int64_t>(calls.size())) +
                         Duration::seconds(10) * (static_cast<double>(suspension_turns()) / 2));
  }
  void compute(Duration work) override {
    computed += work;
    ++computations;
  }
  void send(std::size_t size, Rank to, Tag tag) override {
    traffic.send(size);
    calls.push_back({RecordedCall::Kind::send, to, tag, size});
  }
  void receive(std::size_t size, Rank from, Tag tag) override {
    calls.push_back({RecordedCall::Kind::receive, from, tag, size});
  }
  void exchange(std::size_t size, Rank to, Tag tag, std::size_t into, Rank from,
                Tag from_tag) override {
    const Pending pending = start_receive(into, from, from_tag);
    send(size, to, tag);
    wait(pending);
  }
  void receive_any_size(Rank from, Tag tag) override { receive(0, from, tag); }
  [[nodiscard]] Pending start_send(std::size_t size, Rank to, Tag tag) override {
    send(size, to, tag);  // as eager ones end
    return {0};
  }
  [[nodiscard]] Pending start_receive(std::size_t size, Rank from, Tag tag) override {
    calls.push_back({RecordedCall::Kind::start_receive, from, tag, size, ++slots_});
    return {slots_};
  }
  void wait(Pending pending) override {
    if (pending.slot == 0) return;
    calls.push_back({RecordedCall::Kind::wait, 0, 0, 0, pending.slot});
  }
  void wait_all(std::span<const Pending> pending) override {
    for (const Pending one : pending) wait(one);
  }
  bool test(Pending pending) override {
    wait(pending);
    return true;
  }
  void barrier() override { collective(Collective::barrier, 0, 0); }
  void bcast(std::size_t size, Rank root) override {
    collective(Collective::bcast, rank_ == root ? size : 0, size, root);
  }
  void reduce(std::size_t size, Rank root) override {
    collective(Collective::reduce, size, size, root);
  }
  void allreduce(std::size_t size) override { collective(Collective::allreduce, size, size); }
  void gather(std::size_t size, Rank root) override {
    collective(Collective::gather, size, size, root);
  }
  void scatter(std::size_t size, Rank root) override {
    collective(Collective::scatter, rank_ == root ? size * ranks() : 0, size, root);
  }
  void allgather(std::size_t size) override { collective(Collective::allgather, size, size); }
  void alltoall(std::size_t size) override {
    collective(Collective::alltoall, size * ranks(), size);
  }
  void gatherv(std::span<const std::size_t> sizes, Rank root) override {
    collective(Collective::gatherv, sizes[static_cast<std::size_t>(rank_)], 0, root);
  }
  void scatterv(std::span<const std::size_t> sizes, Rank root) override {
    collective(Collective::scatterv, rank_ == root ? sum_of(sizes) : 0, 0, root);
  }
  void allgatherv(std::span<const std::size_t> sizes) override {
    collective(Collective::allgatherv, sizes[static_cast<std::size_t>(rank_)], sum_of(sizes));
  }
  void alltoallv(std::span<const std::size_t> send_sizes,
                 std::span<const std::size_t> receive_sizes) override {
    sent_parts.emplace_back(send_sizes.begin(), send_sizes.end());
    received_parts.emplace_back(receive_sizes.begin(), receive_sizes.end());
    collective(Collective::alltoallv, sum_of(send_sizes), 0);
  }
  void reduce_scatter(std::span<const std::size_t> sizes) override {
    collective(Collective::reduce_scatter, sum_of(sizes), sum_of(sizes));
  }
  void scan(std::size_t size) override { collective(Collective::scan, size, size); }
  [[nodiscard]] std::uint64_t suspension_turns() const override {
    return 2 * static_cast<std::uint64_t>(
                   std::count_if(suspended_before_call.begin(), suspended_before_call.end(),
                                 [this](std::size_t call) { return call < calls.size(); }));
  }
  [[nodiscard]] Duration longest(Duration value) override {
    allreduce(8);
    return value;
  }

 private:
  [[nodiscard]] std::size_t ranks() const { return static_cast<std::size_t>(size_); }
  static std::size_t sum_of(std::span<const std::size_t> sizes) {
    std::size_t sum = 0;
    for (const std::size_t size : sizes) sum += size;
    return sum;
  }
  void collective(Collective kind, std::size_t given, std::size_t common, Rank root = 0) {
    traffic.call(kind, given);
    calls.push_back({RecordedCall::Kind::collective, 0, 0, common, 0,
                     std::string(to_name(kind)) + " of " + std::to_string(common) + " at " +
                         std::to_string(root)});
  }

  Rank rank_;
  Rank size_;
  std::uint32_t slots_ = 0;
};

/// Carries out all ranks' calls, sends ending at once. Empty if they all end, each receive has met
/// a send of its size and every collective was the same everywhere; else what went wrong.
std::string pair_up(const std::vector<RecordingCalls*>& ranks);

}  // namespace ferry::mpi
