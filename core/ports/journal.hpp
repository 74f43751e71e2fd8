// The controller's write-ahead log.
#pragma once

#include <string>
#include <string_view>

namespace ferry {

class Journal {
 public:
  virtual ~Journal() = default;
  /// One line without line breaks. Throws std::runtime_error if it cannot be written.
  virtual void append(std::string_view record) = 0;
  /// Returns when everything appended would survive a crash of the controller.
  virtual void sync() = 0;
};

}  // namespace ferry
