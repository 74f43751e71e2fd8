#include "core/scenario/addresses.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <set>

#include "core/scenario/limits.hpp"
#include "core/scenario/report.hpp"

namespace ferry {
namespace {

tl::unexpected<AddressError> bad(Problem problem, std::string message) {
  return tl::unexpected(AddressError{problem, std::move(message)});
}

struct Uri {
  std::string_view scheme;
  std::string_view authority;  ///< between `//` and the next `/`, `?` or `#`
  std::string_view path;       ///< with its `/`, without query
};

std::optional<Uri> split(std::string_view text) {
  const bool printable = std::all_of(text.begin(), text.end(), [](char c) {
    return c > ' ' && c != '\x7f' && c != '"' && c != '<' && c != '>' && c != '\\' && c != '`';
  });
  const std::size_t colon = text.find("://");
  if (!printable || colon == std::string_view::npos || colon == 0) return std::nullopt;
  Uri uri;
  uri.scheme = text.substr(0, colon);
  std::string_view rest = text.substr(colon + 3);
  const std::size_t end = std::min(rest.find_first_of("/?#"), rest.size());
  uri.authority = rest.substr(0, end);
  rest.remove_prefix(end);
  uri.path = rest.substr(0, std::min(rest.find_first_of("?#"), rest.size()));
  return uri;
}

/// HOST, HOST:PORT or [IPV6]:PORT, for a libvirt with USER@ before it: what is wrong, or nothing.
std::string authority_error(std::string_view authority, bool may_have_user) {
  if (const std::size_t at = authority.rfind('@'); may_have_user && at != std::string_view::npos) {
    authority.remove_prefix(at + 1);
  }
  std::string_view host = authority;
  std::string_view port;
  bool has_port = false;
  if (!authority.empty() && authority.front() == '[') {
    const std::size_t close = authority.find(']');
    if (close == std::string_view::npos) return "the bracket of the address is not closed";
    host = authority.substr(1, close - 1);
    const std::string_view behind = authority.substr(close + 1);
    has_port = !behind.empty();
    if (has_port && behind.front() != ':') return "behind the address comes `:PORT` or nothing";
    if (has_port) port = behind.substr(1);
  } else if (const std::size_t colon = authority.find(':'); colon != std::string_view::npos) {
    host = authority.substr(0, colon);
    port = authority.substr(colon + 1);
    has_port = true;
  }
  if (host.empty()) return "it names no host";
  if (!has_port) return {};
  std::uint32_t number = 0;
  const auto result = std::from_chars(port.data(), port.data() + port.size(), number);
  if (result.ec != std::errc() || result.ptr != port.data() + port.size() || number == 0 ||
      number > 65535) {
    return fmt::format("{} is no port", in_quotes(port));
  }
  return {};
}

/// One component of a PCI address.
struct Component {
  std::string_view text;
  std::string_view name;
  std::size_t digits;
  std::uint32_t most;
  bool may_be_list;
};

std::optional<std::uint32_t> number_of(std::string_view text, const Component& component) {
  std::uint32_t number = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), number, 16);
  if (text.empty() || text.size() > component.digits || result.ec != std::errc() ||
      result.ptr != text.data() + text.size() || number > component.most) {
    return std::nullopt;
  }
  return number;
}

constexpr std::string_view pci_wanted =
    "write DOMAIN:BUS:DEVICE.FUNCTION such as \"0000:03:00.1\", or several: \"0000:03:00.[1-7]\"";

tl::expected<std::vector<std::uint32_t>, AddressError> numbers_of(const Component& component) {
  std::string_view text = component.text;
  const auto wrong = [&](std::string_view part) {
    return bad(Problem::bad_address,
               fmt::format("{} is no PCI {}, a hexadecimal number up to {:x}; {}", in_quotes(part),
                           component.name, component.most, pci_wanted));
  };
  std::vector<std::uint32_t> numbers;
  const bool is_list = text.size() > 2 && text.front() == '[' && text.back() == ']';
  if (!is_list || !component.may_be_list) {
    const auto number = number_of(text, component);
    if (!number) return wrong(text);
    numbers.push_back(*number);
    return numbers;
  }
  text = text.substr(1, text.size() - 2);
  while (true) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view part = text.substr(0, comma);
    const std::size_t dash = std::min(part.find('-'), part.size());
    const auto low = number_of(part.substr(0, dash), component);
    const auto high = dash < part.size() ? number_of(part.substr(dash + 1), component) : low;
    if (!low || !high) return wrong(part);
    if (*high < *low) {
      return bad(Problem::reversed_range,
                 fmt::format("the range {} ends before it starts; write {:x}-{:x}", in_quotes(part),
                             *high, *low));
    }
    for (std::uint32_t number = *low; number <= *high; ++number) numbers.push_back(number);
    if (comma == text.size()) return numbers;
    text.remove_prefix(comma + 1);
    if (numbers.size() > limits::virtual_functions) return wrong(component.text);
  }
}

}  // namespace

tl::expected<void, AddressError> check_libvirt_uri(std::string_view text) {
  constexpr std::string_view wanted =
      "write qemu+tls://HOST/system, qemu+ssh://USER@HOST/system or qemu:///system";
  const auto wrong = [&](const std::string& what) {
    return bad(Problem::bad_uri, fmt::format("{} {}; {}", in_quotes(text), what, wanted));
  };
  const auto uri = split(text);
  if (!uri) return wrong("is no libvirt URI");
  const std::size_t plus = std::min(uri->scheme.find('+'), uri->scheme.size());
  if (uri->scheme.substr(0, plus) != "qemu") {
    return wrong(
        fmt::format("asks for libvirt's driver {}, and only qemu migrates as is wanted "
                    "here",
                    in_quotes(uri->scheme.substr(0, plus))));
  }
  constexpr std::array<std::string_view, 7> remotes = {"tls",    "ssh",     "tcp", "unix",
                                                       "libssh", "libssh2", "ext"};
  const std::string_view remote = plus < uri->scheme.size() ? uri->scheme.substr(plus + 1) : "";
  if (plus < uri->scheme.size() &&
      std::find(remotes.begin(), remotes.end(), remote) == remotes.end()) {
    return wrong(
        fmt::format("has the transport {}, which libvirt does not know", in_quotes(remote)));
  }
  const bool is_local = remote.empty() || remote == "unix";
  if (!uri->authority.empty() || !is_local) {
    const std::string error = authority_error(uri->authority, true);
    if (!error.empty()) return wrong("is no libvirt URI: " + error);
  }
  if (uri->path != "/system" && uri->path != "/session") {
    return wrong(fmt::format("ends with {}, where libvirt has /system and /session",
                             uri->path.empty() ? "nothing" : in_quotes(uri->path)));
  }
  return {};
}

tl::expected<void, AddressError> check_migration_uri(std::string_view text,
                                                     std::span<const std::string_view> schemes) {
  const auto wrong = [&](const std::string& what) {
    return bad(Problem::bad_uri, fmt::format("{} {}; write {}://HOST or {}://HOST:PORT",
                                             in_quotes(text), what, schemes[0], schemes[0]));
  };
  const auto uri = split(text);
  if (!uri) return wrong("is no URI");
  if (std::find(schemes.begin(), schemes.end(), uri->scheme) == schemes.end()) {
    return wrong(fmt::format("has the scheme {}, which is not {}", in_quotes(uri->scheme),
                             listed({schemes.begin(), schemes.end()})));
  }
  if (uri->scheme == "unix") {
    if (uri->authority.empty() && uri->path.size() > 1) return {};
    return bad(
        Problem::bad_uri,
        fmt::format("{} names no socket; write unix:///run/ferry/migrate.sock", in_quotes(text)));
  }
  const std::string error = authority_error(uri->authority, false);
  if (!error.empty()) return wrong("is no place to migrate to: " + error);
  if (!uri->path.empty() && uri->path != "/") {
    return wrong(
        fmt::format("has the path {}, which a migration does not use", in_quotes(uri->path)));
  }
  return {};
}

tl::expected<std::vector<std::string>, AddressError> expand_pci(std::string_view text) {
  const std::size_t first = text.find(':');
  const std::size_t second = first == std::string_view::npos ? first : text.find(':', first + 1);
  const std::size_t dot = second == std::string_view::npos ? second : text.find('.', second + 1);
  if (dot == std::string_view::npos) {
    return bad(Problem::bad_address,
               fmt::format("{} is no PCI address; {}", in_quotes(text), pci_wanted));
  }
  const std::array<Component, 4> components = {
      {{text.substr(0, first), "domain", 8, 0xffff'ffffU, false},
       {text.substr(first + 1, second - first - 1), "bus", 2, 0xffU, false},
       {text.substr(second + 1, dot - second - 1), "device", 2, 0x1fU, true},
       {text.substr(dot + 1), "function", 1, 7U, true}}};
  std::array<std::vector<std::uint32_t>, 4> numbers;
  for (std::size_t i = 0; i < components.size(); ++i) {
    auto found = numbers_of(components[i]);
    if (!found) return tl::unexpected(found.error());
    numbers[i] = std::move(*found);
  }
  std::vector<std::string> addresses;
  std::set<std::string> seen;
  for (const std::uint32_t device : numbers[2]) {
    for (const std::uint32_t function : numbers[3]) {
      std::string address =
          fmt::format("{:04x}:{:02x}:{:02x}.{:x}", numbers[0][0], numbers[1][0], device, function);
      if (!seen.insert(address).second) {
        return bad(Problem::named_twice,
                   fmt::format("{} names {} twice; write it once", in_quotes(text), address));
      }
      addresses.push_back(std::move(address));
    }
  }
  return addresses;
}

}  // namespace ferry
