// One rank's rings and what it exposes.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "hw_backend/shm/ring.hpp"
#include "hw_backend/shm/shm_wait_set.hpp"

namespace ferry::shm {

class ShmEndpoint final : public Endpoint, private Watched {
 public:
  /// With a `name`, addresses are names: this one's, of those that it talks to, and of senders. A
  /// packet to a name that nobody has yet finds no room until somebody has.
  ShmEndpoint(std::shared_ptr<Region> region, ShmWaiting& wait_set, bool sleepers_fence,
              std::optional<RankId> name = std::nullopt);
  ~ShmEndpoint() override;
  [[nodiscard]] EndpointAddress address() const override {
    return name_ ? EndpointAddress{name_->index} : address_;
  }
  /// Before it is closed: somebody of its name will come back, and packets for it are to wait.
  void leave_for_now();
  [[nodiscard]] bool post(EndpointAddress to, Channel channel, const PacketHeader& header,
                          std::span<const ConstSlice> body) override;
  [[nodiscard]] std::size_t largest_body(Channel channel) const override;
  [[nodiscard]] const Arrival* poll() override;
  [[nodiscard]] MemoryKey expose(Channel channel, std::span<const ConstSlice> memory) override;
  void withdraw(MemoryKey key) override;
  void read(EndpointAddress from, Channel channel, MemoryKey key, std::size_t offset,
            std::span<const Slice> into, std::uint64_t cookie) override;
  void connect(EndpointAddress to, Channel channel) override;
  void disconnect(EndpointAddress to, Channel channel) override;

 private:
  struct Outbound;
  struct DoneRead {
    bool succeeded;
    Channel channel;
    std::uint64_t cookie;
  };

  void take_slot();
  [[nodiscard]] std::vector<std::uint32_t> opened_rings(std::uint32_t first) const;
  [[nodiscard]] bool wait_for(EndpointAddress name);
  void count_starved();
  [[nodiscard]] bool has_something() const override;
  [[nodiscard]] bool tells_of_room() override;
  [[nodiscard]] std::optional<Duration> longest_sleep() const override;
  [[nodiscard]] bool is_open(EndpointAddress there) const;
  [[nodiscard]] Outbound* outbound(EndpointAddress to, Channel channel);
  [[nodiscard]] Outbound* open_ring(EndpointAddress to, Channel channel);
  [[nodiscard]] bool no_room(Outbound& out);
  [[nodiscard]] bool has_room_again(const Outbound& out) const;
  void close(Outbound& out);
  void adopt_new_rings();
  void sweep_closed_rings();
  void close_inbound(RingReader& reader);
  [[nodiscard]] const Arrival* poll_reads();
  [[nodiscard]] const Arrival* packet_of(RingReader& reader);
  [[nodiscard]] bool read_exposed(EndpointAddress from, MemoryKey key, std::size_t offset,
                                  std::span<const Slice> into);

  std::shared_ptr<Region> region_;
  ShmWaiting& wait_set_;
  bool sleepers_fence_;
  std::optional<RankId> name_;
  EndpointAddress address_;
  EndpointSlot* slot_ = nullptr;

  /// By slot of the receiver and by channel.
  std::vector<std::unique_ptr<Outbound>> outbound_;
  std::atomic<std::uint32_t> starved_count_{0};
  mutable std::mutex starved_mutex_;  ///< only where a ring is full
  /// That refused a packet since a wait last told of their room. A packet that went since then does
  /// not take one out: others may be waiting behind the refused one.
  std::vector<Outbound*> starved_;
  std::vector<std::uint32_t> absent_;  ///< names that packets were refused for, likewise

  /// Those of `readers_` in use; places of closed rings are null until they are taken again. Never
  /// moved: waits look at them meanwhile.
  std::vector<std::atomic<RingReader*>> inbound_;
  std::atomic<std::uint32_t> inbound_count_{0};
  std::vector<std::unique_ptr<RingReader>> readers_;  ///< kept: waits may look at closed ones
  std::uint32_t turn_ = 0;                            ///< place whose turn it is
  std::uint32_t in_a_row_ = 0;                        ///< packets that it had
  RingReader* last_ = nullptr;                        ///< of the last arrival
  Arrival arrival_;

  std::deque<DoneRead> done_reads_;
  std::atomic<std::uint32_t> done_count_{0};
  std::vector<std::uint32_t> free_exposures_;
  std::uint32_t exposures_made_ = 0;
};

}  // namespace ferry::shm
