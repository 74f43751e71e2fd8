// A world that broke: nothing that a scenario or a plan could have provided for.
#pragma once

#include <stdexcept>

namespace ferry {

/// The world cannot go on: its tasks wait for each other, or its engine failed. The message is for
/// the user and says what was being waited for.
class WorldError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace ferry
