// What a network interface says of its virtual functions, where no file of sysfs does: the port
// that tests replace, and the kernel's rtnetlink behind it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/ports/result.hpp"

namespace ferry::host {

/// What becomes of a function's link: always up or down, or as the adapter's own.
enum class Policy : std::uint8_t { follow, up, down };

struct LinkFunction {
  std::uint32_t index = 0;
  std::optional<std::uint64_t> node_guid = std::nullopt;
  std::optional<std::uint64_t> port_guid = std::nullopt;
  std::optional<Policy> policy = std::nullopt;
  bool operator==(const LinkFunction&) const = default;
};

class Links {
 public:
  virtual ~Links() = default;
  /// Functions of an interface; none if it has none. Failure with the kernel's reason.
  [[nodiscard]] virtual Result<std::vector<LinkFunction>> functions_of(
      const std::string& interface) = 0;
  /// Changes what `change` has of function `change.index`, one after the other.
  [[nodiscard]] virtual Result<> change(const std::string& interface,
                                        const LinkFunction& change) = 0;
};

/// The kernel's. Blocks for as long as the driver takes, 10 s at most.
class KernelLinks : public Links {
 public:
  [[nodiscard]] Result<std::vector<LinkFunction>> functions_of(
      const std::string& interface) override;
  [[nodiscard]] Result<> change(const std::string& interface, const LinkFunction& change) override;
};

/// Of a tree that is a picture: it has none.
class NoLinks : public Links {
 public:
  [[nodiscard]] Result<std::vector<LinkFunction>> functions_of(const std::string&) override {
    return std::vector<LinkFunction>();
  }
  [[nodiscard]] Result<> change(const std::string&, const LinkFunction&) override {
    return failure(FailureKind::refused, "a picture of a system has no kernel to ask");
  }
};

}  // namespace ferry::host
