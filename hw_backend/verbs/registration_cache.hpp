// Memory that the device may access. Registering costs more than copying some pages, so what is not
// used any more stays registered for a while.
//
// A program that unmaps memory and maps other pages at the same place would be read from the old
// ones: `forget` is for who does so by hand. Memory of malloc stays mapped while an endpoint keeps
// registrations, see `keep_freed_memory_mapped`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "core/ports/result.hpp"
#include "core/units/units.hpp"

namespace ferry::verbs {

/// Memory is aligned and registered by it.
inline constexpr std::size_t page_bytes = 4096;

/// What the device makes of a piece of memory.
struct Registration {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  std::uint32_t local_key = 0;
  std::uint32_t remote_key = 0;
  bool writable = false;  ///< by the device
  void* handle = nullptr;
};

class Registrar {
 public:
  virtual ~Registrar() = default;
  /// `refused`: why, and what helps.
  [[nodiscard]] virtual Result<Registration> add(std::uintptr_t begin, std::uintptr_t end,
                                                 bool writable) = 0;
  virtual void remove(const Registration& registration) = 0;
};

class RegistrationCache {
 public:
  /// `kept`: bytes of registrations that are not in use; zero: none are kept.
  RegistrationCache(Registrar& registrar, Bytes kept) : registrar_(registrar), kept_(kept) {}
  ~RegistrationCache() { clear(); }
  RegistrationCache(const RegistrationCache&) = delete;
  RegistrationCache& operator=(const RegistrationCache&) = delete;

  struct Entry {
    Registration registration;
    std::uint32_t users = 0;
    bool stale = false;  ///< not for new users
  };
  using Use = std::list<Entry>::iterator;

  /// Whole pages around it. What is not in use is removed if nothing else makes room.
  [[nodiscard]] Result<Use> use(const void* data, std::size_t size, bool writable);
  void release(Use use);
  void forget(const void* data, std::size_t size);
  /// Nothing is in use, or the device goes anyway.
  void clear();

  [[nodiscard]] Bytes unused() const { return Bytes(unused_bytes_); }
  [[nodiscard]] std::uint64_t made() const { return made_; }

 private:
  [[nodiscard]] static std::size_t size_of(const Entry& entry);
  void remove(Use use);
  bool remove_oldest_unused();

  Registrar& registrar_;
  Bytes kept_;
  std::list<Entry> entries_;
  /// By their beginning; several may begin there.
  std::multimap<std::uintptr_t, Use> by_begin_;
  std::size_t longest_ = 0;
  std::list<Use> unused_;  ///< the oldest first
  std::map<const Entry*, std::list<Use>::iterator> place_in_unused_;
  std::size_t unused_bytes_ = 0;
  std::uint64_t made_ = 0;
};

/// malloc gives nothing back to the system from now on. Where it is not glibc's, nothing happens.
void keep_freed_memory_mapped();

}  // namespace ferry::verbs
