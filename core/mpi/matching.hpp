// Which receive gets which message, in MPI's order: a message meets the oldest receive that accepts
// it, a receive the oldest message that it accepts (MPI 4.0, section 3.5).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "core/mpi/list.hpp"
#include "core/mpi/operation.hpp"
#include "core/mpi/pool.hpp"

namespace ferry::mpi {

/// A message that came before its receive.
struct Unexpected {
  Links<Unexpected> match_links;  ///< of those with the same hash
  Links<Unexpected> order_links;  ///< of all of its context
  std::uint32_t source = 0;       ///< in the job
  Tag tag = 0;
  Operation* own = nullptr;  ///< a send to oneself, whose memory is still in place
  PacketHeader header;
  KeptBody<48> body;  ///< of a real eager one
};

/// What a receive asks for, or what a message is.
struct Envelope {
  std::uint32_t source = any_rank;
  Tag tag = any_tag;
  [[nodiscard]] bool is_exact() const { return source != any_rank && tag != any_tag; }
  /// As a receive's, of a message's.
  [[nodiscard]] bool accepts(Envelope message) const {
    return (source == any_rank || source == message.source) &&
           (tag == any_tag || tag == message.tag);
  }
};
template <class T>
[[nodiscard]] Envelope envelope_of(const T& element) {
  return {element.source, element.tag};
}

/// Elements by exact envelope; those of one envelope in order.
template <class T>
class EnvelopeTable {
 public:
  EnvelopeTable() = default;
  EnvelopeTable(const EnvelopeTable&) = delete;
  EnvelopeTable& operator=(const EnvelopeTable&) = delete;

  void insert(T& element) {
    if (count_++ == 0) {
      only_ = &element;
      return;
    }
    insert_beside(element);
  }
  void remove(T& element) {
    --count_;
    if (only_ == &element) {
      only_ = nullptr;
    } else {
      bucket(envelope_of(element)).remove(element);
    }
  }
  /// The oldest with just this envelope.
  [[nodiscard]] T* find(Envelope envelope) {
    if (count_ == 0) return nullptr;
    if (only_ != nullptr) {
      return only_->source == envelope.source && only_->tag == envelope.tag ? only_ : nullptr;
    }
    T* element = bucket(envelope).front();
    while (element != nullptr &&
           (element->source != envelope.source || element->tag != envelope.tag)) {
      element = Bucket::next(*element);
    }
    return element;
  }
  [[nodiscard]] std::size_t count() const { return count_; }
  /// Where there is one alone.
  [[nodiscard]] const T* only() const { return only_; }
  /// In no order that means anything.
  template <class Visit>
  void for_each(Visit&& visit) const {
    if (only_ != nullptr) visit(*only_);
    for (const Bucket& each : buckets()) {
      for (T* element = each.front(); element != nullptr; element = Bucket::next(*element)) {
        visit(*element);
      }
    }
  }

 private:
  using Bucket = List<T, &T::match_links>;

  Bucket& bucket(Envelope envelope) {
    std::uint32_t hash = envelope.source * 0x9e37'79b1U;
    hash ^= static_cast<std::uint32_t>(envelope.tag) * 0x85eb'ca77U;
    return buckets_[(hash ^ hash >> 15U) & last_];
  }
  [[nodiscard]] std::span<Bucket> buckets() const {
    return {buckets_.get(), buckets_ == nullptr ? 0 : std::size_t{last_} + 1};
  }
  [[gnu::noinline]] void insert_beside(T& element) {
    if (count_ > 2 * buckets().size()) grow();
    if (only_ != nullptr) bucket(envelope_of(*only_)).push_back(*only_);
    only_ = nullptr;
    bucket(envelope_of(element)).push_back(element);
  }
  void grow() {
    const std::size_t count = buckets_ == nullptr ? 2 : 4 * buckets().size();
    const std::span<Bucket> old = buckets();
    auto owned = std::exchange(buckets_, std::make_unique<Bucket[]>(count));
    last_ = static_cast<std::uint32_t>(count - 1);
    for (Bucket& each : old) {
      while (T* element = each.pop_front()) bucket(envelope_of(*element)).push_back(*element);
    }
  }

  T* only_ = nullptr;  ///< came when there was no other: it needs no table, as nearly always
  std::uint32_t count_ = 0;
  std::uint32_t last_ = 0;             ///< of the buckets
  std::unique_ptr<Bucket[]> buckets_;  ///< a power of two; null: there was always one at most
};

/// The two queues of one context.
class alignas(64) Matching {
 public:
  /// The receive waits for a message.
  void post(Operation& receive) {
    receive.stamp = ++stamps_;
    if (envelope_of(receive).is_exact()) {
      exact_.insert(receive);
    } else {
      wildcards_.push_back(receive);
    }
  }
  /// With an exact envelope, if no other has one.
  [[nodiscard]] const Operation* only_posted() const { return exact_.only(); }
  void withdraw(Operation& receive) {
    if (envelope_of(receive).is_exact()) {
      exact_.remove(receive);
    } else {
      wildcards_.remove(receive);
    }
  }
  /// The receive that gets a message which comes now, no longer posted; null: none does.
  [[nodiscard]] Operation* match_message(Envelope message) {
    Operation* match = exact_.find(message);
    if (!wildcards_.empty()) match = older_wildcard(message, match);
    if (match != nullptr) withdraw(*match);
    return match;
  }

  void keep(Unexpected& message) {
    unexpected_.insert(message);
    order_.push_back(message);
  }
  /// The message that a receive would get now, still kept; null: none.
  [[nodiscard]] Unexpected* find_message(Envelope wanted) {
    if (wanted.is_exact()) return unexpected_.find(wanted);
    Unexpected* message = order_.front();
    while (message != nullptr && !wanted.accepts(envelope_of(*message))) {
      message = Order::next(*message);
    }
    return message;
  }
  void remove(Unexpected& message) {
    unexpected_.remove(message);
    order_.remove(message);
  }

  /// Oldest first.
  [[nodiscard]] Unexpected* first_unexpected() const { return order_.front(); }
  [[nodiscard]] static Unexpected* next_unexpected(const Unexpected& message) {
    return Order::next(message);
  }
  [[nodiscard]] std::size_t unexpected_count() const { return unexpected_.count(); }

 private:
  using Order = List<Unexpected, &Unexpected::order_links>;
  using Wildcards = List<Operation, &Operation::match_links>;

  /// The oldest wildcard that accepts the message, or `exact` if that is older.
  Operation* older_wildcard(Envelope message, Operation* exact) const {
    for (Operation* wildcard = wildcards_.front(); wildcard != nullptr;
         wildcard = Wildcards::next(*wildcard)) {
      if (exact != nullptr && exact->stamp < wildcard->stamp) return exact;
      if (envelope_of(*wildcard).accepts(message)) return wildcard;
    }
    return exact;
  }

  // In the order of use: one cache line, with the front of `wildcards_`.
  EnvelopeTable<Operation> exact_;
  EnvelopeTable<Unexpected> unexpected_;
  std::uint64_t stamps_ = 0;
  Wildcards wildcards_;
  Order order_;
};

}  // namespace ferry::mpi
