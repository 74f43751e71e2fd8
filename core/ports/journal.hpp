// The controller's write-ahead log.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace ferry {

/// A record could not be written. Without a journal nothing more may be begun.
class JournalError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Journal {
 public:
  virtual ~Journal() = default;
  /// One line without line breaks. Throws JournalError if it cannot be written; then no later one
  /// can be either.
  virtual void append(std::string_view record) = 0;
  /// Returns when everything appended would survive a crash of the controller. Throws JournalError.
  virtual void sync() = 0;
};

}  // namespace ferry
