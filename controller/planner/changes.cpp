#include "controller/planner/changes.hpp"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

namespace ferry {
namespace {

constexpr const char* note = ", then changed move by move";

std::size_t below(RandomStream& draw, std::size_t bound) {
  return static_cast<std::size_t>(draw.next_below(bound));
}

/// The index of the nth by `before`; of equals the smaller index comes first.
template <class Before>
std::size_t nth_by(const Forecast& forecast, std::size_t nth, Before before) {
  std::vector<std::size_t> order(forecast.moves.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  nth = std::min(nth, order.size() - 1);
  const auto place = order.begin() + static_cast<std::ptrdiff_t>(nth);
  std::nth_element(order.begin(), place, order.end(), [&](std::size_t a, std::size_t b) {
    if (before(forecast.moves[a], forecast.moves[b])) return true;
    return !before(forecast.moves[b], forecast.moves[a]) && a < b;
  });
  return *place;
}

std::size_t draw_move(const Forecast& forecast, RandomStream& draw) {
  constexpr std::size_t worst = 3;
  switch (below(draw, 3)) {
    case 0:
      return nth_by(forecast, below(draw, worst),
                    [](const MoveForecast& a, const MoveForecast& b) { return a.end > b.end; });
    case 1:
      return nth_by(forecast, below(draw, worst), [](const MoveForecast& a, const MoveForecast& b) {
        return a.downtime > b.downtime;
      });
    default: return below(draw, forecast.moves.size());
  }
}

void change_order(ScheduleDraft& draft, const Forecast& forecast, RandomStream& draw) {
  const auto begin = draft.order.begin();
  const auto place = std::find(begin, draft.order.end(), draw_move(forecast, draw));
  const auto from = static_cast<std::size_t>(place - begin);
  // Half of them earlier, the others anywhere.
  const std::size_t to =
      below(draw, 2) == 0 ? below(draw, from + 1) : below(draw, draft.order.size());
  if (to < from) {
    std::rotate(begin + static_cast<std::ptrdiff_t>(to), place, place + 1);
  } else {
    std::rotate(place, place + 1, begin + static_cast<std::ptrdiff_t>(to) + 1);
  }
}

void change_slots(ScheduleDraft& draft, const Schedules& schedules, RandomStream& draw) {
  const std::vector<MoveLoad>& loads = draft.placed->loads;
  std::vector<std::uint32_t> users(schedules.links().link_count(), 0);
  for (const MoveLoad& load : loads) {
    for (const LinkId link : load.route) users[link.index] += 1;
  }
  if (draft.link_slots.empty()) draft.link_slots = users;
  draft.link_slots.resize(users.size(), 1);
  const MoveLoad& load = loads[below(draw, loads.size())];
  if (load.route.size() == 0) return;
  const LinkId link = *(load.route.begin() + below(draw, load.route.size()));
  std::uint32_t& slots = draft.link_slots[link.index];
  slots = std::min(slots, users[link.index]);
  switch (below(draw, 3)) {
    case 0: slots += 1; break;
    case 1: slots = std::max(slots, 2U) - 1; break;
    default: slots = 1 + static_cast<std::uint32_t>(below(draw, users[link.index])); break;
  }
}

}  // namespace

ScheduleDraft changed(const ScheduleDraft& draft, const Forecast& forecast,
                      const Schedules& schedules, RandomStream& draw) {
  ScheduleDraft result = draft;
  if (result.text.find(note) == std::string::npos) result.text += note;
  const std::size_t times = 1 + below(draw, 3);
  for (std::size_t i = 0; i < times; ++i) {
    if (below(draw, 4) == 0) {
      change_slots(result, schedules, draw);
    } else {
      change_order(result, forecast, draw);
    }
  }
  schedules.keep_turns_of(result);
  return result;
}

}  // namespace ferry
