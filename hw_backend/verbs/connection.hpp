// One connection: packets to and from a rank by one channel, reads of its memory, over whatever
// queue pair there is at the time.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/ports/bootstrap.hpp"
#include "hw_backend/verbs/device.hpp"
#include "hw_backend/verbs/exposures.hpp"
#include "hw_backend/verbs/frame.hpp"
#include "hw_backend/verbs/head_cache.hpp"
#include "hw_backend/verbs/streams.hpp"
#include "hw_backend/verbs/verbs_fabric.hpp"

namespace ferry::verbs {

class Connection;

/// A packet that has come and was not polled.
struct WaitingPacket {
  Connection* connection = nullptr;
  std::uint32_t buffer = 0;
  std::uint64_t incarnation = 0;
};
struct DoneRead {
  bool succeeded = false;
  Channel channel = Channel::sriov;
  std::uint64_t cookie = 0;
};

/// What all connections of an endpoint share. Under the endpoint's lock.
struct EndpointState {
  EndpointState(const VerbsSettings& with, Bootstrap& by) : settings(with), bootstrap(by) {}
  void note_refused_registration(const std::string& why) {
    ++counts.registrations_refused;
    if (refused_registration.empty()) refused_registration = why;
  }
  const VerbsSettings settings;
  Bootstrap& bootstrap;
  std::unique_ptr<Device> device;  ///< null: closed
  std::unique_ptr<RegistrationCache> registrations;
  std::uint32_t device_generation = 0;
  ExposureTable exposures;
  /// Records of other ranks' tables that were read; registered while the device is open.
  std::vector<ExposureRecord> scratch;
  std::vector<std::uint32_t> free_scratch;
  std::optional<RegistrationCache::Use> scratch_use;

  std::deque<WaitingPacket> arrivals;
  std::deque<DoneRead> done_reads;
  std::vector<Connection*> broken;  ///< their queue pairs have failed; not dealt with yet
  VerbsCounts counts;
  std::string problem;                    ///< why the last connection failed
  std::string refused_registration;       ///< why memory could not be registered, the first time
  bool pairings_changed = false;          ///< some look at another time from now on
  std::uint32_t packet_numbers = 0x5a17;  ///< where queue pairs begin to count
};

/// What a completion is of: in the 64 bits that a work request carries.
struct WorkId {
  bool receive = false;
  std::uint32_t connection = 0;  ///< 23 bits
  std::uint8_t link = 0;         ///< low bits of how many queue pairs it has had
  std::uint32_t number = 0;      ///< of a buffer, or of a work request
  [[nodiscard]] std::uint64_t pack() const {
    return static_cast<std::uint64_t>(receive) << 63U |
           static_cast<std::uint64_t>(connection) << 40U | static_cast<std::uint64_t>(link) << 32U |
           number;
  }
  [[nodiscard]] static WorkId unpack(std::uint64_t bits) {
    return {.receive = bits >> 63U != 0,
            .connection = static_cast<std::uint32_t>(bits >> 40U & 0x7f'ffffU),
            .link = static_cast<std::uint8_t>(bits >> 32U),
            .number = static_cast<std::uint32_t>(bits)};
  }
};

/// Work requests for reads of a connection, at a time.
inline constexpr std::uint32_t read_requests = 32;
/// Of these, reads into memory that could not be registered.
inline constexpr std::uint32_t read_buffers = 4;

class Connection final : public Pairing::Host {
 public:
  using RealTime = Pairing::RealTime;
  /// `poll_completions` is called while a queue pair is being destroyed, to see its last words.
  Connection(EndpointState& state, std::uint32_t index, RankId peer, Channel channel,
             std::function<void()> poll_completions);
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  [[nodiscard]] RankId peer() const { return peer_; }
  [[nodiscard]] Channel channel() const { return channel_; }
  [[nodiscard]] Pairing& pairing() { return pairing_; }
  [[nodiscard]] bool has_room() const { return gone_ || outgoing_.has_room(); }

  /// False: there is no room.
  [[nodiscard]] bool post(const PacketHeader& header, std::span<const ConstSlice> body);
  void read(MemoryKey key, std::size_t offset, std::span<const Slice> into, std::uint64_t cookie);

  /// What the packet says; the body stays until `give_back`.
  void open_packet(const WaitingPacket& packet, Arrival& into);
  void give_back(std::uint32_t buffer);
  /// All that came is dropped, and what was posted; nothing more of it arrives.
  void disconnect();
  /// Whether all that was posted has got to the other side's device, or nobody is there; asks for
  /// the completion that says so.
  [[nodiscard]] bool has_left();
  /// The other rank is closed.
  void be_gone();
  void suspend();
  void break_link();

  /// Of completions of its queue pair.
  [[nodiscard]] bool is_of_link(std::uint8_t link) const {
    return pair_ != nullptr && link == static_cast<std::uint8_t>(link_);
  }
  /// `checksum`: low bits of that of a packet without its head.
  void received(std::uint32_t buffer, std::size_t size, std::optional<std::uint32_t> checksum);
  void receive_flushed(std::uint32_t buffer);
  void sent(std::uint32_t number);
  void failed(std::string why);
  /// After all that is in the completion queue was looked at.
  void after_completions();
  /// Deals with a failure.
  void mend(RealTime now);

  bool starved = false;                     ///< refused a packet since a wait last told of room
  std::optional<RealTime> ask_for_room_at;  ///< while it is

  void send(const HandshakeMessage& message) override;
  [[nodiscard]] Result<QueuePairAddress> make_queue_pair() override;
  [[nodiscard]] Result<> connect_queue_pair(const QueuePairAddress& there) override;
  void destroy_queue_pair() override;
  [[nodiscard]] StreamPosition received() const override { return incoming_.position(); }
  [[nodiscard]] std::uint64_t closed_incarnation() const override {
    return incoming_.closed_incarnation();
  }
  [[nodiscard]] std::uint64_t incarnation() const override { return outgoing_.incarnation(); }
  void synchronise(std::uint64_t incarnation, StreamPosition received) override;
  void wants_room() override;
  void drop_packets() override;
  void link_up() override;
  void note_problem(const std::string& problem) override {
    state_.problem = problem;
    state_.pairings_changed = true;
  }

 private:
  struct Read;
  struct Work {
    std::uint32_t number = 0;  ///< of a work request that ends it
    std::shared_ptr<Read> read;
    bool last = false;                       ///< of what was asked for in this step
    std::optional<std::uint32_t> by_buffer;  ///< where it arrives
    std::span<std::byte> to;                 ///< and is copied to
  };
  enum class BufferState : std::uint8_t { unused, posted, held };

  // Memory: buffers for what arrives, places for what is kept, buffers for reads, then words.
  [[nodiscard]] std::byte* buffer(std::uint32_t index) const;
  [[nodiscard]] std::byte* place(std::uint32_t index) const;
  [[nodiscard]] std::byte* read_buffer(std::uint32_t index) const;
  [[nodiscard]] std::byte* word(std::uint32_t index) const;
  [[nodiscard]] FrameHead& head_of(std::byte* frame) const {
    return *reinterpret_cast<FrameHead*>(frame);
  }

  void flush();
  void send_packets();
  void send_word();
  [[nodiscard]] bool has_send_room() const { return work_posted_ - work_done_ < sends_; }
  /// Fills in what sends have in common; `sge` stays.
  void prepare_send(ibv_send_wr& request, ibv_sge& piece, std::byte* frame, std::size_t size);
  /// The packet that is kept there; without its head if that is expected.
  void prepare_packet(ibv_send_wr& request, ibv_sge& piece, std::uint32_t place,
                      std::uint32_t taken);
  void post_sends(ibv_send_wr& first);
  void post_receives(bool all);
  void received_without_head(std::uint32_t buffer, std::size_t size, std::uint32_t checksum);
  void note_head(std::uint32_t buffer, const FrameHead& head);
  void note_arrival(std::uint32_t buffer);
  void learn_memory(std::uint32_t buffer, const FrameHead& head);
  void fail_reads();
  void fail_waiting_reads();

  void advance_reads();
  [[nodiscard]] bool begin_read(Read& read);
  void ask_for_record(Read& read);
  /// Local key of the memory; none: it cannot be registered.
  [[nodiscard]] std::optional<std::uint32_t> register_for(Read& read, std::span<std::byte> memory);
  void take_up(const Work& work);
  void plan_chunks(Read& read, std::span<const MemoryDescription> pieces);
  void plan_list(Read& read, const MemoryDescription& there);
  void end_step(const std::shared_ptr<Read>& read);
  void end_read(const std::shared_ptr<Read>& read, bool succeeded);
  void fill_next_chunk(const std::shared_ptr<Read>& read, ibv_send_wr& request, ibv_sge& piece);
  void know(std::uint64_t key, const MemoryDescription& memory);

  EndpointState& state_;
  std::uint32_t index_;
  RankId peer_;
  Channel channel_;
  std::function<void()> poll_completions_;
  Pairing pairing_;
  OutgoingStream outgoing_;
  IncomingStream incoming_;
  bool gone_ = false;

  std::uint32_t receives_;  ///< buffers
  std::uint32_t sends_;     ///< work requests
  std::size_t frame_size_;  ///< of the largest packet, and the distance of two
  std::size_t memory_size_;
  std::byte* memory_;
  std::vector<std::uint32_t> packet_sizes_;  ///< of what is kept, with its head
  std::vector<BufferState> buffers_;
  std::vector<std::uint32_t> unused_buffers_;
  std::uint32_t posted_buffers_ = 0;
  HeadCache sent_heads_;      ///< of packets by this queue pair
  HeadCache received_heads_;  ///< likewise
  /// Of what is held and came without its head.
  struct Headless {
    std::uint32_t body_size = 0;  ///< 0: it has one
    PacketHeader header;
  };
  std::vector<Headless> headless_;

  std::unique_ptr<QueuePair> pair_;
  std::optional<RegistrationCache::Use> memory_use_;
  std::uint32_t memory_generation_ = 0;  ///< of the device that it is registered with
  std::uint32_t link_ = 0;
  bool draining_ = false;
  bool broken_ = false;
  bool word_due_ = false;
  bool must_signal_ = false;
  std::uint32_t last_word_link_ = 0;  ///< by which it was asked for
  std::uint32_t first_packet_ = 0;
  QueuePairAddress there_;
  std::uint32_t work_posted_ = 0;
  std::uint32_t work_done_ = 0;
  std::uint32_t next_word_ = 0;

  std::deque<std::shared_ptr<Read>> reads_;  ///< that have not been asked for, or not all of them
  std::deque<Work> reads_under_way_;
  std::vector<std::uint32_t> free_read_buffers_;
  std::map<std::uint64_t, MemoryDescription> known_;  ///< memory there, from packets
};

}  // namespace ferry::verbs
