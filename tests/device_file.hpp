// A file that plays the memory of an IVShmem device.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "core/units/units.hpp"
#include "tests/scratch_folder.hpp"

namespace ferry {

/// Zeros at first; goes with its owner.
class DeviceFile {
 public:
  explicit DeviceFile(Bytes size) {
    std::ofstream(name_).close();
    std::filesystem::resize_file(name_, size.count());
  }
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  ScratchFolder scratch_;
  const std::string name_ = scratch_.path() / "device";
};

}  // namespace ferry
