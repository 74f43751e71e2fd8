// Intrusive lists: what is queued carries the links, so that queueing allocates nothing.
#pragma once

#include <cstddef>

namespace ferry::mpi {

template <class T>
struct Links {
  T* previous = nullptr;
  T* next = nullptr;
};

/// Doubly linked, in order of appending. Owns nothing. An element is in at most one list for each
/// of its `Links`.
template <class T, Links<T> T::*links>
class List {
 public:
  [[nodiscard]] bool empty() const { return first_ == nullptr; }
  [[nodiscard]] T* front() const { return first_; }
  [[nodiscard]] T* back() const { return last_; }
  [[nodiscard]] static T* next(const T& element) { return (element.*links).next; }

  /// Goes over all of them.
  [[nodiscard]] std::size_t count() const {
    std::size_t count = 0;
    for (const T* one = first_; one != nullptr; one = next(*one)) ++count;
    return count;
  }

  void push_back(T& element) { insert_after(last_, element); }
  /// At the front if `before` is null.
  void insert_after(T* before, T& element) {
    T* after = before == nullptr ? first_ : (before->*links).next;
    (element.*links).previous = before;
    (element.*links).next = after;
    (before == nullptr ? first_ : (before->*links).next) = &element;
    (after == nullptr ? last_ : (after->*links).previous) = &element;
  }
  void remove(T& element) {
    T* before = (element.*links).previous;
    T* after = (element.*links).next;
    (before == nullptr ? first_ : (before->*links).next) = after;
    (after == nullptr ? last_ : (after->*links).previous) = before;
    element.*links = {};
  }
  /// Null if there is none.
  T* pop_front() {
    T* element = first_;
    if (element != nullptr) remove(*element);
    return element;
  }

 private:
  T* first_ = nullptr;
  T* last_ = nullptr;
};

}  // namespace ferry::mpi
