#include "hw_backend/verbs/exposures.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

#include "core/units/check.hpp"

namespace ferry::verbs {
namespace {

constexpr std::size_t table_bytes = most_exposures * sizeof(ExposureRecord);

/// A device reads it while it changes: the key goes first and comes last.
void set_key(ExposureRecord& record, std::uint64_t key) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  std::atomic_ref(record.key).store(key, std::memory_order_seq_cst);
}

}  // namespace

struct ExposureTable::Exposure {
  std::uint64_t key = 0;
  std::vector<ConstSlice> memory;
  std::vector<RegistrationCache::Use> uses;
  std::vector<MemoryDescription> list;  ///< of several pieces
};

void ExposureTable::FreeMemory::operator()(ExposureRecord* records) const { std::free(records); }

ExposureTable::ExposureTable()
    : records_(static_cast<ExposureRecord*>(std::aligned_alloc(page_bytes, table_bytes))) {
  check(records_ != nullptr, "there is memory for the table of exposed memory");
  for (std::uint32_t i = 0; i < most_exposures; ++i) new (&records_[i]) ExposureRecord();
}
ExposureTable::~ExposureTable() { close(); }

Result<> ExposureTable::open(RegistrationCache& cache, std::uint32_t device_generation) {
  Result<RegistrationCache::Use> use = cache.use(records_.get(), table_bytes, false);
  if (!use) return tl::unexpected(use.error());
  table_use_ = *use;
  cache_ = &cache;
  device_generation_ = device_generation;
  refused_.clear();
  for (const auto& exposure : exposures_) {
    if (exposure->key == 0) continue;
    ExposureRecord& record = records_[record_of({exposure->key})];
    if (const Result<> made = register_memory(*exposure, record); !made) {
      refused_.push_back(made.error().reason);
    } else {
      set_key(record, exposure->key);
    }
  }
  return {};
}

void ExposureTable::close() {
  if (cache_ == nullptr) return;
  for (const auto& exposure : exposures_) {
    if (exposure->key == 0) continue;
    set_key(records_[record_of({exposure->key})], 0);
    release(*exposure);
  }
  cache_->release(*table_use_);
  table_use_.reset();
  cache_ = nullptr;
}

MemoryDescription ExposureTable::description() const {
  check(cache_ != nullptr, "the table is asked for while the device is open");
  return {.address = reinterpret_cast<std::uintptr_t>(records_.get()),
          .size = table_bytes,
          .key = (*table_use_)->registration.remote_key,
          .device_generation = device_generation_};
}

Result<> ExposureTable::register_memory(Exposure& exposure, ExposureRecord& record) {
  const auto add = [&](const void* data, std::size_t size) -> Result<MemoryDescription> {
    const Result<RegistrationCache::Use> use = cache_->use(data, size, false);
    if (!use) return tl::unexpected(use.error());
    exposure.uses.push_back(*use);
    return MemoryDescription{.address = reinterpret_cast<std::uintptr_t>(data),
                             .size = size,
                             .key = (*use)->registration.remote_key,
                             .device_generation = device_generation_};
  };
  exposure.list.clear();
  record.size = 0;
  record.phantom = 0;
  record.memory = {};
  for (const ConstSlice& piece : exposure.memory) {
    record.size += piece.size;
    if (piece.size == 0) continue;
    if (piece.data == nullptr) {
      record.phantom = 1;
      continue;
    }
    const Result<MemoryDescription> made = add(piece.data, piece.size);
    if (!made) {
      release(exposure);
      return tl::unexpected(made.error());
    }
    exposure.list.push_back(*made);
  }
  record.pieces = static_cast<std::uint32_t>(exposure.list.size());
  if (record.pieces == 1) record.memory = exposure.list.front();
  if (record.pieces > 1) {
    const Result<MemoryDescription> made =
        add(exposure.list.data(), exposure.list.size() * sizeof(MemoryDescription));
    if (!made) {
      release(exposure);
      return tl::unexpected(made.error());
    }
    record.memory = *made;
  }
  return {};
}

void ExposureTable::release(Exposure& exposure) {
  for (const RegistrationCache::Use use : exposure.uses) cache_->release(use);
  exposure.uses.clear();
}

Result<MemoryKey> ExposureTable::expose(std::span<const ConstSlice> memory) {
  std::uint32_t index = 0;
  if (free_.empty()) {
    index = static_cast<std::uint32_t>(exposures_.size());
    check(index < most_exposures, "an endpoint exposes at most 8192 pieces of memory at a time");
    exposures_.push_back(std::make_unique<Exposure>());
  } else {
    index = free_.back();
    free_.pop_back();
  }
  Exposure& exposure = *exposures_[index];
  exposure.memory.assign(memory.begin(), memory.end());
  if (cache_ != nullptr) {
    if (const Result<> made = register_memory(exposure, records_[index]); !made) {
      free_.push_back(index);
      return tl::unexpected(made.error());
    }
  }
  exposure.key = ++generation_ * most_exposures + index;
  if (cache_ != nullptr) set_key(records_[index], exposure.key);
  return MemoryKey{exposure.key};
}

void ExposureTable::withdraw(MemoryKey key) {
  const std::uint32_t index = record_of(key);
  check(index < exposures_.size() && exposures_[index]->key == key.value && key.value != 0,
        "memory is withdrawn once");
  Exposure& exposure = *exposures_[index];
  exposure.key = 0;
  set_key(records_[index], 0);
  if (cache_ != nullptr) release(exposure);
  free_.push_back(index);
}

const ExposureRecord* ExposureTable::single_piece(std::uint64_t key) const {
  const ExposureRecord& record = records_[record_of({key})];
  if (key == 0 || cache_ == nullptr || record.key != key) return nullptr;
  return record.pieces == 1 && record.phantom == 0 ? &record : nullptr;
}

const std::vector<ConstSlice>* ExposureTable::find(std::uint64_t key) const {
  const std::uint32_t index = record_of({key});
  if (key == 0 || index >= exposures_.size() || exposures_[index]->key != key) return nullptr;
  return &exposures_[index]->memory;
}

}  // namespace ferry::verbs
