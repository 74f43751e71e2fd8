// A quantity that is either one value or drawn for each VM (or rank) from a named random stream.
#pragma once

#include <string_view>
#include <variant>
#include <vector>

#include "core/ports/randomness.hpp"
#include "core/units/units.hpp"

namespace ferry {

template <class Quantity>
struct Varying {
  struct Uniform {
    Quantity low, high;  ///< both inclusive
  };
  struct Choice {
    std::vector<Quantity> values;  ///< equally likely
  };
  struct LogNormal {
    Quantity median;
    double sigma = 0;  ///< of the logarithm
  };
  std::variant<Quantity, Uniform, Choice, LogNormal> law = Quantity{};

  [[nodiscard]] bool is_random() const { return law.index() != 0; }
};

/// One draw; a fixed quantity takes nothing from the stream.
Bytes draw(const Varying<Bytes>& varying, RandomStream& stream);
Duration draw(const Varying<Duration>& varying, RandomStream& stream);
Bandwidth draw(const Varying<Bandwidth>& varying, RandomStream& stream);

}  // namespace ferry
