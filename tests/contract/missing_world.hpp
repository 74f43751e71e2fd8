// In place of a world that is not built: its tests are skipped, with the reason.
#pragma once

#include <string>

#include "tests/contract/worlds.hpp"

namespace ferry {

class MissingWorld final : public WorldUnderTest {
 public:
  /// `why`: which option or library it lacks.
  MissingWorld(std::string name, std::string why) : name_(std::move(name)), why_(std::move(why)) {}
  [[nodiscard]] std::string name() const override { return name_; }
  [[nodiscard]] std::optional<std::string> missing() const override { return why_; }
  void run(const Instance&, const Platform&, const std::function<void(World&)>&) const override {}

 private:
  std::string name_;
  std::string why_;
};

}  // namespace ferry
