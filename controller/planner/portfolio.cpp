#include "controller/planner/portfolio.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "controller/planner/changes.hpp"
#include "controller/planner/forecast.hpp"
#include "controller/planner/schedules.hpp"
#include "core/ports/randomness.hpp"
#include "core/units/check.hpp"

namespace ferry {
namespace {

constexpr std::array<std::uint32_t, 4> uniform_caps = {1, 2, 4, 8};
// The most different first, for when not all can be looked at.
constexpr std::array<std::optional<double>, 9> factors = {1.0, 2.0,          0.5, 5.0, 1.5,
                                                          3.0, std::nullopt, 8.0, 0.75};
constexpr std::array<double, 3> refills = {1.0, 0.25, 0.5};

/// All forecasts of one plan together: looks at links and events, of some 15 ns each.
constexpr std::uint64_t most_work = 150'000'000;
/// Of these at most for changes.
constexpr std::uint64_t changing_work = 50'000'000;
/// And at most so many changes for each move, in each walk.
constexpr std::size_t changes_per_move = 100;
constexpr std::size_t walks = 4;
/// What exceeds the references counts so many times what is gained in makespan.
constexpr double strict = 3;
constexpr double lenient = 1;
/// Up to here shares are exact; beyond, computed at most so many times in the lower bound.
constexpr std::size_t exact_moves = 2'000;
constexpr double shares_in_bound = 1'000;

/// How much better than the references a schedule is to be: a world's events at one time may happen
/// in another order than in the forecast, and move the pause of a few VMs.
constexpr double makespan_margin = 0.001;
double downtime_margin(std::size_t moves) { return 0.001 + 0.02 / static_cast<double>(moves); }
/// But for downtimes that are the same, to so small a part: they do not depend on the schedule.
constexpr double same_downtime = 1e-6;
/// No further changes are tried once a schedule takes no more than this over the bound.
constexpr double good_enough = 1.005;
/// How much worse than the present one a changed schedule may be, to begin with.
constexpr double first_threshold = 0.01;

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
    // Where only a planned placement finds room for all, the references have it too.
    const auto as_asked = schedules_.place({});
    compare_references(base, *plan, as_asked ? *as_asked : *by_path);
    const auto by_destination = schedules_.place({.planned = true, .by_destination = true});
    try_rules(*by_path, by_destination ? &*by_destination : nullptr);
    change();

    const ScheduleDraft taken = best_ ? best_->schedule : base;
    plan = schedules_.make(taken);
    check(plan.has_value(), "a schedule that was forecast can be made again");
    if (best_) note_forecast(best_->forecast, *plan);
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

  /// Nothing: it takes longer than `most`, or no work is left.
  std::optional<Judged> judge(const ScheduleDraft& schedule, const Plan& plan,
                              Duration most = Duration::max()) {
    if (work_ >= most_work) return std::nullopt;
    auto found = forecasters_.find(schedule.placed);
    if (found == forecasters_.end()) {
      found = forecasters_.emplace(schedule.placed, schedules_.forecaster(*schedule.placed)).first;
    }
    ForecastOptions options{.resolution = {}, .most = most, .most_work = most_work - work_};
    if (instance_.moves.size() > exact_moves) {
      options.resolution = schedule.placed->bound.time * (1 / shares_in_bound);
    }
    Forecast forecast = found->second.run(plan, options);
    work_ += forecast.work;
    ++compared_;
    if (!forecast.complete) return std::nullopt;
    return Judged{schedule, std::move(forecast), false};
  }

  void consider(Judged judged) {
    const bool promises =
        !judged.is_reference && (!promising_ || score(judged) < score(*promising_));
    if (promises) promising_ = judged;
    if (!quickest_ || pace(judged) < pace(*quickest_)) quickest_ = judged;
    if (!best_ || rank(judged) < rank(*best_)) best_ = std::move(judged);
    const auto [failed, late, by, pauses, by_pause, makespan, downtime] = rank(*best_);
    // Whatever takes longer than this cannot be better.
    if (failed == 0) longest_ = late || pauses ? std::max(shortest_, makespan) : makespan;
  }

  /// What the scenario's limits, and each uniform cap, would do by themselves.
  void compare_references(const ScheduleDraft& base, const Plan& base_plan,
                          const PlacedMoves& placed) {
    std::vector<Judged> judged;
    const auto add = [&](std::optional<Judged> one, bool is_reference) {
      if (!one) return;
      one->is_reference = is_reference;
      judged.push_back(std::move(*one));
    };
    add(judge(base, base_plan), false);
    const auto add_cap = [&](std::optional<std::uint32_t> cap) {
      const ScheduleDraft schedule = schedules_.by_rule(placed, {{}, {}, false, 1, cap});
      if (const auto plan = schedules_.make(schedule)) add(judge(schedule, *plan), true);
    };
    add_cap(std::nullopt);
    for (const std::uint32_t cap : uniform_caps) add_cap(cap);

    std::size_t fewest = instance_.moves.size();
    for (const Judged& one : judged) fewest = std::min(fewest, one.forecast.failed);
    const Forecast* best_cap = nullptr;
    for (const Judged& one : judged) {
      // One in which more moves fail does not do the same work.
      if (!one.is_reference || one.forecast.failed > fewest) continue;
      if (!one.schedule.cap) {
        keep_up_with(one.forecast);
      } else if (best_cap == nullptr || one.forecast.makespan < best_cap->makespan) {
        best_cap = &one.forecast;
      }
    }
    if (best_cap != nullptr) keep_up_with(*best_cap);
    for (Judged& one : judged) consider(std::move(one));
  }

  void keep_up_with(const Forecast& reference) {
    shortest_ = std::min(shortest_, reference.makespan);
    least_downtime_ = std::min(least_downtime_, reference.mean_downtime);
  }

  void try_rules(const PlacedMoves& by_path, const PlacedMoves* by_destination) {
    const auto attempt = [this](const PlacedMoves& placed, const ScheduleRule& rule) {
      if (work_ >= most_work - changing_work) return;
      const ScheduleDraft schedule = schedules_.by_rule(placed, rule);
      const auto plan = schedules_.make(schedule);
      if (!plan) return;
      if (auto judged = judge(schedule, *plan, longest_)) consider(std::move(*judged));
    };
    for (const bool crowded_only : {false, true}) {
      for (const std::optional<double>& factor : factors) {
        for (const double refill : refills) {
          if (!factor && (refill < 1 || crowded_only)) continue;
          for (const OrderRule order : {OrderRule::most_loaded_link, OrderRule::longest_ending}) {
            const ScheduleRule rule{order, factor, crowded_only, refill, {}};
            attempt(by_path, rule);
            if (by_destination != nullptr) attempt(*by_destination, rule);
          }
        }
      }
    }
  }

  /// Several walks, by turns from the schedule that promises most and from the best of all: a
  /// reference may be good in both respects and yet have no better neighbours.
  void change() {
    if (!best_ || instance_.moves.size() < 2) return;
    const std::uint64_t work =
        std::min(most_work - std::min(work_, most_work), changing_work) / walks;
    std::uint64_t number = 0;
    const auto from = [&](const std::optional<Judged>& start, double weight) {
      if (start) walk(Judged(*start), work, weight, RandomStream(++number, "planner"));
    };
    from(quickest_, lenient);
    from(promising_, lenient);
    from(best_, strict);
    from(best_, strict);
  }

  /// Threshold accepting (Dueck and Scheuer, J. Comput. Phys. 90, 1990): a change that makes the
  /// schedule worse by less than a threshold is kept; the threshold falls to zero.
  void walk(Judged present, std::uint64_t work, double weight, RandomStream draw) {
    const std::uint64_t from = work_;
    const std::size_t most_tries = changes_per_move * instance_.moves.size();
    for (std::size_t tries = 0; tries < most_tries && work_ < from + work; ++tries) {
      const auto [failed, late, by, pauses, by_pause, makespan, downtime] = rank(*best_);
      if (failed == 0 && !late && !pauses &&
          makespan <= best_->schedule.placed->bound.time * good_enough) {
        return;
      }
      const double done = std::max(static_cast<double>(work_ - from) / static_cast<double>(work),
                                   static_cast<double>(tries) / static_cast<double>(most_tries));
      const double threshold = first_threshold * (1 - done);
      const ScheduleDraft next = changed(present.schedule, present.forecast, schedules_, draw);
      const auto plan = schedules_.make(next);
      const std::uint64_t before = work_;
      if (!plan) continue;
      auto judged = judge(next, *plan, longest_ * (1 + first_threshold));
      if (work_ == before) return;
      if (!judged) continue;
      const bool keeps = score(*judged, weight) < score(present, weight) + threshold;
      if (keeps) present = *judged;
      consider(std::move(*judged));
    }
  }

  /// The smaller the better: moves that fail, then a makespan that is longer than the references',
  /// then a downtime that is (weighed against the makespan), then both as they are.
  [[nodiscard]] std::tuple<std::size_t, bool, Duration, bool, double, Duration, Duration> rank(
      const Judged& judged) const {
    const Forecast& forecast = judged.forecast;
    const double makespan = judged.is_reference ? 0 : makespan_margin;
    const bool late = forecast.makespan * (1 + makespan) > shortest_;
    const bool pauses = judged.is_reference ? forecast.mean_downtime > least_downtime_
                                            : pause_by_references(forecast) > 1;
    return {forecast.failed,
            late,
            late ? forecast.makespan : Duration::zero(),
            pauses,
            pauses ? score(judged) : 0,
            forecast.makespan,
            forecast.mean_downtime};
  }

  /// The mean downtime in the references', with its margin; 1 if it is the same.
  [[nodiscard]] double pause_by_references(const Forecast& forecast) const {
    if (least_downtime_ == Duration::zero()) {
      return forecast.mean_downtime > least_downtime_ ? 2 : 1;
    }
    const double pause = forecast.mean_downtime / least_downtime_;
    if (pause <= 1 && pause >= 1 - same_downtime) return 1;
    return pause * (1 + downtime_margin(instance_.moves.size()));
  }

  [[nodiscard]] static std::pair<std::size_t, Duration> pace(const Judged& judged) {
    return {judged.forecast.failed, judged.forecast.makespan};
  }

  /// For the way to a good schedule, which may lead over some that are not taken: the makespan in
  /// the references', and what exceeds theirs, weighted.
  [[nodiscard]] double score(const Judged& judged, double weight = strict) const {
    const Forecast& forecast = judged.forecast;
    const double time = forecast.makespan / shortest_;
    const double pause = pause_by_references(forecast);
    return time + weight * (std::max(0.0, pause - 1) + std::max(0.0, time - 1)) +
           100.0 * static_cast<double>(forecast.failed);
  }

  Instance& instance_;
  Schedules schedules_;
  std::map<const PlacedMoves*, Forecaster> forecasters_;  ///< for look-ups only
  std::optional<Judged> best_;                            ///< by `rank`
  std::optional<Judged> promising_;                       ///< by `score`, of those of the rules
  std::optional<Judged> quickest_;                        ///< by `pace`
  Duration shortest_ = Duration::max();                   ///< makespan of the references
  Duration least_downtime_ = Duration::max();             ///< of the references
  Duration longest_ = Duration::max();                    ///< what takes longer cannot be better
  std::uint64_t work_ = 0;
  std::size_t compared_ = 0;
};

}  // namespace

tl::expected<Plan, std::string> plan_by_forecast(const Scenario& scenario, Instance& instance) {
  return Portfolio(scenario, instance).choose();
}

}  // namespace ferry
