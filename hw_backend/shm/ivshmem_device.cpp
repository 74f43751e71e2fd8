#include "hw_backend/shm/ivshmem_device.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <vector>

namespace ferry::shm {
namespace {

std::optional<unsigned> number_in(const std::filesystem::path& file) {
  std::ifstream stream(file);
  unsigned number = 0;
  if (!(stream >> std::hex >> number)) return std::nullopt;
  return number;
}

}  // namespace

Result<std::string> find_ivshmem_memory(const std::filesystem::path& devices) {
  std::vector<std::filesystem::path> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(devices, error)) {
    if (number_in(entry.path() / "vendor") == ivshmem_vendor &&
        number_in(entry.path() / "device") == ivshmem_device) {
      found.push_back(entry.path());
    }
  }
  if (found.empty()) return std::string();
  std::sort(found.begin(), found.end());
  if (found.size() > 1) {
    std::string names;
    for (const auto& one : found) names += (names.empty() ? "" : ", ") + one.filename().string();
    return failure(FailureKind::refused,
                   fmt::format("this machine has several IVShmem devices ({}); name the memory of "
                               "one: {}",
                               names, (found.front() / "resource2").string()));
  }
  for (const char* const name : {"resource2_wc", "resource2"}) {
    if (std::filesystem::exists(found.front() / name, error)) {
      return (found.front() / name).string();
    }
  }
  return failure(FailureKind::refused,
                 fmt::format("the IVShmem device {} has no memory (BAR 2) that can be mapped",
                             found.front().filename().string()));
}

}  // namespace ferry::shm
