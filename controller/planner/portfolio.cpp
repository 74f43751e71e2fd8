#include "controller/planner/portfolio.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "controller/planner/forecast.hpp"
#include "controller/planner/schedules.hpp"
#include "core/ports/randomness.hpp"
#include "core/units/check.hpp"

namespace ferry {
namespace {

constexpr std::array<std::uint32_t, 4> uniform_caps = {1, 2, 4, 8};
constexpr std::array<std::optional<double>, 9> factors = {1.0, 0.5, 0.75, 1.5,         2.0,
                                                          3.0, 5.0, 8.0,  std::nullopt};
constexpr std::array<double, 3> refills = {1.0, 0.5, 0.25};

/// All forecasts of one plan together: looks at links and events, of some 15 ns each.
constexpr std::uint64_t most_work = 100'000'000;
/// Of these at most for changes of the best schedule.
constexpr std::uint64_t improving_work = 30'000'000;
/// Up to here shares are exact; beyond, computed at most so many times in the lower bound.
constexpr std::size_t exact_moves = 2'000;
constexpr double shares_in_bound = 1'000;

/// How much better than the references a schedule is to be. Events at one time may happen in
/// another order than in the forecast; then a few moves pause longer or shorter by up to half of
/// their time (seen on drawn clusters).
constexpr double makespan_margin = 0.001;
double downtime_margin(std::size_t moves) { return 0.005 + 0.2 / static_cast<double>(moves); }
/// No further changes are tried once a schedule takes no more than this over the bound.
constexpr double good_enough = 1.005;

struct Judged {
  ScheduleDraft schedule;
  Forecast forecast;
  bool is_reference = false;
};

class Portfolio {
 public:
  Portfolio(const Scenario& scenario, Instance& instance)
      : instance_(instance), schedules_(scenario, instance) {}

  tl::expected<Plan, std::string> choose() {
    auto by_path = schedules_.place({.planned = true, .by_destination = false});
    if (!by_path) return tl::unexpected(by_path.error());
    const ScheduleDraft base = schedules_.by_rule(
        *by_path, {OrderRule::most_loaded_link, factors.front(), false, refills.front(), {}});
    auto plan = schedules_.make(base);
    if (!plan) return plan;
    judge(base, *plan, false);
    // Where only a planned placement finds room for all, the references have it too.
    const auto as_asked = schedules_.place({});
    compare_references(as_asked ? *as_asked : *by_path);
    const auto by_destination = schedules_.place({.planned = true, .by_destination = true});
    try_rules(*by_path, by_destination ? &*by_destination : nullptr);
    improve();

    const ScheduleDraft taken = chosen_ ? judged_[*chosen_].schedule : base;
    plan = schedules_.make(taken);
    check(plan.has_value(), "a schedule that was forecast can be made again");
    if (chosen_) note_forecast(judged_[*chosen_].forecast, *plan);
    plan->schedule = taken.text;
    plan->schedules_compared = compared_;
    plan->least_makespan = taken.placed->bound.time;
    plan->bounded_by = schedules_.bounded_by(taken.placed->bound);
    return plan;
  }

 private:
  static void note_forecast(const Forecast& forecast, Plan& plan) {
    for (PlannedMove& move : plan.moves) {
      move.predicted_start = forecast.moves[move.move].start;
      move.predicted_end = forecast.moves[move.move].end;
    }
    plan.predicted_makespan = forecast.makespan;
    plan.predicted_downtime = forecast.mean_downtime;
  }

  /// Adds the forecast of a schedule to `judged_`; false if it was given up, or no work is left.
  bool judge(const ScheduleDraft& schedule, const Plan& plan, bool is_reference) {
    if (work_ >= most_work) return false;
    auto found = forecasters_.find(schedule.placed);
    if (found == forecasters_.end()) {
      found = forecasters_.emplace(schedule.placed, schedules_.forecaster(*schedule.placed)).first;
    }
    ForecastOptions options{.resolution = {}, .most = longest_, .most_work = most_work - work_};
    if (instance_.moves.size() > exact_moves) {
      options.resolution = schedule.placed->bound.time * (1 / shares_in_bound);
    }
    Forecast forecast = found->second.run(plan, options);
    work_ += forecast.work;
    ++compared_;
    if (!forecast.complete) return false;
    judged_.push_back({schedule, std::move(forecast), is_reference});
    return true;
  }

  void try_schedule(const ScheduleDraft& schedule) {
    if (work_ >= most_work) return;
    if (const auto plan = schedules_.make(schedule)) judge(schedule, *plan, false);
    choose_again();
  }

  void try_rules(const PlacedMoves& by_path, const PlacedMoves* by_destination) {
    for (const double refill : refills) {
      for (const std::optional<double>& factor : factors) {
        for (const bool crowded_only : {false, true}) {
          if (!factor && (refill < 1 || crowded_only)) continue;
          for (const OrderRule order : {OrderRule::most_loaded_link, OrderRule::longest_ending}) {
            if (work_ >= most_work - improving_work) return;
            const ScheduleRule rule{order, factor, crowded_only, refill, {}};
            try_schedule(schedules_.by_rule(by_path, rule));
            if (by_destination) try_schedule(schedules_.by_rule(*by_destination, rule));
          }
        }
      }
    }
  }

  /// What the scenario's limits, and each uniform cap, would do by themselves.
  void compare_references(const PlacedMoves& placed) {
    const auto add = [&](std::optional<std::uint32_t> cap) {
      const ScheduleDraft schedule = schedules_.by_rule(placed, {{}, {}, false, 1, cap});
      if (const auto plan = schedules_.make(schedule)) judge(schedule, *plan, true);
    };
    add(std::nullopt);
    for (const std::uint32_t cap : uniform_caps) add(cap);
    std::size_t fewest = instance_.moves.size();
    for (const Judged& judged : judged_) fewest = std::min(fewest, judged.forecast.failed);
    const Forecast* best_cap = nullptr;
    for (const Judged& judged : judged_) {
      // One in which more moves fail does not do the same work.
      if (!judged.is_reference || judged.forecast.failed > fewest) continue;
      if (!judged.schedule.cap) {
        keep_up_with(judged.forecast);
      } else if (best_cap == nullptr || judged.forecast.makespan < best_cap->makespan) {
        best_cap = &judged.forecast;
      }
    }
    if (best_cap != nullptr) keep_up_with(*best_cap);
    choose_again();
  }

  void keep_up_with(const Forecast& reference) {
    shortest_ = std::min(shortest_, reference.makespan);
    least_downtime_ = std::min(least_downtime_, reference.mean_downtime);
  }

  /// The smaller the better: moves that fail, then makespan and downtime that are longer than the
  /// references', then both as they are.
  [[nodiscard]] auto rank(const Judged& judged) const {
    const Forecast& forecast = judged.forecast;
    const double makespan = judged.is_reference ? 0 : makespan_margin;
    const double downtime = judged.is_reference ? 0 : downtime_margin(instance_.moves.size());
    const bool late = forecast.makespan * (1 + makespan) > shortest_;
    const bool pauses = forecast.mean_downtime * (1 + downtime) > least_downtime_;
    return std::tuple(forecast.failed, late, late ? forecast.makespan : Duration::zero(), pauses,
                      pauses ? forecast.mean_downtime : Duration::zero(), forecast.makespan,
                      forecast.mean_downtime);
  }

  void choose_again() {
    for (std::size_t i = looked_at_; i < judged_.size(); ++i) {
      if (!chosen_ || rank(judged_[i]) < rank(judged_[*chosen_])) chosen_ = i;
    }
    looked_at_ = judged_.size();
    if (!chosen_) return;
    const auto [failed, late, by, pauses, by_pause, makespan, downtime] = rank(judged_[*chosen_]);
    // Whatever takes longer than this cannot be better.
    if (failed == 0) longest_ = late || pauses ? std::max(shortest_, makespan) : makespan;
  }

  /// Small changes of a schedule, as long as work is left: a move that ends last or pauses longest,
  /// or any, goes elsewhere in the order; a link gets a place more or less. Begins once with the
  /// best of the rules, once with the best of all: a reference may be good in both respects, and
  /// yet have no better neighbours.
  void improve() {
    if (!chosen_) return;
    std::optional<std::size_t> best;
    for (std::size_t i = 0; i < judged_.size(); ++i) {
      if (judged_[i].is_reference) continue;
      if (!best || score(judged_[i]) < score(judged_[*best])) best = i;
    }
    const std::uint64_t half = std::min(most_work - std::min(work_, most_work), improving_work) / 2;
    if (best) climb(*best, work_ + half);
    climb(*chosen_, work_ + half);
  }

  /// For the way to a good schedule, which may lead over some that are not taken: the makespan in
  /// the references', and what exceeds theirs, weighted.
  [[nodiscard]] double score(const Judged& judged) const {
    constexpr double weight = 3;
    const Forecast& forecast = judged.forecast;
    double score = forecast.makespan / shortest_;
    const double pause =
        forecast.mean_downtime / least_downtime_ * (1 + downtime_margin(instance_.moves.size()));
    score += weight * (std::max(0.0, pause - 1) + std::max(0.0, score - 1));
    return score + 100.0 * static_cast<double>(forecast.failed);
  }

  void climb(std::size_t from, std::uint64_t until_work) {
    RandomStream draw(1, "planner");
    while (work_ < until_work) {
      const Judged& best = judged_[from];
      const auto [failed, late, by, pauses, by_pause, makespan, downtime] = rank(best);
      if (failed == 0 && !late && !pauses &&
          makespan <= best.schedule.placed->bound.time * good_enough) {
        return;
      }
      ScheduleDraft changed = best.schedule;
      if (!change(changed, best.forecast, draw)) return;
      const std::uint64_t before = work_;
      const std::size_t tried = judged_.size();
      try_schedule(changed);
      if (work_ == before) return;
      if (judged_.size() > tried && score(judged_[tried]) < score(judged_[from])) from = tried;
    }
  }

  bool change(ScheduleDraft& schedule, const Forecast& forecast, RandomStream& draw) const {
    const auto below = [&draw](std::size_t n) { return static_cast<std::size_t>(draw.next() % n); };
    const std::size_t moves = schedule.order.size();
    if (moves < 2) return false;
    if (schedule.text.find(improved) == std::string::npos) schedule.text += improved;
    const std::size_t times = 1 + below(3);
    for (std::size_t i = 0; i < times; ++i) {
      const std::size_t kind = below(4);
      if (kind == 0) {
        change_slots(schedule, draw);
        continue;
      }
      const std::size_t move = kind == 1   ? last_to_end(forecast, below(3))
                               : kind == 2 ? longest_pause(forecast, below(3))
                                           : below(moves);
      const auto place = std::find(schedule.order.begin(), schedule.order.end(), move);
      const auto from = static_cast<std::size_t>(place - schedule.order.begin());
      const std::size_t to = below(2) == 0 ? below(from + 1) : below(moves);
      if (to < from) {
        std::rotate(schedule.order.begin() + static_cast<std::ptrdiff_t>(to), place, place + 1);
      } else {
        std::rotate(place, place + 1, schedule.order.begin() + static_cast<std::ptrdiff_t>(to) + 1);
      }
    }
    schedules_.keep_turns_of(schedule);
    return true;
  }

  void change_slots(ScheduleDraft& schedule, RandomStream& draw) const {
    const std::vector<MoveLoad>& loads = schedule.placed->loads;
    std::vector<std::uint32_t> users(schedules_.links().link_count(), 0);
    for (const MoveLoad& load : loads) {
      for (const LinkId link : load.route) users[link.index] += 1;
    }
    if (schedule.link_slots.empty()) schedule.link_slots = users;
    schedule.link_slots.resize(users.size(), 1);
    const MoveLoad& load = loads[draw.next() % loads.size()];
    if (load.route.size() == 0) return;
    const LinkId link = *(load.route.begin() + draw.next() % load.route.size());
    std::uint32_t& slots = schedule.link_slots[link.index];
    slots = std::min(slots, users[link.index]);
    switch (draw.next() % 3) {
      case 0: slots += 1; break;
      case 1: slots = std::max(slots, 2U) - 1; break;
      default: slots = 1 + static_cast<std::uint32_t>(draw.next() % users[link.index]); break;
    }
  }

  [[nodiscard]] static std::size_t last_to_end(const Forecast& forecast, std::size_t nth) {
    return nth_by(forecast, nth,
                  [](const MoveForecast& a, const MoveForecast& b) { return a.end > b.end; });
  }
  [[nodiscard]] static std::size_t longest_pause(const Forecast& forecast, std::size_t nth) {
    return nth_by(forecast, nth, [](const MoveForecast& a, const MoveForecast& b) {
      return a.downtime > b.downtime;
    });
  }
  template <class Before>
  [[nodiscard]] static std::size_t nth_by(const Forecast& forecast, std::size_t nth,
                                          Before before) {
    std::vector<std::size_t> order(forecast.moves.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    nth = std::min(nth, order.size() - 1);
    const auto place = order.begin() + static_cast<std::ptrdiff_t>(nth);
    std::nth_element(order.begin(), place, order.end(), [&](std::size_t a, std::size_t b) {
      if (before(forecast.moves[a], forecast.moves[b])) return true;
      return !before(forecast.moves[b], forecast.moves[a]) && a < b;
    });
    return *place;
  }

  static constexpr const char* improved = ", then changed move by move";

  Instance& instance_;
  Schedules schedules_;
  std::map<const PlacedMoves*, Forecaster> forecasters_;  ///< for look-ups only
  std::vector<Judged> judged_;
  std::optional<std::size_t> chosen_;          ///< in `judged_`
  std::size_t looked_at_ = 0;                  ///< of `judged_`, by `choose_again`
  Duration shortest_ = Duration::max();        ///< makespan of the references
  Duration least_downtime_ = Duration::max();  ///< of the references
  Duration longest_ = Duration::max();         ///< forecasts of a longer makespan are given up
  std::uint64_t work_ = 0;
  std::size_t compared_ = 0;
};

}  // namespace

tl::expected<Plan, std::string> plan_by_forecast(const Scenario& scenario, Instance& instance) {
  return Portfolio(scenario, instance).choose();
}

}  // namespace ferry
