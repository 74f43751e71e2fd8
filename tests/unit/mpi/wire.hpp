// Ranks of one job in one thread, and packets between them that pass when the test says so: by
// turns, doubled, in any order of the channels, refused.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/mpi/process.hpp"
#include "core/units/check.hpp"

namespace ferry::mpi {

/// What the engines have that never blocks here.
class NoExecutor final : public Executor {
 public:
  std::unique_ptr<Task> spawn(std::string, std::function<void()>) override { return nullptr; }
  std::unique_ptr<Mutex> make_mutex() override { return nullptr; }
  std::unique_ptr<Condition> make_condition() override { return nullptr; }
  bool cancelled() const override { return false; }
  void defer_cancellation(int) override {}
};

class NoProcessor final : public Processor {
 public:
  void set_ranks_running(VmId, bool) override {}
  Wake compute(std::optional<VmId>, Duration) override { return Wake::timed_out; }
  void spend(Duration) override {}
  std::optional<Wake> occupy(std::span<const VmId>, Duration, TimePoint) override { return {}; }
};

class NoWaiting final : public WaitSet {
 public:
  Wake wait(TimePoint) override {
    check(false, "nothing blocks in this test");
    return Wake::ready;
  }
  void notify() override {}
  void pause() override {}
};

class Wire;

/// Where packets and reads wait to be let through.
class WireEndpoint final : public Endpoint {
 public:
  WireEndpoint(Wire& wire, std::uint32_t address) : wire_(wire), address_{address} {}
  EndpointAddress address() const override { return address_; }
  bool post(EndpointAddress to, Channel channel, const PacketHeader& header,
            std::span<const ConstSlice> body) override;
  std::size_t largest_body(Channel) const override { return 1 << 16; }
  const Arrival* poll() override;
  MemoryKey expose(Channel channel, std::span<const ConstSlice> memory) override;
  void withdraw(MemoryKey key) override;
  void read(EndpointAddress from, Channel channel, MemoryKey key, std::size_t offset,
            std::span<const Slice> into, std::uint64_t cookie) override;
  void connect(EndpointAddress, Channel) override {}
  void disconnect(EndpointAddress, Channel) override {}

  struct Held {
    Arrival arrival;
    std::vector<std::byte> body;
  };
  std::deque<Held> inbox;  ///< has arrived

 private:
  Wire& wire_;
  EndpointAddress address_;
  Held current_;
};

/// A read that has been asked for.
struct WireRead {
  std::uint32_t reader = 0;
  std::uint64_t key = 0;
  std::size_t offset = 0;
  std::vector<Slice> into;
  std::uint64_t cookie = 0;
};

class Wire final : public Directory, public JobWatch {
 public:
  Wire(std::uint32_t ranks, Route route, ProcessOptions options = {}) : chooser_(std::move(route)) {
    for (std::uint32_t i = 0; i < ranks; ++i) {
      endpoints.push_back(std::make_unique<WireEndpoint>(*this, i));
      processes.push_back(std::make_unique<Process>(
          ProcessPorts{executor_, processor_, wait_set_, *endpoints.back(), *this, chooser_, *this},
          RankId{i}, ranks, options));
    }
  }
  EndpointAddress address_of(RankId rank) const override { return {rank.index}; }
  void complain(RankId, std::string what) override { complaints.push_back(std::move(what)); }
  void abort(std::string why) override { aborts.push_back(std::move(why)); }

  Communicator world(std::uint32_t rank) { return processes[rank]->world(); }
  [[nodiscard]] bool is_idle() const {
    for (const auto& [way, packets] : ways) {
      if (!packets.empty()) return false;
    }
    return reads.empty();
  }
  /// The oldest packet of one way arrives.
  void deliver(std::deque<WireEndpoint::Held>& packets, std::uint32_t to) {
    endpoints[to]->inbox.push_back(std::move(packets.front()));
    packets.pop_front();
  }
  void finish_read(const WireRead& read);
  /// Everything that is under way arrives, and what follows from it.
  void settle();

  /// By sender, receiver and channel.
  using Way = std::tuple<std::uint32_t, std::uint32_t, Channel>;
  std::map<Way, std::deque<WireEndpoint::Held>> ways;
  std::deque<WireRead> reads;
  std::map<std::uint64_t, std::vector<ConstSlice>> exposed;
  std::uint64_t next_key = 1;
  bool unreadable = false;  ///< no memory can be exposed
  bool refuses = false;     ///< there is no room for packets
  int refuses_next = 0;     ///< so many packets find no room
  int refuses_after = -1;   ///< after so many there is no room; below zero: there is
  std::vector<std::string> complaints;
  std::vector<std::string> aborts;
  std::vector<std::unique_ptr<WireEndpoint>> endpoints;
  std::vector<std::unique_ptr<Process>> processes;

 private:
  NoExecutor executor_;
  NoProcessor processor_;
  NoWaiting wait_set_;
  UniformChooser chooser_;
};

}  // namespace ferry::mpi
