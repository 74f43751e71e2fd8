// A file that is open, by its number.
#pragma once

#include <unistd.h>

namespace ferry::host {

class OpenFile {
 public:
  /// Negative: it could not be opened.
  explicit OpenFile(int number) : number_(number) {}
  ~OpenFile() {
    if (number_ >= 0) close(number_);  // which ends its lease, too
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  [[nodiscard]] int number() const { return number_; }

 private:
  int number_;
};

}  // namespace ferry::host
