#include "core/scenario/cluster_file.hpp"

#include <algorithm>
#include <numeric>

#include "core/units/check.hpp"

namespace ferry {
namespace {

template <class Item>
const Item* find_named(const std::vector<Item>& items, std::string_view name) {
  const auto found =
      std::find_if(items.begin(), items.end(), [&](const Item& item) { return item.name == name; });
  return found == items.end() ? nullptr : &*found;
}

}  // namespace

const std::string& MigrationUris::by(Transport transport) const {
  switch (transport) {
    case Transport::tcp: return tcp;
    case Transport::ipoib: return ipoib;
    case Transport::rdma: return rdma;
  }
  check(false, "a transport has a value");
  return tcp;
}

std::size_t ClusterHost::function_count() const {
  return std::accumulate(
      virtual_functions.begin(), virtual_functions.end(), std::size_t{0},
      [](std::size_t sum, const FunctionPool& pool) { return sum + pool.size(); });
}

const ClusterHost* ClusterFile::host(std::string_view name) const {
  return find_named(hosts, name);
}
const ClusterVm* ClusterFile::vm(std::string_view name) const { return find_named(vms, name); }

}  // namespace ferry
