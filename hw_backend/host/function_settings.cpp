#include "hw_backend/host/function_settings.hpp"

#include <fmt/format.h>

#include "hw_backend/host/adapters.hpp"
#include "hw_backend/host/guid.hpp"

namespace ferry::host {
namespace {

namespace fs = std::filesystem;

struct Found {
  Adapter adapter;
  VirtualFunction function;
};

Result<Found> find_function(const Tree& tree, Links& links, const std::string& pci) {
  std::vector<Finding> ignored;
  const Processes processes = look_at_processes(tree);
  std::string others;
  for (Adapter& adapter : look_at_adapters(tree, links, processes, ignored)) {
    for (const VirtualFunction& function : adapter.functions) {
      if (function.pci == pci) return Found{std::move(adapter), function};
      others += (others.empty() ? "" : ", ") + function.pci;
    }
  }
  return failure(FailureKind::refused,
                 fmt::format("there is no virtual function {} here; {}", pci,
                             others.empty() ? "there is none at all" : "there are " + others));
}

Result<> refuse(const std::string& why) { return failure(FailureKind::refused, why); }

Result<> check_settings(const Found& found, const FunctionSettings& settings) {
  const bool changes_guid = settings.node_guid || settings.port_guid;
  if (changes_guid && found.function.user) {
    return refuse(
        fmt::format("{} has {}, whose connections would break; detach it before its GUID changes",
                    to_text(*found.function.user), found.function.pci));
  }
  switch (found.function.told_by) {
    case ToldBy::mlx4_sysfs:
      if (settings.node_guid || settings.policy) {
        return refuse(
            fmt::format("a function of {} shares the adapter's node and link: only "
                        "--port-guid, its alias GUID, can be set",
                        found.adapter.title()));
      }
      break;
    case ToldBy::nobody:
      return refuse(fmt::format(
          "neither a file of sysfs nor an interface tells of the functions of {}; with the "
          "kernel's own mlx5 driver IPoIB does (modprobe ib_ipoib)",
          found.adapter.title()));
    case ToldBy::mlx5_sysfs:
    case ToldBy::netlink: break;
  }
  return {};
}

/// As MLNX_OFED's mlx5 wants it.
std::string_view mlx5_word(Policy policy) {
  switch (policy) {
    case Policy::follow: return "Follow";
    case Policy::up: return "Up";
    case Policy::down: return "Down";
  }
  return "";
}

Result<> by_mlx5(const Tree& tree, const Found& found, const FunctionSettings& settings) {
  const fs::path folder = mlx5_folder(found.adapter.pci, found.function.index);
  Result<> done;
  if (settings.node_guid) done = tree.write(folder / "node", guid_text(*settings.node_guid) + "\n");
  if (done && settings.port_guid) {
    done = tree.write(folder / "port", guid_text(*settings.port_guid) + "\n");
  }
  if (done && settings.policy) {
    done = tree.write(folder / "policy", fmt::format("{}\n", mlx5_word(*settings.policy)));
  }
  return done;
}

Result<> by_mlx4(const Tree& tree, const Found& found, const FunctionSettings& settings) {
  const std::string file =
      alias_guid_file(tree, found.adapter.name, found.function.pci, settings.port);
  if (file.empty())
    return refuse(fmt::format("{} has no port {}", found.adapter.name, settings.port));
  return tree.write(file, fmt::format("{:016x}\n", *settings.port_guid));
}

Result<> by_links(Links& links, const Found& found, const FunctionSettings& settings) {
  const LinkFunction change{.index = found.function.index,
                            .node_guid = settings.node_guid,
                            .port_guid = settings.port_guid,
                            .policy = settings.policy};
  Result<> done = refuse("there is no interface");
  for (const std::string& interface : found.adapter.interfaces) {
    done = links.change(interface, change);
    if (done) return done;
  }
  return done;
}

Result<> verify(const Tree& tree, const Found& found, const VirtualFunction& after,
                const FunctionSettings& settings) {
  const auto differs = [&](std::string_view what, const std::string& wanted,
                           const std::string& got) -> Result<> {
    if (wanted == got) return {};
    return failure(FailureKind::failed,
                   fmt::format("{} of {} was set to {}, and its driver says {}", what, after.pci,
                               wanted, got.empty() ? "nothing" : got));
  };
  Result<> same;
  if (settings.node_guid)
    same = differs("node GUID", guid_text(*settings.node_guid), after.node_guid);
  if (same && settings.port_guid) {
    std::string got = after.port_guid;
    if (after.told_by == ToldBy::mlx4_sysfs && settings.port != 1) {
      const auto guid = alias_guid(
          tree, alias_guid_file(tree, found.adapter.name, found.function.pci, settings.port));
      got = guid ? guid_text(*guid) : "";
    }
    same = differs("port GUID", guid_text(*settings.port_guid), got);
  }
  if (same && settings.policy) same = differs("policy", to_word(*settings.policy), after.policy);
  return same;
}

}  // namespace

Result<ChangedFunction> change_function(const Tree& tree, Links& links, const std::string& pci,
                                        const FunctionSettings& settings) {
  const Result<Found> found = find_function(tree, links, pci);
  if (!found) return tl::unexpected(found.error());
  if (const Result<> right = check_settings(*found, settings); !right) {
    return tl::unexpected(right.error());
  }
  const ToldBy way = found->function.told_by;
  Result<> done = way == ToldBy::mlx5_sysfs   ? by_mlx5(tree, *found, settings)
                  : way == ToldBy::mlx4_sysfs ? by_mlx4(tree, *found, settings)
                                              : by_links(links, *found, settings);
  if (!done) return tl::unexpected(done.error());
  Result<Found> again = find_function(tree, links, pci);
  if (!again) return tl::unexpected(again.error());
  done = verify(tree, *found, again->function, settings);
  if (!done) return tl::unexpected(done.error());
  return ChangedFunction{found->function, std::move(again->function)};
}

}  // namespace ferry::host
