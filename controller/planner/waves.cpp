#include "controller/planner/waves.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "controller/planner/vm_groups.hpp"
#include "core/units/natural_order.hpp"

namespace ferry {

std::vector<std::size_t> order_of_moves(const Instance& instance) {
  std::vector<std::size_t> order(instance.moves.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const MoveSpec& first = instance.moves[a];
    const MoveSpec& second = instance.moves[b];
    if (first.at.at != second.at.at) return first.at.at < second.at.at;
    if (first.migration != second.migration) return natural_less(first.migration, second.migration);
    return natural_less(instance.vms[first.vm.index].name, instance.vms[second.vm.index].name);
  });
  return order;
}

void keep_turns(const Instance& instance, const std::vector<PlacedMove>& placed,
                std::vector<std::size_t>& order) {
  std::vector<std::vector<std::size_t>> turns(instance.vms.size());
  for (auto move = placed.rbegin(); move != placed.rend(); ++move) {
    turns[instance.moves[move->move].vm.index].push_back(move->move);
  }
  for (std::size_t& index : order) {
    std::vector<std::size_t>& rest = turns[instance.moves[index].vm.index];
    index = rest.back();
    rest.pop_back();
  }
}

std::vector<PlannedWave> form_waves(Batch batch, const Instance& instance,
                                    const std::vector<std::size_t>& order) {
  VmGroups groups(instance.vms.size());
  groups.join_constraints(instance);
  if (batch == Batch::job) groups.join_jobs(instance);
  const auto group_of = [&](std::size_t index) {
    return batch == Batch::all ? 0 : groups.root(instance.moves[index].vm.index);
  };
  std::vector<std::uint32_t> moves_of_group(std::max<std::size_t>(1, instance.vms.size()), 0);
  for (const std::size_t index : order) ++moves_of_group[group_of(index)];
  std::vector<PlannedWave> waves;
  // A VM appears once in a wave: its second move at the same time opens another one.
  std::map<std::tuple<TimePoint, std::uint32_t, std::uint32_t>, std::size_t> open;
  std::map<std::pair<VmId, TimePoint>, std::uint32_t> seen;
  for (const std::size_t index : order) {
    const MoveSpec& move = instance.moves[index];
    const TimePoint start = TimePoint::at(move.at.at);
    const std::uint32_t group = group_of(index);
    if (moves_of_group[group] == 1) {  // nobody can join it
      waves.push_back({{index}, start, {}});
      continue;
    }
    const std::uint32_t turn = seen[{move.vm, start}]++;
    const auto [place, added] = open.try_emplace({start, group, turn}, waves.size());
    if (added) waves.push_back({{}, start, {}});
    waves[place->second].moves.push_back(index);
  }
  return waves;
}

}  // namespace ferry
