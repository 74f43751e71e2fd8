// Reads of the other rank's memory: the part of a connection that asks for it.
#include <algorithm>
#include <array>

#include "core/ports/world_error.hpp"
#include "core/units/check.hpp"
#include "hw_backend/verbs/connection.hpp"

namespace ferry::verbs {
namespace {

/// Of one work request: large enough that its own cost is nothing, small enough that packets get
/// their turn.
constexpr std::uint32_t largest_chunk = 256U << 10U;
/// One completion tells of all before it.
constexpr std::uint32_t requests_a_completion = 8;
constexpr std::size_t requests_at_once = 16;
constexpr std::uint32_t most_pieces = 65'536;

}  // namespace

struct Connection::Read {
  enum class Step { begins, record, list, data };
  struct Chunk {
    std::uint64_t there = 0;
    std::uint32_t there_key = 0;
    std::byte* here = nullptr;
    std::optional<std::uint32_t> here_key;  ///< none: by a buffer
    std::uint32_t size = 0;
  };
  std::uint64_t cookie = 0;
  MemoryKey key;
  std::uint64_t offset = 0;
  std::vector<Slice> into;
  std::uint64_t size = 0;
  Step step = Step::begins;
  std::optional<std::uint32_t> scratch;
  std::vector<MemoryDescription> list;
  std::vector<RegistrationCache::Use> uses;
  std::vector<Chunk> chunks;  ///< of this step
  std::size_t next_chunk = 0;
  bool ended = false;
};

void Connection::read(MemoryKey key, std::size_t offset, std::span<const Slice> into,
                      std::uint64_t cookie) {
  const auto read = std::make_shared<Read>();
  read->cookie = cookie;
  read->key = key;
  read->offset = offset;
  read->into.assign(into.begin(), into.end());
  for (const Slice& piece : into) read->size += piece.size;
  reads_.push_back(read);
  if (gone_ || key.value == 0) return end_read(read, false);
  if (pairing_.is_up()) {
    flush();
  } else {
    pairing_.want(std::chrono::steady_clock::now());
  }
}

/// Asks for as much as fits, with few doorbells.
void Connection::advance_reads() {
  std::array<ibv_send_wr, requests_at_once> requests;
  std::array<ibv_sge, requests_at_once> pieces;
  std::size_t count = 0;
  const auto ring = [&] {
    if (count == 0) return;
    count = 0;
    post_sends(requests[0]);
  };
  for (std::size_t i = 0; i < reads_.size() && !broken_; ++i) {
    const std::shared_ptr<Read> read = reads_[i];
    if (read->step == Read::Step::begins && !begin_read(*read)) break;
    while (read->next_chunk < read->chunks.size() && !broken_) {
      if (!has_send_room() || reads_under_way_.size() >= read_requests) return ring();
      // There is one again when another read by a buffer of this connection has ended.
      if (!read->chunks[read->next_chunk].here_key && free_read_buffers_.empty()) return ring();
      if (count == requests_at_once) ring();
      fill_next_chunk(read, requests[count], pieces[count]);
      if (count != 0) requests[count - 1].next = &requests[count];
      ++count;
    }
  }
  ring();
}

/// False: later.
bool Connection::begin_read(Read& read) {
  if (state_.free_scratch.empty()) return false;
  read.scratch = state_.free_scratch.back();
  state_.free_scratch.pop_back();
  const auto known = known_.find(read.key.value);
  const bool usable =
      known != known_.end() && known->second.device_generation == there_.device_generation;
  if (usable) {
    const MemoryDescription memory = known->second;
    plan_chunks(read, {&memory, 1});
  } else {
    read.step = Read::Step::record;
    ask_for_record(read);
  }
  return true;
}

void Connection::ask_for_record(Read& read) {
  const std::uint32_t index = record_of(read.key);
  read.chunks.push_back({.there = there_.table_address + index * sizeof(ExposureRecord),
                         .there_key = there_.table_key,
                         .here = reinterpret_cast<std::byte*>(&state_.scratch[*read.scratch]),
                         .here_key = (*state_.scratch_use)->registration.local_key,
                         .size = sizeof(ExposureRecord)});
}

std::optional<std::uint32_t> Connection::register_for(Read& read, std::span<std::byte> memory) {
  const auto use = state_.registrations->use(memory.data(), memory.size(), true);
  if (!use) {
    state_.note_refused_registration(use.error().reason);
    return std::nullopt;
  }
  read.uses.push_back(*use);
  return (*use)->registration.local_key;
}

/// What lies in both: pieces there from the offset on, pieces here. Then the record, which says
/// whether it was right to. Nothing, if it would be beyond the end.
void Connection::plan_chunks(Read& read, std::span<const MemoryDescription> pieces) {
  read.step = Read::Step::data;
  read.chunks.clear();
  read.next_chunk = 0;
  std::size_t piece = 0;
  std::uint64_t at = read.offset;
  for (const Slice& slice : read.into) {
    if (slice.size == 0 || slice.data == nullptr) continue;
    const std::optional<std::uint32_t> key = register_for(read, {slice.data, slice.size});
    const std::size_t largest =
        std::min<std::size_t>(key ? largest_chunk : frame_size_, state_.device->largest_message());
    std::size_t filled = 0;
    while (filled < slice.size) {
      while (piece < pieces.size() && at >= pieces[piece].size) at -= pieces[piece++].size;
      if (piece == pieces.size()) break;  // what comes next finds the read too long
      const std::size_t size =
          std::min<std::uint64_t>({slice.size - filled, pieces[piece].size - at, largest});
      read.chunks.push_back({.there = pieces[piece].address + at,
                             .there_key = pieces[piece].key,
                             .here = slice.data + filled,
                             .here_key = key,
                             .size = static_cast<std::uint32_t>(size)});
      filled += size;
      at += size;
    }
  }
  ask_for_record(read);
}

void Connection::fill_next_chunk(const std::shared_ptr<Read>& read, ibv_send_wr& request,
                                 ibv_sge& piece) {
  const Read::Chunk& chunk = read->chunks[read->next_chunk++];
  const bool last = read->next_chunk == read->chunks.size();
  Work work{work_posted_, read, last, {}, {}};
  std::byte* here = chunk.here;
  if (!chunk.here_key) {
    work.by_buffer = free_read_buffers_.back();
    work.to = {chunk.here, chunk.size};
    free_read_buffers_.pop_back();
    here = read_buffer(*work.by_buffer);
  }
  piece = {.addr = reinterpret_cast<std::uintptr_t>(here),
           .length = chunk.size,
           .lkey = chunk.here_key.value_or((*memory_use_)->registration.local_key)};
  request = {};
  request.sg_list = &piece;
  request.num_sge = 1;
  request.opcode = IBV_WR_RDMA_READ;
  request.wr.rdma.remote_addr = chunk.there;
  request.wr.rdma.rkey = chunk.there_key;
  request.wr_id = WorkId{false, index_, static_cast<std::uint8_t>(link_), work_posted_}.pack();
  if (last || work.by_buffer || read->next_chunk % requests_a_completion == 0) {
    request.send_flags |= IBV_SEND_SIGNALED;
  }
  reads_under_way_.push_back(std::move(work));
  ++work_posted_;
}

void Connection::take_up(const Work& work) {
  std::copy_n(read_buffer(*work.by_buffer), work.to.size(), work.to.data());
  free_read_buffers_.push_back(*work.by_buffer);
}

/// Of the pieces that the memory there is of.
void Connection::plan_list(Read& read, const MemoryDescription& there) {
  auto* const here = reinterpret_cast<std::byte*>(read.list.data());
  const std::optional<std::uint32_t> key = register_for(read, {here, there.size});
  const std::size_t largest = key ? there.size : frame_size_;
  for (std::size_t at = 0; at < there.size; at += largest) {
    read.chunks.push_back(
        {.there = there.address + at,
         .there_key = there.key,
         .here = here + at,
         .here_key = key,
         .size = static_cast<std::uint32_t>(std::min<std::size_t>(largest, there.size - at))});
  }
}

/// All that was asked for in its step is there.
void Connection::end_step(const std::shared_ptr<Read>& read) {
  if (read->ended) return;
  const ExposureRecord& record = state_.scratch[*read->scratch];
  const bool exposed = record.key == read->key.value;
  if (!exposed) known_.erase(read->key.value);
  switch (read->step) {
    case Read::Step::begins: return;
    case Read::Step::data:
      return end_read(read, exposed && read->offset + read->size <= record.size);
    case Read::Step::record: {
      if (!exposed || read->offset + read->size > record.size) return end_read(read, false);
      read->chunks.clear();
      read->next_chunk = 0;
      if (record.phantom != 0 || record.pieces == 0 || read->size == 0) {
        return end_read(read, true);
      }
      if (record.pieces == 1) {
        const MemoryDescription memory = record.memory;
        know(read->key.value, memory);
        plan_chunks(*read, {&memory, 1});
        break;
      }
      if (record.pieces > most_pieces ||
          record.memory.size != record.pieces * sizeof(MemoryDescription)) {
        return end_read(read, false);
      }
      read->step = Read::Step::list;
      read->list.resize(record.pieces);
      plan_list(*read, record.memory);
      break;
    }
    case Read::Step::list: plan_chunks(*read, read->list); break;
  }
  advance_reads();
}

void Connection::end_read(const std::shared_ptr<Read>& read, bool succeeded) {
  read->ended = true;
  state_.done_reads.push_back({succeeded, channel_, read->cookie});
  if (read->scratch) state_.free_scratch.push_back(*read->scratch);
  if (state_.registrations != nullptr) {
    for (const RegistrationCache::Use use : read->uses) state_.registrations->release(use);
  }
  read->uses.clear();
  std::erase(reads_, read);
}

void Connection::fail_waiting_reads() {
  const std::deque<std::shared_ptr<Read>> all = reads_;
  for (const auto& read : all) {
    if (read->step == Read::Step::begins) end_read(read, false);
  }
}

/// The queue pair is gone: those that had begun have failed, the others wait for the next one.
void Connection::fail_reads() {
  for (const Work& work : reads_under_way_) {
    if (work.by_buffer) free_read_buffers_.push_back(*work.by_buffer);
  }
  reads_under_way_.clear();
  const std::deque<std::shared_ptr<Read>> all = reads_;
  for (const auto& read : all) {
    if (read->step != Read::Step::begins) end_read(read, false);
  }
}

}  // namespace ferry::verbs
