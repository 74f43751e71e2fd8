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
  [[nodiscard]] Operation& take() {
    if (free_.empty()) grow();
    Operation& operation = at(free_.back());
    free_.pop_back();
    return operation;
  }
  void give_back(Operation& operation);
  /// Null if what it named is over.
  [[nodiscard]] Operation* find(RequestName name) {
    if (name.index >= made_) return nullptr;
    Operation& operation = at(name.index);
    return operation.generation == name.generation ? &operation : nullptr;
  }
  [[nodiscard]] std::size_t in_use() const { return made_ - free_.size(); }
  /// All places that were ever used, over or not.
  [[nodiscard]] std::uint32_t places() const { return made_; }
  [[nodiscard]] Operation& at(std::uint32_t index) { return chunks_[index / chunk][index % chunk]; }
  [[nodiscard]] const Operation& at(std::uint32_t index) const {
    return chunks_[index / chunk][index % chunk];
  }

 private:
  static constexpr std::uint32_t chunk = 16;
  void grow();

  std::vector<std::unique_ptr<Operation[]>> chunks_;
  std::vector<std::uint32_t> free_;
  std::uint32_t made_ = 0;
};

}  // namespace ferry::mpi
