// The schedules of one rank of a communicator, kept by what they were built for.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/mpi/collectives/algorithms.hpp"

namespace ferry::mpi {

/// Programs call few collectives with the same sizes again and again: finding one of them costs a
/// comparison and no memory. The one that was not used for longest goes first.
class ScheduleCache {
 public:
  static constexpr std::size_t most_schedules = 16;
  /// Of all that are kept together, or of a single longer one: about 1 MiB.
  static constexpr std::size_t most_steps = 16'384;

  /// Null if there is none. `rank` and `ranks` are always the same. Stays until the
  /// next call but `find`.
  [[nodiscard]] const std::shared_ptr<const Schedule>* find(const CollectiveShape& shape);
  /// A schedule to build the one of `shape` in, which is not there; it is kept from now on.
  [[nodiscard]] std::shared_ptr<Schedule> make(const CollectiveShape& shape);
  /// What the user of a schedule that is kept keeps with it, at first null. Null: it is not kept.
  [[nodiscard]] std::shared_ptr<void>* attachment(const Schedule& schedule);
  /// Makes room after what `make` gave has been built. Who uses a schedule may go on.
  void trim();
  void clear();
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  [[nodiscard]] std::size_t steps() const;

 private:
  struct alignas(64) Entry {
    // In the order of use: finding one of a single size touches one cache line.
    Collective kind = Collective::none;
    bool has_sizes = false;
    Rank root = 0;
    std::uint32_t element = 1;
    std::size_t size = 0;
    std::shared_ptr<const Schedule> schedule;
    std::shared_ptr<void> attachment;
    std::uint64_t used = 0;
    std::vector<std::size_t> sizes;
    std::vector<std::size_t> receive_sizes;
    [[nodiscard]] bool is_for(const CollectiveShape& shape) const;
  };
  [[nodiscard]] std::size_t oldest() const;

  std::vector<Entry> entries_;
  std::size_t last_ = 0;  ///< entry that was found last
  std::uint64_t uses_ = 0;
};

}  // namespace ferry::mpi
