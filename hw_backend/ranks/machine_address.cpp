#include "hw_backend/ranks/machine_address.hpp"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <set>

namespace ferry::ranks {
namespace {

namespace fs = std::filesystem;

/// Interfaces of RDMA devices: of their PCI functions, or what a device in software lies on.
std::set<std::string> interfaces_of_rdma(const fs::path& sysfs) {
  std::set<std::string> names;
  std::error_code error;
  for (const auto& device : fs::directory_iterator(sysfs / "class/infiniband", error)) {
    std::ifstream parent(device.path() / "parent");
    std::string name;
    if (parent >> name) names.insert(name);
    std::error_code none;
    for (const auto& net : fs::directory_iterator(device.path() / "device/net", none)) {
      names.insert(net.path().filename());
    }
  }
  return names;
}

}  // namespace

std::string machine_address(const fs::path& sysfs) {
  const std::set<std::string> rdma = interfaces_of_rdma(sysfs);
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return "127.0.0.1";
  std::string best;
  std::string second;
  for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET) continue;
    if ((one->ifa_flags & IFF_UP) == 0 || (one->ifa_flags & IFF_LOOPBACK) != 0) continue;
    std::array<char, INET_ADDRSTRLEN> text{};
    const auto& address = reinterpret_cast<const sockaddr_in&>(*one->ifa_addr);
    if (inet_ntop(AF_INET, &address.sin_addr, text.data(), text.size()) == nullptr) continue;
    std::string& place = rdma.count(one->ifa_name) == 0 ? best : second;
    if (place.empty()) place = text.data();
  }
  freeifaddrs(all);
  if (!best.empty()) return best;
  return second.empty() ? "127.0.0.1" : second;
}

std::string machine_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "unknown";
  return name.data();
}

}  // namespace ferry::ranks
