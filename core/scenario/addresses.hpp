// The addresses in a cluster file: URIs and PCI functions.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "core/scenario/problem.hpp"

namespace ferry {

/// What is wrong with an address, and what would be right.
struct AddressError {
  Problem problem = Problem::bad_uri;
  std::string message;
};

/// A libvirt URI of the QEMU driver: `qemu:///system`, `qemu+tls://HOST/system`.
tl::expected<void, AddressError> check_libvirt_uri(std::string_view text);
/// `SCHEME://HOST`, `SCHEME://HOST:PORT` or `SCHEME://[IPV6]:PORT` of one of the schemes;
/// `unix:///SOCKET` if that is among them.
tl::expected<void, AddressError> check_migration_uri(std::string_view text,
                                                     std::span<const std::string_view> schemes);

/// The functions that `0000:03:00.[1-7]` names: DOMAIN:BUS:DEVICE.FUNCTION in hexadecimal, device
/// and function may be lists of numbers and ranges in brackets. In the order of the text.
tl::expected<std::vector<std::string>, AddressError> expand_pci(std::string_view text);

}  // namespace ferry
