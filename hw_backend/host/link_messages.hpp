// The bytes that rtnetlink wants and gives (rtnetlink(7), linux/if_link.h). Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "hw_backend/host/links.hpp"

namespace ferry::host {

/// Asks for one interface with its functions.
[[nodiscard]] std::vector<std::byte> link_question(const std::string& interface,
                                                   std::uint32_t sequence);
/// One for each thing that `change` has: a driver may know one and not the other.
[[nodiscard]] std::vector<std::vector<std::byte>> link_changes(std::uint32_t interface_index,
                                                               const LinkFunction& change,
                                                               std::uint32_t first_sequence);

struct LinkAnswer {
  bool complete = false;  ///< it is the whole answer
  int error = 0;          ///< the kernel's errno
  std::uint32_t interface_index = 0;
  std::vector<LinkFunction> functions;
};
/// Of what a datagram holds, those messages that answer `sequence`. Whatever the bytes are, it
/// reads none beyond them.
[[nodiscard]] LinkAnswer read_link_answer(std::span<const std::byte> datagram,
                                          std::uint32_t sequence);

}  // namespace ferry::host
