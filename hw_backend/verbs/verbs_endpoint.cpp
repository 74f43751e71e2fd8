// A rank's endpoint: its connections, one completion queue for all of them, one lock.
#include <endian.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>
#include <utility>

#include "core/ports/world_error.hpp"
#include "core/units/check.hpp"
#include "hw_backend/verbs/connection.hpp"
#include "hw_backend/verbs/verbs_fabric.hpp"

namespace ferry::verbs {
namespace {

using std::chrono::steady_clock;

constexpr int completions_at_once = 16;
/// Reads that may be under way at a time, of all connections.
constexpr std::size_t scratch_records = 256;
/// Acknowledging an event takes a lock.
constexpr std::uint32_t events_at_once = 64;
constexpr std::chrono::milliseconds search_again_after(20);
/// Who polls tells of room by itself, but not for every packet.
constexpr std::chrono::milliseconds ask_for_room_after(20);
constexpr std::chrono::milliseconds ask_for_room_again_after(1000);
/// Of an endpoint that is closed with packets that have not left.
constexpr std::chrono::milliseconds longest_farewell(1000);
/// While a queue pair waits for the first word of the other side.
constexpr std::chrono::milliseconds word_looked_for_after(1);

/// What the thread that tends to connections sleeps on.
class Bell final : public WaitSet {
 public:
  Wake wait(TimePoint /*deadline*/) override { return Wake::ready; }
  void pause() override {}
  void notify() override {
    const std::lock_guard guard(mutex_);
    rung_ = true;
    changed_.notify_one();
  }
  /// Until it is rung, or then.
  void await(std::optional<steady_clock::time_point> end) {
    std::unique_lock lock(mutex_);
    const auto rung = [this] { return rung_; };
    if (end) {
      changed_.wait_until(lock, *end, rung);
    } else {
      changed_.wait(lock, rung);
    }
    rung_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool rung_ = false;
};

class DeviceEndpoint final : public VerbsEndpoint {
 public:
  DeviceEndpoint(const VerbsSettings& settings, Bootstrap& bootstrap, WaitSet& wakes)
      : state_(settings, bootstrap), wakes_(wakes) {
    check(settings.window >= 4 && settings.window <= 4096, "a window has 4 to 4096 packets");
    state_.scratch.resize(scratch_records);
    for (std::uint32_t i = 0; i < scratch_records; ++i) state_.free_scratch.push_back(i);
    bootstrap.notify_of(BootstrapTopic::connections, &bell_);
    tending_ = std::thread([this] { tend(); });
  }
  ~DeviceEndpoint() override;
  DeviceEndpoint(const DeviceEndpoint&) = delete;
  DeviceEndpoint& operator=(const DeviceEndpoint&) = delete;

  [[nodiscard]] EndpointAddress address() const override {
    return EndpointAddress{state_.bootstrap.rank().index};
  }
  [[nodiscard]] bool post(EndpointAddress to, Channel channel, const PacketHeader& header,
                          std::span<const ConstSlice> body) override;
  [[nodiscard]] std::size_t largest_body(Channel /*channel*/) const override {
    return state_.settings.largest_body;
  }
  [[nodiscard]] const Arrival* poll() override;
  [[nodiscard]] MemoryKey expose(Channel channel, std::span<const ConstSlice> memory) override;
  void withdraw(MemoryKey key) override;
  void read(EndpointAddress from, Channel channel, MemoryKey key, std::size_t offset,
            std::span<const Slice> into, std::uint64_t cookie) override;
  void connect(EndpointAddress to, Channel channel) override;
  void disconnect(EndpointAddress to, Channel channel) override;

  [[nodiscard]] bool look() override;
  [[nodiscard]] bool tells_of_room() override;
  void sleep_among(EventFiles* files) override;
  void arm() override;
  void disarm() override;
  [[nodiscard]] std::optional<RealTime> look_again_at() const override;

  void close_device() override;
  [[nodiscard]] Result<> open_device() override {
    return open_device_within(state_.settings.patience);
  }
  [[nodiscard]] Result<> open_device_within(Duration patience) override;
  [[nodiscard]] bool device_is_open() const override;
  [[nodiscard]] std::string device_name() const override;
  [[nodiscard]] std::string problem() const override;
  [[nodiscard]] std::string refused_registration() const override;
  void forget_memory(ConstSlice memory) override;
  [[nodiscard]] VerbsCounts counts() const override;
  void break_connection(EndpointAddress to, Channel channel) override;

 private:
  /// A packet of this rank to itself goes by no device.
  struct OwnPacket {
    PacketHeader header;
    Channel channel = Channel::sriov;
    std::vector<std::byte> body;
    std::size_t body_size = 0;
  };

  [[nodiscard]] bool leads_nowhere(EndpointAddress to) const {
    return to.value >= state_.bootstrap.size();
  }
  [[nodiscard]] bool is_own(EndpointAddress to) const { return to == address(); }
  [[nodiscard]] Connection* find(RankId peer, Channel channel);
  [[nodiscard]] Connection& connection(RankId peer, Channel channel);
  void refuse(Connection& connection);

  [[nodiscard]] bool post_to_self(Channel channel, const PacketHeader& header,
                                  std::span<const ConstSlice> body);
  void read_from_self(Channel channel, MemoryKey key, std::size_t offset,
                      std::span<const Slice> into, std::uint64_t cookie);
  [[nodiscard]] std::size_t own_packets(Channel channel) const;

  /// Scope of a call: one at a time, and the tending thread hears of what it has to do.
  struct Call {
    explicit Call(DeviceEndpoint& endpoint) : endpoint_(endpoint), guard_(endpoint.mutex_) {}
    ~Call() {
      if (endpoint_.state_.pairings_changed) [[unlikely]] {
        endpoint_.find_next_look();
        endpoint_.bell_.notify();
      }
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    DeviceEndpoint& endpoint_;
    const std::lock_guard<std::mutex> guard_;
  };

  void tend();
  void progress();
  void hear_messages();
  void hear(const BootstrapMessage& message);
  void poll_completions();
  void look_at(const ibv_wc& completion);
  void mend();
  void look_at_pairings();
  void ask_for_room();
  void find_next_look();
  [[nodiscard]] bool has_something() const;
  [[nodiscard]] bool room_again() const;
  [[nodiscard]] Result<> take_device(std::unique_ptr<Device> device);
  void give_device_back();
  void see_packets_off();
  void watch_events(bool watched);
  void take_event();
  void acknowledge_events();

  mutable std::mutex mutex_;
  EndpointState state_;
  WaitSet& wakes_;
  EventFiles* files_ = nullptr;
  Bell bell_;
  std::thread tending_;
  std::atomic<bool> closing_ = false;
  bool event_came_ = false;  ///< and is still in the device's completion channel
  std::uint32_t unacknowledged_ = 0;
  // Of the device that was opened last.
  std::optional<std::uint16_t> partition_key_;
  std::string last_device_;

  std::vector<std::unique_ptr<Connection>> connections_;
  std::unordered_map<std::uint64_t, Connection*> by_peer_;
  Connection* last_used_ = nullptr;
  std::set<RankId> gone_;
  std::vector<Connection*> touched_;  ///< by completions
  std::vector<Connection*> starved_;
  std::optional<RealTime> next_look_;
  bool awaits_word_ = false;

  std::deque<OwnPacket> own_packets_;
  bool own_starved_ = false;

  Arrival arrival_;
  std::optional<WaitingPacket> handed_out_;
  std::optional<OwnPacket> own_handed_out_;
};

// --- Sending -------------------------------------------------------------------------------------

Connection* DeviceEndpoint::find(RankId peer, Channel channel) {
  if (last_used_ != nullptr && last_used_->peer() == peer && last_used_->channel() == channel) {
    return last_used_;
  }
  const std::uint64_t key =
      static_cast<std::uint64_t>(peer.index) * channel_count + static_cast<std::uint64_t>(channel);
  const auto found = by_peer_.find(key);
  if (found == by_peer_.end()) return nullptr;
  return last_used_ = found->second;
}

Connection& DeviceEndpoint::connection(RankId peer, Channel channel) {
  if (Connection* const found = find(peer, channel)) return *found;
  const auto index = static_cast<std::uint32_t>(connections_.size());
  connections_.push_back(
      std::make_unique<Connection>(state_, index, peer, channel, [this] { poll_completions(); }));
  Connection& made = *connections_.back();
  by_peer_[static_cast<std::uint64_t>(peer.index) * channel_count +
           static_cast<std::uint64_t>(channel)] = &made;
  if (state_.device == nullptr) made.suspend();
  if (gone_.contains(peer)) made.be_gone();
  return made;
}

bool DeviceEndpoint::post(EndpointAddress to, Channel channel, const PacketHeader& header,
                          std::span<const ConstSlice> body) {
  const Call call(*this);
  if (leads_nowhere(to)) return true;
  if (is_own(to)) return post_to_self(channel, header, body);
  hear_messages();
  Connection& there = connection(RankId{to.value}, channel);
  if (there.post(header, body)) return true;
  progress();
  if (there.post(header, body)) return true;
  refuse(there);
  return false;
}

void DeviceEndpoint::refuse(Connection& there) {
  if (there.starved) return;
  there.starved = true;
  there.ask_for_room_at = steady_clock::now() + ask_for_room_after;
  starved_.push_back(&there);
}

std::size_t DeviceEndpoint::own_packets(Channel channel) const {
  return static_cast<std::size_t>(std::ranges::count(own_packets_, channel, &OwnPacket::channel));
}

bool DeviceEndpoint::post_to_self(Channel channel, const PacketHeader& header,
                                  std::span<const ConstSlice> body) {
  if (own_packets(channel) >= state_.settings.window) {
    own_starved_ = true;
    return false;
  }
  OwnPacket packet{header, channel, {}, 0};
  bool phantom = false;
  for (const ConstSlice& piece : body) {
    packet.body_size += piece.size;
    phantom = phantom || (piece.size != 0 && piece.data == nullptr);
  }
  for (const ConstSlice& piece : body) {
    if (phantom || piece.size == 0) continue;
    packet.body.insert(packet.body.end(), piece.data, piece.data + piece.size);
  }
  own_packets_.push_back(std::move(packet));
  return true;
}

// --- Receiving -----------------------------------------------------------------------------------

const Arrival* DeviceEndpoint::poll() {
  const Call call(*this);
  if (handed_out_) {
    handed_out_->connection->give_back(handed_out_->buffer);
    handed_out_.reset();
  }
  own_handed_out_.reset();
  if (!has_something()) progress();
  if (!state_.done_reads.empty()) {
    const DoneRead done = state_.done_reads.front();
    state_.done_reads.pop_front();
    arrival_ = Arrival{};
    arrival_.kind = done.succeeded ? Arrival::Kind::read_done : Arrival::Kind::read_failed;
    arrival_.channel = done.channel;
    arrival_.cookie = done.cookie;
    return &arrival_;
  }
  if (!own_packets_.empty()) {
    own_handed_out_ = std::move(own_packets_.front());
    own_packets_.pop_front();
    arrival_ = Arrival{};
    arrival_.header = own_handed_out_->header;
    arrival_.channel = own_handed_out_->channel;
    arrival_.from = address();
    arrival_.body = own_handed_out_->body;
    arrival_.body_size = own_handed_out_->body_size;
    return &arrival_;
  }
  if (state_.arrivals.empty()) return nullptr;
  handed_out_ = state_.arrivals.front();
  state_.arrivals.pop_front();
  handed_out_->connection->open_packet(*handed_out_, arrival_);
  return &arrival_;
}

/// But for room.
bool DeviceEndpoint::has_something() const {
  return !state_.arrivals.empty() || !state_.done_reads.empty() || !own_packets_.empty();
}

void DeviceEndpoint::progress() {
  hear_messages();
  if (state_.device != nullptr) poll_completions();
  mend();
  look_at_pairings();
}

void DeviceEndpoint::hear_messages() {
  while (const auto message = state_.bootstrap.receive(BootstrapTopic::connections)) {
    hear(*message);
  }
}

void DeviceEndpoint::hear(const BootstrapMessage& message) {
  const std::optional<HandshakeMessage> said = decode_handshake(message.bytes);
  if (!said || message.from == state_.bootstrap.rank()) return;
  state_.pairings_changed = true;
  using Kind = HandshakeMessage::Kind;
  if (said->kind == Kind::gone) {
    gone_.insert(message.from);
    for (const auto& each : connections_) {
      if (each->peer() == message.from) each->be_gone();
    }
    return;
  }
  const bool begins = said->kind == Kind::wish || said->kind == Kind::offer;
  if (!begins && find(message.from, said->channel) == nullptr) return;
  connection(message.from, said->channel).pairing().hear(*said, steady_clock::now());
}

void DeviceEndpoint::poll_completions() {
  std::array<ibv_wc, completions_at_once> completions;
  for (;;) {
    const int count =
        ibv_poll_cq(state_.device->completions(), completions_at_once, completions.data());
    if (count < 0) throw WorldError("the completion queue of the RDMA device is lost");
    state_.counts.completions += static_cast<std::uint64_t>(count);
    for (int i = 0; i < count; ++i) look_at(completions[static_cast<std::size_t>(i)]);
    if (count < completions_at_once) break;
  }
  const std::vector<Connection*> touched = std::exchange(touched_, {});
  for (Connection* const each : touched) each->after_completions();
}

void DeviceEndpoint::look_at(const ibv_wc& completion) {
  const WorkId work = WorkId::unpack(completion.wr_id);
  if (work.connection >= connections_.size()) return;
  Connection& of = *connections_[work.connection];
  if (!of.is_of_link(work.link)) return;  // of a queue pair that is no more
  if (completion.status != IBV_WC_SUCCESS) {
    if (work.receive) of.receive_flushed(work.number);
    of.failed(ibv_wc_status_str(completion.status));
    return;
  }
  if (work.receive) {
    std::optional<std::uint32_t> checksum;
    if ((completion.wc_flags & IBV_WC_WITH_IMM) != 0) checksum = be32toh(completion.imm_data);
    of.received(work.number, completion.byte_len, checksum);
  } else {
    of.sent(work.number);
  }
  if (touched_.empty() || touched_.back() != &of) touched_.push_back(&of);
}

void DeviceEndpoint::mend() {
  while (!state_.broken.empty()) {
    Connection* const each = state_.broken.back();
    state_.broken.pop_back();
    each->mend(steady_clock::now());
  }
}

void DeviceEndpoint::look_at_pairings() {
  if (!next_look_) return;
  const RealTime now = steady_clock::now();
  if (now < *next_look_) return;
  for (const auto& each : connections_) each->pairing().look(now);
  state_.pairings_changed = true;
}

void DeviceEndpoint::find_next_look() {
  state_.pairings_changed = false;
  next_look_.reset();
  awaits_word_ = false;
  for (const auto& each : connections_) {
    const auto at = each->pairing().next_look();
    if (at) next_look_ = next_look_ ? std::min(*next_look_, *at) : *at;
    awaits_word_ = awaits_word_ || each->pairing().state() == Pairing::State::answered;
  }
}

/// Connections are made also while the rank computes: what it has posted leaves. Once they are made
/// there is nothing to do here.
void DeviceEndpoint::tend() {
  while (!closing_) {
    std::optional<RealTime> next;
    bool tells = false;
    {
      const Call call(*this);
      progress();
      find_next_look();
      next = next_look_;
      if (awaits_word_) next = steady_clock::now() + word_looked_for_after;
      tells = has_something() || room_again();
    }
    if (tells) wakes_.notify();
    bell_.await(next);
  }
}

// --- Connections ---------------------------------------------------------------------------------

void DeviceEndpoint::connect(EndpointAddress to, Channel channel) {
  const Call call(*this);
  if (leads_nowhere(to) || is_own(to)) return;
  connection(RankId{to.value}, channel).pairing().want(steady_clock::now());
}

void DeviceEndpoint::disconnect(EndpointAddress to, Channel channel) {
  const Call call(*this);
  if (is_own(to)) {
    std::erase_if(own_packets_, [channel](const OwnPacket& one) { return one.channel == channel; });
    return;
  }
  progress();
  if (Connection* const there = find(RankId{to.value}, channel)) there->disconnect();
}

void DeviceEndpoint::break_connection(EndpointAddress to, Channel channel) {
  const Call call(*this);
  if (Connection* const there = find(RankId{to.value}, channel)) there->break_link();
}

// --- Memory --------------------------------------------------------------------------------------

MemoryKey DeviceEndpoint::expose(Channel /*channel*/, std::span<const ConstSlice> memory) {
  const std::lock_guard guard(mutex_);
  const Result<MemoryKey> key = state_.exposures.expose(memory);
  if (key) return *key;
  state_.note_refused_registration(key.error().reason);
  return {};
}

void DeviceEndpoint::withdraw(MemoryKey key) {
  const std::lock_guard guard(mutex_);
  state_.exposures.withdraw(key);
}

void DeviceEndpoint::read(EndpointAddress from, Channel channel, MemoryKey key, std::size_t offset,
                          std::span<const Slice> into, std::uint64_t cookie) {
  const Call call(*this);
  if (is_own(from)) return read_from_self(channel, key, offset, into, cookie);
  hear_messages();
  if (leads_nowhere(from)) {
    state_.done_reads.push_back({false, channel, cookie});
    return;
  }
  connection(RankId{from.value}, channel).read(key, offset, into, cookie);
}

void DeviceEndpoint::read_from_self(Channel channel, MemoryKey key, std::size_t offset,
                                    std::span<const Slice> into, std::uint64_t cookie) {
  const std::vector<ConstSlice>* const memory = state_.exposures.find(key.value);
  bool succeeded = memory != nullptr;
  std::size_t piece = 0;
  for (std::size_t i = 0; succeeded && i < into.size(); ++i) {
    std::size_t filled = 0;
    while (succeeded && filled < into[i].size) {
      while (piece < memory->size() && offset >= (*memory)[piece].size) {
        offset -= (*memory)[piece++].size;
      }
      succeeded = piece < memory->size();
      if (!succeeded) break;
      const ConstSlice& from = (*memory)[piece];
      const std::size_t size = std::min(into[i].size - filled, from.size - offset);
      if (from.data != nullptr && into[i].data != nullptr) {
        std::copy_n(from.data + offset, size, into[i].data + filled);
      }
      filled += size;
      offset += size;
    }
  }
  state_.done_reads.push_back({succeeded, channel, cookie});
}

void DeviceEndpoint::forget_memory(ConstSlice memory) {
  const std::lock_guard guard(mutex_);
  if (state_.registrations) state_.registrations->forget(memory.data, memory.size);
}

// --- Waiting -------------------------------------------------------------------------------------

bool DeviceEndpoint::look() {
  const Call call(*this);
  progress();
  if (!starved_.empty()) [[unlikely]]
    ask_for_room();
  return has_something() || room_again();
}

void DeviceEndpoint::ask_for_room() {
  const RealTime now = steady_clock::now();
  for (Connection* const each : starved_) {
    if (!each->ask_for_room_at || now < *each->ask_for_room_at || each->has_room()) continue;
    each->pairing().ask_for_room();
    each->ask_for_room_at =
        now + (each->pairing().is_up() ? ask_for_room_again_after : ask_for_room_after);
  }
}

std::optional<EventSource::RealTime> DeviceEndpoint::look_again_at() const {
  const std::lock_guard guard(mutex_);
  std::optional<RealTime> next;
  for (const Connection* const each : starved_) {
    if (each->ask_for_room_at) {
      next = next ? std::min(*next, *each->ask_for_room_at) : *each->ask_for_room_at;
    }
  }
  return next;
}

/// For who was refused.
bool DeviceEndpoint::room_again() const {
  return (own_starved_ && own_packets_.empty()) ||
         std::ranges::any_of(starved_, [](const Connection* one) { return one->has_room(); });
}

bool DeviceEndpoint::tells_of_room() {
  const std::lock_guard guard(mutex_);
  bool told = own_starved_ && own_packets_.empty();
  if (told) own_starved_ = false;
  told = std::erase_if(starved_,
                       [](Connection* one) {
                         if (!one->has_room()) return false;
                         one->starved = false;
                         return true;
                       }) != 0 ||
         told;
  return told;
}

void DeviceEndpoint::sleep_among(EventFiles* files) {
  const std::lock_guard guard(mutex_);
  watch_events(false);
  files_ = files;
  watch_events(true);
}

void DeviceEndpoint::watch_events(bool watched) {
  if (files_ == nullptr || state_.device == nullptr) return;
  const int file = state_.device->events()->fd;
  watched ? files_->add(file, this) : files_->remove(file);
}

void DeviceEndpoint::arm() {
  const std::lock_guard guard(mutex_);
  if (state_.device == nullptr) return;
  take_event();
  ++state_.counts.notifications_asked;
  const int error = ibv_req_notify_cq(state_.device->completions(), 0);
  if (error != 0) throw WorldError(verbs_error("ibv_req_notify_cq", error));
}

/// The event itself is taken out when the next one is asked for: a system call that the packet
/// which has come need not wait for.
void DeviceEndpoint::disarm() {
  const std::lock_guard guard(mutex_);
  event_came_ = state_.device != nullptr;
}

void DeviceEndpoint::take_event() {
  if (!event_came_) return;
  event_came_ = false;
  ibv_cq* queue = nullptr;
  void* context = nullptr;
  if (ibv_get_cq_event(state_.device->events(), &queue, &context) != 0) return;
  if (++unacknowledged_ >= events_at_once) acknowledge_events();
}

void DeviceEndpoint::acknowledge_events() {
  if (unacknowledged_ != 0) ibv_ack_cq_events(state_.device->completions(), unacknowledged_);
  unacknowledged_ = 0;
}

// --- The device ----------------------------------------------------------------------------------

Result<> DeviceEndpoint::open_device_within(Duration patience) {
  if (device_is_open()) return {};
  const auto end = steady_clock::now() + std::chrono::nanoseconds(patience.count_nanoseconds());
  DeviceChoice choice = state_.settings.device;
  if (!choice.partition_key) choice.partition_key = partition_key_;
  for (;;) {
    const Result<UsablePort> port = find_usable_port(choice);
    Result<std::unique_ptr<Device>> device =
        port ? Device::open(*port) : tl::unexpected(port.error());
    if (device) {
      const Call call(*this);
      return take_device(std::move(*device));
    }
    if (steady_clock::now() >= end) {
      return failure(device.error().kind,
                     "after " + to_text(patience) + ": " + device.error().reason +
                         (last_device_.empty() ? "" : "; it was " + last_device_ + " before"));
    }
    std::this_thread::sleep_for(search_again_after);
  }
}

Result<> DeviceEndpoint::take_device(std::unique_ptr<Device> device) {
  if (state_.settings.registrations_kept != Bytes()) keep_freed_memory_mapped();
  state_.device = std::move(device);
  ++state_.device_generation;
  state_.registrations =
      std::make_unique<RegistrationCache>(*state_.device, state_.settings.registrations_kept);
  const Result<RegistrationCache::Use> scratch = state_.registrations->use(
      state_.scratch.data(), state_.scratch.size() * sizeof(ExposureRecord), true);
  Result<> made = scratch ? state_.exposures.open(*state_.registrations, state_.device_generation)
                          : tl::unexpected(scratch.error());
  if (!made) {
    give_device_back();
    return made;
  }
  state_.scratch_use = *scratch;
  for (const std::string& why : state_.exposures.refused()) state_.note_refused_registration(why);
  partition_key_ = state_.device->port().partition_key;
  last_device_ = state_.device->port().device;
  watch_events(true);
  for (const auto& each : connections_) each->pairing().resume(steady_clock::now());
  state_.pairings_changed = true;
  return {};
}

void DeviceEndpoint::close_device() {
  const Call call(*this);
  if (state_.device == nullptr) return;
  for (const auto& each : connections_) each->suspend();
  watch_events(false);
  acknowledge_events();
  event_came_ = false;
  give_device_back();
  state_.pairings_changed = true;
}

void DeviceEndpoint::give_device_back() {
  state_.exposures.close();
  state_.scratch_use.reset();
  state_.counts.registrations += state_.registrations->made();
  state_.registrations.reset();
  state_.device.reset();
}

/// What was posted leaves before the device is closed for good; not for ever, if nobody takes it.
void DeviceEndpoint::see_packets_off() {
  const auto end = steady_clock::now() + longest_farewell;
  for (;;) {
    {
      const Call call(*this);
      if (state_.device == nullptr) return;
      progress();
      bool all = true;
      for (const auto& each : connections_) all = each->has_left() && all;
      if (all || steady_clock::now() >= end) return;
    }
    std::this_thread::sleep_for(word_looked_for_after);
  }
}

DeviceEndpoint::~DeviceEndpoint() {
  see_packets_off();
  closing_ = true;
  state_.bootstrap.notify_of(BootstrapTopic::connections, nullptr);
  bell_.notify();
  tending_.join();
  HandshakeMessage gone;
  gone.kind = HandshakeMessage::Kind::gone;
  std::set<RankId> told = gone_;
  for (const auto& each : connections_) {
    if (!told.insert(each->peer()).second) continue;
    state_.bootstrap.send(each->peer(), BootstrapTopic::connections, encode(gone));
  }
  close_device();
  connections_.clear();
}

bool DeviceEndpoint::device_is_open() const {
  const std::lock_guard guard(mutex_);
  return state_.device != nullptr;
}

std::string DeviceEndpoint::device_name() const {
  const std::lock_guard guard(mutex_);
  return state_.device == nullptr ? "" : state_.device->port().device;
}

std::string DeviceEndpoint::problem() const {
  const std::lock_guard guard(mutex_);
  return state_.problem;
}

std::string DeviceEndpoint::refused_registration() const {
  const std::lock_guard guard(mutex_);
  return state_.refused_registration;
}

VerbsCounts DeviceEndpoint::counts() const {
  const std::lock_guard guard(mutex_);
  VerbsCounts counts = state_.counts;
  if (state_.registrations != nullptr) counts.registrations += state_.registrations->made();
  return counts;
}

}  // namespace

std::unique_ptr<VerbsEndpoint> make_verbs_endpoint(const VerbsSettings& settings,
                                                   Bootstrap& bootstrap, WaitSet& wakes) {
  return std::make_unique<DeviceEndpoint>(settings, bootstrap, wakes);
}

}  // namespace ferry::verbs
