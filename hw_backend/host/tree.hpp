// Files of a system, such as sysfs and procfs, below a folder that stands for its root.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/ports/result.hpp"

namespace ferry::host {

class Tree {
 public:
  explicit Tree(std::filesystem::path root) : root_(std::move(root)) {}

  /// Whether this is the running system, not a picture of one.
  [[nodiscard]] bool is_system() const { return root_ == "/"; }
  /// `path` has no slash in front.
  [[nodiscard]] std::filesystem::path at(const std::filesystem::path& path) const {
    return root_ / path;
  }
  [[nodiscard]] bool has(const std::filesystem::path& path) const;

  /// The first line, without what is blank at its end. Failure: "PATH is not there", or cannot be
  /// read and why.
  [[nodiscard]] Result<std::string> line(const std::filesystem::path& path) const;
  /// The same; empty on failure.
  [[nodiscard]] std::string line_or_empty(const std::filesystem::path& path) const;
  /// All of it, 16 MiB at most.
  [[nodiscard]] Result<std::string> text(const std::filesystem::path& path) const;
  /// Decimal, or hexadecimal with 0x. Failure also if it is no number: "PATH says 'x', ...".
  [[nodiscard]] Result<std::int64_t> number(const std::filesystem::path& path) const;
  /// Names, in natural order (2 before 10); none if it cannot be read.
  [[nodiscard]] std::vector<std::string> names(const std::filesystem::path& folder) const;
  /// Name of what a symbolic link leads to: of `driver` that of the driver. Empty: no link.
  [[nodiscard]] std::string name_behind(const std::filesystem::path& link) const;
  /// Replaces the content of a file that is there, in one write as sysfs wants it.
  [[nodiscard]] Result<> write(const std::filesystem::path& path, std::string_view content) const;

 private:
  std::filesystem::path root_;
};

/// Whether it is as 0000:03:00.1.
[[nodiscard]] bool is_pci_address(std::string_view text);

}  // namespace ferry::host
