// Memory that other ranks may read without asking: records of it lie in registered memory
// themselves. A reader reads the memory and then the record, in this order: if the record still has
// the key, the memory was exposed while it was read.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/ports/fabric.hpp"
#include "hw_backend/verbs/frame.hpp"
#include "hw_backend/verbs/registration_cache.hpp"

namespace ferry::verbs {

struct alignas(64) ExposureRecord {
  std::uint64_t key = 0;   ///< zero: nothing is exposed here
  std::uint64_t size = 0;  ///< of all pieces
  std::uint32_t pieces = 0;
  std::uint32_t phantom = 0;
  MemoryDescription memory;  ///< of one piece; of more: of an array of descriptions
};
static_assert(sizeof(ExposureRecord) == 64);

inline constexpr std::uint32_t most_exposures = 8192;  ///< of an endpoint, at a time
[[nodiscard]] constexpr std::uint32_t record_of(MemoryKey key) {
  return static_cast<std::uint32_t>(key.value) & (most_exposures - 1);
}

class ExposureTable {
 public:
  ExposureTable();
  ~ExposureTable();
  ExposureTable(const ExposureTable&) = delete;
  ExposureTable& operator=(const ExposureTable&) = delete;

  /// The device is open: memory is registered by `cache`, that of the table and what is exposed.
  /// Of this, what cannot be registered can't be read from now on, and is told of by `refused`.
  [[nodiscard]] Result<> open(RegistrationCache& cache, std::uint32_t device_generation);
  /// Nothing is registered any more; what is exposed stays so.
  void close();
  /// Where others find it. While it is open.
  [[nodiscard]] MemoryDescription description() const;

  /// `refused` if it cannot be registered: nothing is exposed.
  [[nodiscard]] Result<MemoryKey> expose(std::span<const ConstSlice> memory);
  /// Of a key of `expose`, once.
  void withdraw(MemoryKey key);
  /// If `key` is of one piece that is exposed and registered now.
  [[nodiscard]] const ExposureRecord* single_piece(std::uint64_t key) const;
  /// Why memory that is exposed could not be registered when the device was opened last.
  [[nodiscard]] const std::vector<std::string>& refused() const { return refused_; }
  /// The memory behind a key; null: nothing.
  [[nodiscard]] const std::vector<ConstSlice>* find(std::uint64_t key) const;

 private:
  struct Exposure;
  [[nodiscard]] Result<> register_memory(Exposure& exposure, ExposureRecord& record);
  void release(Exposure& exposure);

  struct FreeMemory {
    void operator()(ExposureRecord* records) const;
  };
  std::unique_ptr<ExposureRecord[], FreeMemory> records_;
  std::vector<std::unique_ptr<Exposure>> exposures_;
  std::vector<std::uint32_t> free_;
  std::uint64_t generation_ = 0;
  RegistrationCache* cache_ = nullptr;
  std::uint32_t device_generation_ = 0;
  std::optional<RegistrationCache::Use> table_use_;
  std::vector<std::string> refused_;
};

}  // namespace ferry::verbs
