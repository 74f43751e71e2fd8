// Times of operations that vary by chance.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "core/ports/randomness.hpp"
#include "core/ports/types.hpp"
#include "core/units/units.hpp"

namespace ferry {

/// What a guest's operations are. Each kind is drawn for itself: another strategy, which does more
/// or less of one, changes no other.
enum class OperationKind : std::uint8_t {
  set_status,
  detach_vf,
  remove_ivshmem,
  prepare,
  finish,
  clean_up,
  attach_vf,
  add_ivshmem,
  of_guest,  ///< hearing of a request, closing channels, opening the device
};

/// Lognormal around the constants of the platform, its `hypervisor.variation` the standard
/// deviation of the logarithm; from the seed and the names of the guests.
class Variation {
 public:
  Variation(Ratio variation, std::uint64_t seed) : variation_(variation.value()), seed_(seed) {}

  /// The next guest; in the order of their ids.
  void add(const std::string& guest) {
    if (!any()) return;
    for (const char* const kind : names) draws_.emplace_back(seed_, guest + "/" + kind);
  }
  [[nodiscard]] bool any() const { return variation_ > 0; }
  /// What an operation takes this time.
  [[nodiscard]] Duration drawn(VmId vm, OperationKind kind, Duration median) {
    if (!any()) return median;
    RandomStream& draws = draws_[vm.index * names.size() + static_cast<std::size_t>(kind)];
    return median * std::exp(variation_ * draws.next_normal());
  }

 private:
  static constexpr std::array<const char*, 9> names = {
      "set_status", "detach_vf", "remove_ivshmem", "prepare", "finish",
      "clean_up",   "attach_vf", "add_ivshmem",    "of_guest"};

  double variation_;
  std::uint64_t seed_;
  std::vector<RandomStream> draws_;  // by guest and kind; none if operations do not vary
};

}  // namespace ferry
