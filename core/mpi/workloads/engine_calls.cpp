#include "core/mpi/workloads/engine_calls.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>
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

void fill(Rank source, Tag tag, std::size_t size, std::byte* into) {
  for (std::size_t at = 0; at < size; at += sizeof(std::uint64_t)) {
    const std::uint64_t word = word_of(source, tag, size, at);
    std::memcpy(into + at, &word, std::min(sizeof(word), size - at));
  }
}

/// Of a collective that has no tag.
constexpr Tag collective_tag = 0;

bool is_real(std::size_t size) { return size > 0 && size <= largest_real_message; }

ElementType element_of(std::size_t size) {
  if (size % 8 == 0) return ElementType::float64;
  return size % 4 == 0 ? ElementType::int32 : ElementType::byte;
}

/// Reductions that are real: of doubles.
bool is_real_sum(std::size_t size) { return is_real(size) && size % sizeof(double) == 0; }

/// Every rank gives its number plus one in every element.
void fill_doubles(double value, std::size_t size, std::byte* into) {
  for (std::size_t at = 0; at < size; at += sizeof(value)) std::memcpy(into + at, &value, 8);
}

std::size_t sum_of(std::span<const std::size_t> sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), std::size_t{0});
}

}  // namespace

EngineCalls::EngineCalls(Process& process, const EnginePorts& ports, RankLog& log)
    : world_(process.world()),
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
  fill(rank_, tag, size, content.data());
  return {content.data(), size};
}

Buffer EngineCalls::incoming(std::size_t size, Content& content) {
  return is_real(size) ? Buffer(content.data(), size) : Buffer::phantom(size);
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
  for (std::size_t at = 0; at < status.size; at += sizeof(std::uint64_t)) {
    const std::uint64_t word = word_of(status.source, status.tag, status.size, at);
    if (std::memcmp(content.data() + at, &word, std::min(sizeof(word), status.size - at)) != 0) {
      complain(
          fmt::format("rank {}: a message of {} bytes from rank {} with tag {} has other "
                      "bytes than were sent",
                      rank_, status.size, status.source, status.tag));
      return;
    }
  }
}

void EngineCalls::check_sums(std::size_t size, const Content& content, const char* what) {
  const double expected = 0.5 * size_ * (size_ + 1.0);
  for (std::size_t at = 0; at < size; at += sizeof(expected)) {
    double sum = 0;
    std::memcpy(&sum, content.data() + at, sizeof(sum));
    if (sum == expected) continue;
    complain(fmt::format("rank {}: {} gave {} for a sum that is {}", rank_, what, sum, expected));
    return;
  }
}

void EngineCalls::send(std::size_t size, Rank to, Tag tag) {
  Content content;
  log_.traffic.send(size);
  world_.send(outgoing(size, tag, content), to, tag);
}

void EngineCalls::receive(std::size_t size, Rank from, Tag tag) {
  Content content;
  check_received(world_.recv(incoming(size, content), from, tag), size, content);
}

void EngineCalls::exchange(std::size_t size, Rank to, Tag tag, std::size_t into, Rank from,
                           Tag from_tag) {
  Content sent;
  Content content;
  log_.traffic.send(size);
  check_received(
      world_.sendrecv(outgoing(size, tag, sent), to, tag, incoming(into, content), from, from_tag),
      into, content);
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
  Content content = {};
  if (is_real(size) && rank_ == root) fill(root, collective_tag, size, content.data());
  world_.bcast(incoming(size, content), root);
  Status status;
  status.source = root;
  status.tag = collective_tag;
  status.size = size;
  check_received(status, size, content);
}

void EngineCalls::reduce(std::size_t size, Rank root) {
  log_.traffic.call(Collective::reduce, size);
  if (!is_real_sum(size)) {
    world_.reduce(ConstBuffer::phantom(size), Buffer::phantom(size), element_of(size),
                  Reduction::sum, root);
    return;
  }
  Content mine;
  Content sums = {};
  fill_doubles(rank_ + 1, size, mine.data());
  world_.reduce({mine.data(), size}, {sums.data(), size}, ElementType::float64, Reduction::sum,
                root);
  if (rank_ == root) check_sums(size, sums, "reduce");
}

void EngineCalls::allreduce(std::size_t size) {
  log_.traffic.call(Collective::allreduce, size);
  if (!is_real_sum(size)) {
    world_.allreduce(ConstBuffer::phantom(size), Buffer::phantom(size), element_of(size),
                     Reduction::sum);
    return;
  }
  Content mine;
  Content sums = {};
  fill_doubles(rank_ + 1, size, mine.data());
  world_.allreduce({mine.data(), size}, {sums.data(), size}, ElementType::float64, Reduction::sum);
  check_sums(size, sums, "allreduce");
}

void EngineCalls::gather(std::size_t size, Rank root) {
  log_.traffic.call(Collective::gather, size);
  world_.gather(ConstBuffer::phantom(size), Buffer::phantom(size * static_cast<std::size_t>(size_)),
                root);
}

void EngineCalls::scatter(std::size_t size, Rank root) {
  const std::size_t all = size * static_cast<std::size_t>(size_);
  log_.traffic.call(Collective::scatter, rank_ == root ? all : 0);
  world_.scatter(ConstBuffer::phantom(all), Buffer::phantom(size), root);
}

void EngineCalls::allgather(std::size_t size) {
  log_.traffic.call(Collective::allgather, size);
  world_.allgather(ConstBuffer::phantom(size),
                   Buffer::phantom(size * static_cast<std::size_t>(size_)));
}

void EngineCalls::alltoall(std::size_t size) {
  const std::size_t all = size * static_cast<std::size_t>(size_);
  log_.traffic.call(Collective::alltoall, all);
  world_.alltoall(ConstBuffer::phantom(all), Buffer::phantom(all));
}

void EngineCalls::gatherv(std::span<const std::size_t> sizes, Rank root) {
  const std::size_t mine = sizes[static_cast<std::size_t>(rank_)];
  log_.traffic.call(Collective::gatherv, mine);
  world_.gatherv(ConstBuffer::phantom(mine), Buffer::phantom(sum_of(sizes)), sizes, root);
}

void EngineCalls::scatterv(std::span<const std::size_t> sizes, Rank root) {
  const std::size_t all = sum_of(sizes);
  log_.traffic.call(Collective::scatterv, rank_ == root ? all : 0);
  world_.scatterv(ConstBuffer::phantom(all), sizes,
                  Buffer::phantom(sizes[static_cast<std::size_t>(rank_)]), root);
}

void EngineCalls::allgatherv(std::span<const std::size_t> sizes) {
  const std::size_t mine = sizes[static_cast<std::size_t>(rank_)];
  log_.traffic.call(Collective::allgatherv, mine);
  world_.allgatherv(ConstBuffer::phantom(mine), Buffer::phantom(sum_of(sizes)), sizes);
}

void EngineCalls::alltoallv(std::span<const std::size_t> send_sizes,
                            std::span<const std::size_t> receive_sizes) {
  const std::size_t all = sum_of(send_sizes);
  log_.traffic.call(Collective::alltoallv, all);
  world_.alltoallv(ConstBuffer::phantom(all), send_sizes, Buffer::phantom(sum_of(receive_sizes)),
                   receive_sizes);
}

void EngineCalls::reduce_scatter(std::span<const std::size_t> sizes) {
  const std::size_t all = sum_of(sizes);
  log_.traffic.call(Collective::reduce_scatter, all);
  ElementType type = ElementType::float64;
  for (const std::size_t size : sizes) {
    if (size_of(element_of(size)) < size_of(type)) type = element_of(size);
  }
  world_.reduce_scatter(ConstBuffer::phantom(all),
                        Buffer::phantom(sizes[static_cast<std::size_t>(rank_)]), sizes, type,
                        Reduction::sum);
}

void EngineCalls::scan(std::size_t size) {
  log_.traffic.call(Collective::scan, size);
  world_.scan(ConstBuffer::phantom(size), Buffer::phantom(size), element_of(size), Reduction::sum);
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
