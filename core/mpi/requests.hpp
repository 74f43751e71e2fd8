// The operations of a rank by number.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/mpi/operation.hpp"

namespace ferry::mpi {

/// Operations at places that stay; a place that is used again has another generation.
class Requests {
 public:
  [[nodiscard]] Operation& take(Operation::Kind kind, Operation::State state) {
    if (free_ == nullptr) grow();
    Operation& operation = *free_;
    free_ = operation.match_links.next;
    ++in_use_;
    operation.begin(kind, state);
    return operation;
  }
  void give_back(Operation& operation) {
    if (++operation.generation == 0) operation.generation = 1;
    operation.run = nullptr;
    operation.state = Operation::State::complete;
    operation.match_links.next = free_;
    free_ = &operation;
    --in_use_;
  }
  /// Null if what it named is over.
  [[nodiscard]] Operation* find(RequestName name) {
    if (name.index >= made_) return nullptr;
    Operation& operation = at(name.index);
    return operation.generation == name.generation ? &operation : nullptr;
  }
  /// The place of the next one that is taken; null: not known.
  [[nodiscard]] const Operation* next() const { return free_; }
  [[nodiscard]] std::size_t in_use() const { return in_use_; }
  /// All places that were ever used, over or not.
  [[nodiscard]] std::uint32_t places() const { return made_; }
  [[nodiscard]] Operation& at(std::uint32_t index) { return chunks_[index / chunk][index % chunk]; }
  [[nodiscard]] const Operation& at(std::uint32_t index) const {
    return chunks_[index / chunk][index % chunk];
  }

 private:
  static constexpr std::uint32_t chunk = 8;
  void grow();

  Operation* free_ = nullptr;  ///< the one that was given back last, and so on by `match_links`
  std::vector<std::unique_ptr<Operation[]>> chunks_;
  std::uint32_t made_ = 0;
  std::uint32_t in_use_ = 0;
};

}  // namespace ferry::mpi
