#include "hw_backend/verbs/connection.hpp"

#include <endian.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "core/units/check.hpp"

namespace ferry::verbs {
namespace {

/// Words that may be on their way: the credits of a window are told of at most three times before
/// the other side must have read one of them, and a new link begins with one.
constexpr std::uint32_t words = 8;
/// Receives are posted in groups: fewer doorbells.
constexpr std::uint32_t receives_at_once = 8;
constexpr std::uint32_t sends_at_once = 16;
/// Pieces of memory there that can be read without looking them up.
constexpr std::size_t most_known = 1024;
/// What the device may take from memory with the doorbell itself.
constexpr std::uint32_t largest_inline = 220;
/// A queue pair that is being destroyed says its last words within it, or never.
constexpr std::chrono::milliseconds last_words(5);

/// Of a packet with its head.
std::byte* header_of(std::byte* frame, bool describes) {
  return frame + sizeof(FrameHead) + (describes ? sizeof(MemoryDescription) : 0);
}

constexpr std::size_t rounded_up(std::size_t size, std::size_t to) {
  return (size + to - 1) / to * to;
}

}  // namespace

Connection::Connection(EndpointState& state, std::uint32_t index, RankId peer, Channel channel,
                       std::function<void()> poll_completions)
    : state_(state),
      index_(index),
      peer_(peer),
      channel_(channel),
      poll_completions_(std::move(poll_completions)),
      pairing_(state.bootstrap.rank() < peer, channel, *this),
      outgoing_(state.settings.window),
      incoming_(state.settings.window),
      receives_(state.settings.window + words + receives_at_once + 1),
      sends_(state.settings.window + words + read_requests),
      frame_size_(rounded_up(largest_frame_head + state.settings.largest_body, 64)),
      memory_size_(
          rounded_up((receives_ + state.settings.window + read_buffers) * frame_size_ + words * 64,
                     page_bytes)),
      memory_(static_cast<std::byte*>(std::aligned_alloc(page_bytes, memory_size_))),
      packet_sizes_(state.settings.window),
      buffers_(receives_, BufferState::unused),
      headless_(receives_) {
  check(memory_ != nullptr, "there is memory for a connection");
  for (std::uint32_t i = 0; i < receives_; ++i) unused_buffers_.push_back(receives_ - 1 - i);
  for (std::uint32_t i = 0; i < read_buffers; ++i) free_read_buffers_.push_back(i);
}

Connection::~Connection() {
  destroy_queue_pair();
  if (memory_use_ && state_.registrations != nullptr &&
      memory_generation_ == state_.device_generation) {
    state_.registrations->release(*memory_use_);
    state_.registrations->forget(memory_, memory_size_);
  }
  std::free(memory_);
}

std::byte* Connection::buffer(std::uint32_t index) const { return memory_ + index * frame_size_; }
std::byte* Connection::place(std::uint32_t index) const {
  return memory_ + (receives_ + index) * frame_size_;
}
std::byte* Connection::read_buffer(std::uint32_t index) const {
  return place(state_.settings.window + index);
}
std::byte* Connection::word(std::uint32_t index) const {
  return read_buffer(read_buffers) + index * 64;
}

// --- Sending -------------------------------------------------------------------------------------

bool Connection::post(const PacketHeader& header, std::span<const ConstSlice> body) {
  if (gone_) return true;
  if (!outgoing_.has_room()) return false;
  const std::uint32_t index = outgoing_.place_of(outgoing_.next());
  std::byte* const frame = place(index);
  FrameHead head;
  head.number = static_cast<std::uint32_t>(outgoing_.next());
  head.kind = FrameKind::packet;
  std::byte* at = frame + sizeof head;
  if (const ExposureRecord* const exposed = state_.exposures.single_piece(header.key)) {
    head.flags |= frame_describes;
    std::memcpy(at, &exposed->memory, sizeof exposed->memory);
    at += sizeof exposed->memory;
  }
  std::memcpy(at, &header, sizeof header);
  at += sizeof header;
  for (const ConstSlice& piece : body) {
    head.body_size += piece.size;
    if (piece.size != 0 && piece.data == nullptr) head.flags |= frame_phantom;
  }
  if ((head.flags & frame_phantom) == 0) {
    check(head.body_size <= state_.settings.largest_body, "a body fits into a packet");
    for (const ConstSlice& piece : body) {
      if (piece.size == 0) continue;
      std::memcpy(at, piece.data, piece.size);
      at += piece.size;
    }
  }
  std::memcpy(frame, &head, sizeof head);
  packet_sizes_[index] = static_cast<std::uint32_t>(at - frame);
  outgoing_.add();
  ++state_.counts.packets_posted;
  if (pairing_.is_up()) {
    flush();
  } else {
    pairing_.want(std::chrono::steady_clock::now());
  }
  return true;
}

void Connection::flush() {
  if (!pairing_.is_up() || draining_ || broken_) return;
  if (word_due_) send_word();
  send_packets();
  advance_reads();
}

void Connection::prepare_send(ibv_send_wr& request, ibv_sge& piece, std::byte* frame,
                              std::size_t size) {
  piece = {.addr = reinterpret_cast<std::uintptr_t>(frame),
           .length = static_cast<std::uint32_t>(size),
           .lkey = (*memory_use_)->registration.local_key};
  request = {};
  request.sg_list = &piece;
  request.num_sge = 1;
  request.opcode = IBV_WR_SEND;
  request.wr_id = WorkId{false, index_, static_cast<std::uint8_t>(link_), work_posted_}.pack();
  ++work_posted_;
  // One completion tells of all sends before it.
  if (must_signal_ || work_posted_ % (sends_ / 4) == 0) request.send_flags |= IBV_SEND_SIGNALED;
  if (size <= pair_->largest_inline()) request.send_flags |= IBV_SEND_INLINE;
}

void Connection::post_sends(ibv_send_wr& first) {
  ibv_send_wr* bad = nullptr;
  ++state_.counts.send_doorbells;
  const int error = ibv_post_send(pair_->get(), &first, &bad);
  if (error == 0) return;
  failed(verbs_error("ibv_post_send", error));
}

void Connection::send_packets() {
  std::array<ibv_send_wr, sends_at_once> requests;
  std::array<ibv_sge, sends_at_once> pieces;
  while (outgoing_.has_to_send() && has_send_room() && !broken_) {
    std::uint32_t count = 0;
    const std::uint32_t taken = incoming_.tell();
    while (count < sends_at_once && outgoing_.has_to_send() && has_send_room()) {
      const std::uint32_t index = outgoing_.place_of(outgoing_.to_send());
      prepare_packet(requests[count], pieces[count], index, taken);
      if (count != 0) requests[count - 1].next = &requests[count];
      outgoing_.sent();
      ++count;
    }
    post_sends(requests[0]);
  }
}

void Connection::prepare_packet(ibv_send_wr& request, ibv_sge& piece, std::uint32_t index,
                                std::uint32_t taken) {
  std::byte* const frame = place(index);
  head_of(frame).taken = taken;
  const FrameHead& frame_head = head_of(frame);
  const bool describes = (frame_head.flags & frame_describes) != 0;
  HeadCache::Head head;
  head.number = frame_head.number;
  head.taken = taken;
  std::memcpy(static_cast<void*>(&head.header), header_of(frame, describes), sizeof head.header);
  const std::size_t body_size = frame_head.body_size;
  if (frame_head.flags == 0 && body_size != 0 && sent_heads_.expects(head, body_size)) {
    prepare_send(request, piece, frame + sizeof(FrameHead) + sizeof(PacketHeader), body_size);
    request.opcode = IBV_WR_SEND_WITH_IMM;
    request.imm_data =
        htobe32(static_cast<std::uint32_t>(head.header.checksum & checksum_bits_without_head));
    ++state_.counts.packets_without_head;
  } else {
    prepare_send(request, piece, frame, packet_sizes_[index]);
  }
  sent_heads_.note(head, body_size);
}

/// How far this side has got, without a packet.
void Connection::send_word() {
  word_due_ = !has_send_room();
  if (word_due_) return;
  std::byte* const frame = word(next_word_++ % words);
  FrameHead head;
  head.taken = incoming_.tell();
  std::memcpy(frame, &head, sizeof head);
  ibv_send_wr request;
  ibv_sge piece;
  prepare_send(request, piece, frame, sizeof head);
  ++state_.counts.credit_messages;
  post_sends(request);
}

bool Connection::has_left() {
  if (gone_ || outgoing_.is_empty()) return true;
  if (!pairing_.is_up() || broken_ || outgoing_.has_to_send()) return false;
  if (last_word_link_ != link_) {
    must_signal_ = true;
    send_word();
    if (!word_due_) last_word_link_ = link_;
  }
  return last_word_link_ == link_ && work_done_ == work_posted_;
}

void Connection::sent(std::uint32_t number) {
  if (number - work_done_ < work_posted_ - work_done_) work_done_ = number + 1;
  while (!reads_under_way_.empty() &&
         static_cast<std::int32_t>(work_done_ - reads_under_way_.front().number) > 0) {
    const Work work = reads_under_way_.front();
    reads_under_way_.pop_front();
    if (work.by_buffer) take_up(work);
    if (work.last) end_step(work.read);
  }
}

// --- Receiving -----------------------------------------------------------------------------------

void Connection::post_receives(bool all) {
  while (pair_ != nullptr && unused_buffers_.size() >= (all ? 1 : receives_at_once)) {
    std::array<ibv_recv_wr, receives_at_once> requests{};
    std::array<ibv_sge, receives_at_once> pieces;
    std::uint32_t count = 0;
    while (count < receives_at_once && !unused_buffers_.empty()) {
      const std::uint32_t index = unused_buffers_.back();
      unused_buffers_.pop_back();
      buffers_[index] = BufferState::posted;
      ++posted_buffers_;
      pieces[count] = {.addr = reinterpret_cast<std::uintptr_t>(buffer(index)),
                       .length = static_cast<std::uint32_t>(frame_size_),
                       .lkey = (*memory_use_)->registration.local_key};
      requests[count].wr_id = WorkId{true, index_, static_cast<std::uint8_t>(link_), index}.pack();
      requests[count].sg_list = &pieces[count];
      requests[count].num_sge = 1;
      if (count != 0) requests[count - 1].next = &requests[count];
      ++count;
    }
    ibv_recv_wr* bad = nullptr;
    ++state_.counts.receive_doorbells;
    const int error = ibv_post_recv(pair_->get(), &requests[0], &bad);
    if (error != 0) return failed(verbs_error("ibv_post_recv", error));
  }
}

void Connection::receive_flushed(std::uint32_t index) {
  if (buffers_[index] != BufferState::posted) return;
  buffers_[index] = BufferState::unused;
  --posted_buffers_;
  unused_buffers_.push_back(index);
}

void Connection::received(std::uint32_t index, std::size_t size,
                          std::optional<std::uint32_t> checksum) {
  check(buffers_[index] == BufferState::posted, "what arrives does so in a buffer that was posted");
  buffers_[index] = BufferState::held;
  --posted_buffers_;
  headless_[index].body_size = 0;
  if (checksum) return received_without_head(index, size, *checksum);
  FrameHead head;
  const bool whole = size >= sizeof head;
  if (whole) std::memcpy(&head, buffer(index), sizeof head);
  if (!draining_) pairing_.hear_word();
  if (whole) outgoing_.taken(head.taken);
  if (whole && head.kind == FrameKind::packet) note_head(index, head);
  if (whole && head.kind == FrameKind::packet && incoming_.accept(head.number)) {
    if ((head.flags & frame_describes) != 0) learn_memory(index, head);
    return note_arrival(index);
  }
  give_back(index);
  const auto ahead = static_cast<std::int32_t>(
      head.number - static_cast<std::uint32_t>(incoming_.position().next));
  if (whole && head.kind == FrameKind::packet && ahead > 0) failed("a packet is missing");
}

void Connection::received_without_head(std::uint32_t index, std::size_t size,
                                       std::uint32_t checksum) {
  if (!draining_) pairing_.hear_word();
  if (!received_heads_.knows() || size == 0) {
    give_back(index);
    return failed("a packet without its head, where none is expected");
  }
  HeadCache::Head head = received_heads_.expected(size);
  head.header.checksum = checksum;
  received_heads_.note(head, size);
  outgoing_.taken(head.taken);
  if (!incoming_.accept(head.number)) return give_back(index);
  headless_[index] = {static_cast<std::uint32_t>(size), head.header};
  note_arrival(index);
}

/// What packets without theirs go on from.
void Connection::note_head(std::uint32_t index, const FrameHead& frame_head) {
  const bool describes = (frame_head.flags & frame_describes) != 0;
  HeadCache::Head head;
  head.number = frame_head.number;
  head.taken = frame_head.taken;
  std::memcpy(static_cast<void*>(&head.header), header_of(buffer(index), describes),
              sizeof head.header);
  received_heads_.note(head, frame_head.body_size);
}

void Connection::note_arrival(std::uint32_t index) {
  ++state_.counts.packets_arrived;
  state_.arrivals.push_back({this, index, incoming_.incarnation()});
}

void Connection::learn_memory(std::uint32_t index, const FrameHead& head) {
  MemoryDescription memory;
  PacketHeader header;
  std::memcpy(&memory, buffer(index) + sizeof head, sizeof memory);
  std::memcpy(static_cast<void*>(&header), buffer(index) + sizeof head + sizeof memory,
              sizeof header);
  know(header.key, memory);
}

/// Keys grow: the lowest is the oldest.
void Connection::know(std::uint64_t key, const MemoryDescription& memory) {
  if (known_.size() >= most_known) known_.erase(known_.begin());
  known_[key] = memory;
}

void Connection::after_completions() {
  if (!pairing_.is_up()) return;
  incoming_.look_whether_full();
  flush();
}

void Connection::open_packet(const WaitingPacket& packet, Arrival& into) {
  const std::byte* at = buffer(packet.buffer);
  if (const Headless& headless = headless_[packet.buffer]; headless.body_size != 0) {
    into.header = headless.header;
    into.checksum_bits = checksum_bits_without_head;
    into.body_size = headless.body_size;
    into.body = {at, headless.body_size};
  } else {
    FrameHead head;
    std::memcpy(&head, at, sizeof head);
    at = header_of(buffer(packet.buffer), (head.flags & frame_describes) != 0);
    std::memcpy(static_cast<void*>(&into.header), at, sizeof into.header);
    at += sizeof into.header;
    into.checksum_bits = ~std::uint64_t{};
    into.body_size = head.body_size;
    into.body = {};
    if ((head.flags & frame_phantom) == 0) into.body = {at, head.body_size};
  }
  into.kind = Arrival::Kind::packet;
  into.channel = channel_;
  into.from = EndpointAddress{peer_.index};
  into.cookie = 0;
  incoming_.take(packet.incarnation);
  post_receives(false);
  if (pairing_.is_up() && incoming_.must_tell()) send_word();
}

void Connection::give_back(std::uint32_t index) {
  buffers_[index] = BufferState::unused;
  unused_buffers_.push_back(index);
  if (pair_ != nullptr && !draining_) post_receives(false);
}

// --- The link ------------------------------------------------------------------------------------

void Connection::send(const HandshakeMessage& message) {
  state_.pairings_changed = true;
  state_.bootstrap.send(peer_, BootstrapTopic::connections, encode(message));
}

Result<QueuePairAddress> Connection::make_queue_pair() {
  Device* const device = state_.device.get();
  if (device == nullptr) return failure(FailureKind::failed, "the RDMA device is closed");
  if (!memory_use_ || memory_generation_ != state_.device_generation) {
    const auto use = state_.registrations->use(memory_, memory_size_, true);
    if (!use) return tl::unexpected(use.error());
    memory_use_ = *use;
    memory_generation_ = state_.device_generation;
  }
  Result<std::unique_ptr<QueuePair>> made = QueuePair::make(
      *device, {.sends = sends_, .receives = receives_, .largest_inline = largest_inline});
  if (!made) return tl::unexpected(made.error());
  pair_ = std::move(*made);
  ++link_;
  broken_ = false;
  word_due_ = false;
  work_posted_ = work_done_ = 0;
  sent_heads_.forget();
  received_heads_.forget();
  state_.packet_numbers = state_.packet_numbers * 1'664'525 + 1'013'904'223;
  first_packet_ = state_.packet_numbers >> 8U;
  post_receives(true);
  const UsablePort& port = device->port();
  const MemoryDescription table = state_.exposures.description();
  return QueuePairAddress{.number = pair_->get()->qp_num,
                          .first_packet = first_packet_,
                          .lid = port.lid,
                          .gid = port.gid,
                          .path_mtu = device->path_mtu(),
                          .reads = device->reads_answered(),
                          .table_address = table.address,
                          .table_key = table.key,
                          .device_generation = state_.device_generation};
}

Result<> Connection::connect_queue_pair(const QueuePairAddress& there) {
  there_ = there;
  return pair_->connect(
      there, first_packet_,
      {.timeout_exponent = state_.settings.timeout_exponent, .retries = state_.settings.retries});
}

void Connection::destroy_queue_pair() {
  if (pair_ == nullptr) return;
  // What has come already counts; what is missed here comes once more and is told by its number.
  draining_ = true;
  pair_->fail();
  const auto end = std::chrono::steady_clock::now() + last_words;
  while (posted_buffers_ != 0 && std::chrono::steady_clock::now() < end) {
    poll_completions_();
    if (posted_buffers_ != 0) sched_yield();
  }
  pair_.reset();
  draining_ = false;
  broken_ = false;
  std::erase(state_.broken, this);
  for (std::uint32_t i = 0; i < receives_; ++i) receive_flushed(i);
  fail_reads();
}

void Connection::synchronise(std::uint64_t incarnation, StreamPosition received) {
  incoming_.synchronise(incarnation);
  state_.counts.packets_sent_again += outgoing_.synchronise(received);
}

void Connection::wants_room() {
  incoming_.is_full();
  if (incoming_.must_tell()) send_word();
}

void Connection::drop_packets() {
  outgoing_.begin_anew();
  known_.clear();
  fail_waiting_reads();
}

void Connection::link_up() {
  ++state_.counts.connections_made;
  state_.pairings_changed = true;
  state_.problem.clear();
  send_word();
  flush();
}

void Connection::failed(std::string why) {
  if (broken_ || pair_ == nullptr) return;
  if (draining_) return;
  broken_ = true;
  state_.problem = std::move(why);
  state_.broken.push_back(this);
}

void Connection::mend(RealTime now) {
  if (!broken_) return;
  ++state_.counts.connections_broken;
  pairing_.break_down(now);
}

void Connection::disconnect() {
  destroy_queue_pair();
  std::erase_if(state_.arrivals, [this](const WaitingPacket& packet) {
    if (packet.connection != this) return false;
    give_back(packet.buffer);
    return true;
  });
  incoming_.close();
  drop_packets();
  pairing_.disconnect();
}

void Connection::be_gone() {
  gone_ = true;
  HandshakeMessage gone;
  gone.kind = HandshakeMessage::Kind::gone;
  pairing_.hear(gone, std::chrono::steady_clock::now());
  drop_packets();
}

void Connection::suspend() {
  pairing_.suspend();
  if (memory_use_ && memory_generation_ == state_.device_generation) {
    state_.registrations->release(*memory_use_);
  }
  memory_use_.reset();
}

void Connection::break_link() {
  if (pair_ == nullptr) return;
  pair_->fail();
  failed("it was broken by a test");
}

}  // namespace ferry::verbs
