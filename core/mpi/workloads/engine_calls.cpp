#include "core/mpi/workloads/engine_calls.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>
#include <utility>

namespace ferry::mpi {
namespace {

/// A message's bytes follow from who sent it, its tag and size (the mixing is splitmix64's).
std::uint64_t word_of(Rank source, Tag tag, std::size_t size, std::size_t index) {
  std::uint64_t word = (static_cast<std::uint64_t>(static_cast<std::uint32_t>(source)) << 32U) ^
                       static_cast<std::uint32_t>(tag) ^ (std::uint64_t{size} << 17U);
  word += (index + 1) * 0x9e3779b97f4a7c15ULL;
  word = (word ^ (word >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  return word ^ (word >> 27U);
}

/// Calls `f` with the offset of each word of a message that is looked at.
template <class F>
void for_each_word(std::size_t size, const F& f) {
  constexpr std::size_t word = sizeof(std::uint64_t);
  const std::size_t head = std::min(size, largest_checked_whole);
  for (std::size_t at = 0; at < head; at += word) f(at);
  const std::size_t tail = std::max(head, size < head ? 0 : (size - head + word - 1) / word * word);
  for (std::size_t at = tail; at < size; at += word) f(at);
}

void fill(Rank source, Tag tag, std::size_t size, std::byte* into) {
  for_each_word(size, [&](std::size_t at) {
    const std::uint64_t word = word_of(source, tag, size, at);
    std::memcpy(into + at, &word, std::min(sizeof(word), size - at));
  });
}

/// Of a collective that has no tag.
constexpr Tag collective_tag = 0;

ElementType element_of(std::size_t size) {
  if (size % 8 == 0) return ElementType::float64;
  return size % 4 == 0 ? ElementType::int32 : ElementType::byte;
}

/// Sums whose result is looked at: of doubles.
bool is_checked_sum(std::size_t size) { return size % sizeof(double) == 0; }

/// Every rank gives its number plus one in every element.
void fill_doubles(double value, std::size_t size, std::byte* into) {
  for (std::size_t at = 0; at < size; at += sizeof(value)) std::memcpy(into + at, &value, 8);
}

std::size_t sum_of(std::span<const std::size_t> sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), std::size_t{0});
}

}  // namespace

EngineCalls::EngineCalls(Process& process, const EnginePorts& ports, RankLog& log)
    : process_(process),
      world_(process.world()),
      ports_(ports),
      log_(log),
      rank_(world_.rank()),
      size_(world_.size()) {}

void EngineCalls::compute(Duration work) {
  if (work <= Duration::zero()) return;
  const TimePoint now = ports_.clock.now();
  slice_ = now == slice_ended_ ? slice_ + work : work;
  log_.longest_slice = std::max(log_.longest_slice, slice_);
  if (ports_.watch != nullptr) ports_.watch->begins(now + work);
  if (ports_.processor.compute(ports_.vm, work) == Wake::cancelled) {
    throw JobAborted(std::string(rank_was_cancelled));
  }
  slice_ended_ = ports_.clock.now();
}

void EngineCalls::complain(std::string what) {
  if (log_.wrong_messages++ == 0) log_.first_wrong = std::move(what);
}

ConstBuffer EngineCalls::outgoing(std::size_t size, Tag tag, Content& content) const {
  if (!is_real(size)) return ConstBuffer::phantom(size);
  fill(rank_, tag, size, content.of(size));
  return {content.of(size), size};
}

/// Without what is left there of an earlier message, which may have had the same bytes.
Buffer EngineCalls::incoming(std::size_t size, Content& content) const {
  if (!is_real(size)) return Buffer::phantom(size);
  std::byte* const into = content.of(size);
  const std::size_t part = std::min(size, largest_checked_whole);
  std::memset(into, 0, part);
  std::memset(into + (size - part), 0, part);
  return {into, size};
}

ConstBuffer EngineCalls::any_bytes(std::size_t size, Content& content) const {
  return ports_.every_byte ? ConstBuffer(content.of(size), size) : ConstBuffer::phantom(size);
}

Buffer EngineCalls::any_room(std::size_t size, Content& content) const {
  return ports_.every_byte ? Buffer(content.of(size), size) : Buffer::phantom(size);
}

ConstBuffer EngineCalls::summands(std::size_t size) {
  if (!is_real(size) || !is_checked_sum(size)) return any_bytes(size, summands_);
  std::byte* const bytes = summands_.of(size);
  if (summed_ != size) fill_doubles(rank_ + 1, size, bytes);
  summed_ = size;
  return {bytes, size};
}

void EngineCalls::check_received(const Status& status, std::size_t posted, const Content& content) {
  if (status.error != Error::none) {
    complain(
        fmt::format("rank {}: a message of {} bytes from rank {} with tag {} was longer than "
                    "its buffer",
                    rank_, status.size, status.source, status.tag));
    return;
  }
  if (!is_real(posted) || !is_real(status.size)) return;
  bool right = true;
  for_each_word(status.size, [&](std::size_t at) {
    const std::uint64_t word = word_of(status.source, status.tag, status.size, at);
    right = right && std::memcmp(content.data(posted) + at, &word,
                                 std::min(sizeof(word), status.size - at)) == 0;
  });
  if (right) return;
  complain(
      fmt::format("rank {}: a message of {} bytes from rank {} with tag {} has other "
                  "bytes than were sent",
                  rank_, status.size, status.source, status.tag));
}

void EngineCalls::check_sums(std::size_t size, const Content& content, const char* what) {
  const double expected = 0.5 * size_ * (size_ + 1.0);
  std::optional<double> wrong;
  for_each_word(size, [&](std::size_t at) {
    double sum = 0;
    std::memcpy(&sum, content.data(size) + at, sizeof(sum));
    if (sum != expected && !wrong) wrong = sum;
  });
  if (!wrong) return;
  complain(fmt::format("rank {}: {} gave {} for a sum that is {}", rank_, what, *wrong, expected));
}

void EngineCalls::send(std::size_t size, Rank to, Tag tag) {
  log_.traffic.send(size);
  world_.send(outgoing(size, tag, sent_), to, tag);
}

void EngineCalls::receive(std::size_t size, Rank from, Tag tag) {
  check_received(world_.recv(incoming(size, content_), from, tag), size, content_);
}

void EngineCalls::exchange(std::size_t size, Rank to, Tag tag, std::size_t into, Rank from,
                           Tag from_tag) {
  log_.traffic.send(size);
  check_received(world_.sendrecv(outgoing(size, tag, sent_), to, tag, incoming(into, content_),
                                 from, from_tag),
                 into, content_);
}

void EngineCalls::receive_any_size(Rank from, Tag tag) {
  const Status found = world_.probe(from, tag);
  receive(found.size, found.source, found.tag);
}

Pending EngineCalls::take_slot() {
  if (free_.empty()) {
    slots_.emplace_back();
    return {static_cast<std::uint32_t>(slots_.size() - 1)};
  }
  const Pending pending{free_.back()};
  free_.pop_back();
  return pending;
}

Pending EngineCalls::start_send(std::size_t size, Rank to, Tag tag) {
  const Pending pending = take_slot();
  Slot& slot = slots_[pending.slot];
  slot.receives = false;
  log_.traffic.send(size);
  slot.request = world_.isend(outgoing(size, tag, slot.content), to, tag);
  return pending;
}

Pending EngineCalls::start_receive(std::size_t size, Rank from, Tag tag) {
  const Pending pending = take_slot();
  Slot& slot = slots_[pending.slot];
  slot.receives = true;
  slot.posted = size;
  slot.request = world_.irecv(incoming(size, slot.content), from, tag);
  return pending;
}

void EngineCalls::wait(Pending pending) {
  Slot& slot = slots_[pending.slot];
  const Status status = world_.wait(slot.request);
  if (slot.receives) check_received(status, slot.posted, slot.content);
  free_.push_back(pending.slot);
}

void EngineCalls::wait_all(std::span<const Pending> pending) {
  requests_.clear();
  for (const Pending one : pending) requests_.push_back(slots_[one.slot].request);
  statuses_.resize(requests_.size());
  world_.wait_all(requests_, statuses_);
  for (std::size_t i = 0; i < pending.size(); ++i) {
    const Slot& slot = slots_[pending[i].slot];
    if (slot.receives) check_received(statuses_[i], slot.posted, slot.content);
    free_.push_back(pending[i].slot);
  }
}

bool EngineCalls::test(Pending pending) {
  Slot& slot = slots_[pending.slot];
  Status status;
  if (!world_.test(slot.request, &status)) return false;
  if (slot.receives) check_received(status, slot.posted, slot.content);
  free_.push_back(pending.slot);
  return true;
}

void EngineCalls::barrier() {
  log_.traffic.call(Collective::barrier, 0);
  world_.barrier();
}

void EngineCalls::bcast(std::size_t size, Rank root) {
  log_.traffic.call(Collective::bcast, rank_ == root ? size : 0);
  const Buffer data = incoming(size, content_);
  if (is_real(size) && rank_ == root) fill(root, collective_tag, size, content_.of(size));
  world_.bcast(data, root);
  Status status;
  status.source = root;
  status.tag = collective_tag;
  status.size = size;
  check_received(status, size, content_);
}

void EngineCalls::reduce(std::size_t size, Rank root) {
  log_.traffic.call(Collective::reduce, size);
  const bool checked = is_real(size) && is_checked_sum(size);
  const Buffer sums = checked ? incoming(size, content_) : any_room(size, content_);
  world_.reduce(summands(size), sums, element_of(size), Reduction::sum, root);
  if (checked && rank_ == root) check_sums(size, content_, "reduce");
}

void EngineCalls::allreduce(std::size_t size) {
  log_.traffic.call(Collective::allreduce, size);
  const bool checked = is_real(size) && is_checked_sum(size);
  const Buffer sums = checked ? incoming(size, content_) : any_room(size, content_);
  world_.allreduce(summands(size), sums, element_of(size), Reduction::sum);
  if (checked) check_sums(size, content_, "allreduce");
}

void EngineCalls::gather(std::size_t size, Rank root) {
  log_.traffic.call(Collective::gather, size);
  world_.gather(any_bytes(size, sent_), any_room(size * static_cast<std::size_t>(size_), content_),
                root);
}

void EngineCalls::scatter(std::size_t size, Rank root) {
  const std::size_t all = size * static_cast<std::size_t>(size_);
  log_.traffic.call(Collective::scatter, rank_ == root ? all : 0);
  world_.scatter(any_bytes(all, sent_), any_room(size, content_), root);
}

void EngineCalls::allgather(std::size_t size) {
  log_.traffic.call(Collective::allgather, size);
  world_.allgather(any_bytes(size, sent_),
                   any_room(size * static_cast<std::size_t>(size_), content_));
}

void EngineCalls::alltoall(std::size_t size) {
  const std::size_t all = size * static_cast<std::size_t>(size_);
  log_.traffic.call(Collective::alltoall, all);
  world_.alltoall(any_bytes(all, sent_), any_room(all, content_));
}

void EngineCalls::gatherv(std::span<const std::size_t> sizes, Rank root) {
  const std::size_t mine = sizes[static_cast<std::size_t>(rank_)];
  log_.traffic.call(Collective::gatherv, mine);
  world_.gatherv(any_bytes(mine, sent_), any_room(sum_of(sizes), content_), sizes, root);
}

void EngineCalls::scatterv(std::span<const std::size_t> sizes, Rank root) {
  const std::size_t all = sum_of(sizes);
  log_.traffic.call(Collective::scatterv, rank_ == root ? all : 0);
  world_.scatterv(any_bytes(all, sent_), sizes,
                  any_room(sizes[static_cast<std::size_t>(rank_)], content_), root);
}

void EngineCalls::allgatherv(std::span<const std::size_t> sizes) {
  const std::size_t mine = sizes[static_cast<std::size_t>(rank_)];
  log_.traffic.call(Collective::allgatherv, mine);
  world_.allgatherv(any_bytes(mine, sent_), any_room(sum_of(sizes), content_), sizes);
}

void EngineCalls::alltoallv(std::span<const std::size_t> send_sizes,
                            std::span<const std::size_t> receive_sizes) {
  const std::size_t all = sum_of(send_sizes);
  log_.traffic.call(Collective::alltoallv, all);
  world_.alltoallv(any_bytes(all, sent_), send_sizes, any_room(sum_of(receive_sizes), content_),
                   receive_sizes);
}

void EngineCalls::reduce_scatter(std::span<const std::size_t> sizes) {
  const std::size_t all = sum_of(sizes);
  log_.traffic.call(Collective::reduce_scatter, all);
  ElementType type = ElementType::float64;
  for (const std::size_t size : sizes) {
    if (size_of(element_of(size)) < size_of(type)) type = element_of(size);
  }
  world_.reduce_scatter(any_bytes(all, sent_),
                        any_room(sizes[static_cast<std::size_t>(rank_)], content_), sizes, type,
                        Reduction::sum);
}

void EngineCalls::scan(std::size_t size) {
  log_.traffic.call(Collective::scan, size);
  world_.scan(any_bytes(size, sent_), any_room(size, content_), element_of(size), Reduction::sum);
}

Duration EngineCalls::longest(Duration value) {
  log_.traffic.call(Collective::allreduce, sizeof(std::int64_t));
  const std::int64_t mine = value.count_nanoseconds();
  std::int64_t most = 0;
  world_.allreduce({&mine, sizeof(mine)}, {&most, sizeof(most)}, ElementType::int64,
                   Reduction::maximum);
  return Duration::nanoseconds(most);
}

}  // namespace ferry::mpi
