#include "controller/planner/portfolio.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "controller/planner/forecast.hpp"
#include "controller/planner/link_slots.hpp"
#include "controller/planner/lower_bound.hpp"
#include "controller/planner/ordering.hpp"
#include "controller/planner/path_bandwidth.hpp"
#include "controller/planner/placement.hpp"
#include "controller/planner/precedence.hpp"
#include "controller/planner/waves.hpp"
#include "core/units/check.hpp"

namespace ferry {
namespace {

constexpr std::array<std::uint32_t, 4> uniform_caps = {1, 2, 4, 8};
/// Of the places that keep a link busy; none: no limit.
constexpr std::array<std::optional<double>, 7> factors = {1.0, 0.5, 1.5, 2.0, 3.0, 5.0,
                                                          std::nullopt};
constexpr std::array<double, 3> refills = {1.0, 0.5, 0.25};

/// All forecasts of one plan together: looks at links and events, of about 10 ns each.
constexpr std::uint64_t most_work = 100'000'000;
/// Up to here shares are exact; beyond, computed at most so many times in the lower bound.
constexpr std::size_t exact_moves = 2'000;
constexpr double shares_in_bound = 1'000;

/// One placement with what follows from it alone.
struct Placed {
  std::vector<PlacedMove> moves;
  std::vector<MoveSpec> detours;
  std::vector<PlannedMove> planned;
  std::vector<std::size_t> order;  ///< of the placement
  std::vector<MoveLoad> loads;
  LowerBound bound;
  mutable std::optional<Forecaster> forecaster;  ///< once needed
};

/// How a schedule is made.
struct Rule {
  const Placed* placed = nullptr;
  std::optional<OrderRule> order;  ///< none: by name
  std::optional<double> factor;    ///< of places on links; none: no limit
  double refill = 1;
  std::optional<std::uint32_t> cap;

  [[nodiscard]] std::string text() const {
    std::string text = !order                                    ? "by name"
                       : *order == OrderRule::most_loaded_link ? "the most loaded links first"
                                                                 : "the longest endings first";
    if (cap) text += fmt::format(", {} out of and into a host", *cap);
    if (factor) text += fmt::format(", {:g} times what keeps a link busy", *factor);
    if (refill < 1) text += fmt::format(", refilled at {:g} %", 100 * refill);
    return text;
  }
};

struct Judged {
  Rule rule;
  Forecast forecast;
};

/// A wave of several moves needs their places all at once.
void widen_slots(Plan& plan, const Instance& instance) {
  for (const PlannedWave& wave : plan.waves) {
    if (wave.moves.size() == 1) continue;
    std::map<LinkId, std::uint32_t> users;
    for (const std::size_t move : wave.moves) {
      for (const LinkId link : plan.links->route(instance.moves[move].transfer.transport,
                                                 plan.moves[move].from, plan.moves[move].to)) {
        std::uint32_t& slots = plan.link_slots[link.index];
        slots = std::max(slots, ++users[link]);
      }
    }
  }
}

void lower(std::optional<std::uint32_t>& limit, std::uint32_t cap) {
  limit = std::min(limit.value_or(cap), cap);
}

class Portfolio {
 public:
  Portfolio(const Scenario& scenario, Instance& instance)
      : scenario_(scenario),
        instance_(instance),
        asked_(instance.moves.size()),
        links_(std::make_shared<LinkMap>(instance)) {}

  tl::expected<Plan, std::string> choose() {
    Placed by_path;
    if (auto placed = place(by_path, {.planned = true}); !placed) {
      return tl::unexpected(placed.error());
    }
    const Rule base{&by_path, OrderRule::most_loaded_link, factors.front(), refills.front(), {}};
    use(by_path);
    auto plan = make(base);
    if (!plan) return plan;
    judge(base, *plan);

    // Where only a planned placement finds room for all, the references have it too.
    Placed as_asked;
    const bool has_own = place(as_asked, {}).has_value();
    compare_references(has_own ? as_asked : by_path);
    Placed by_destination;
    const bool other = place(by_destination, {.planned = true, .by_destination = true}).has_value();
    for (const double refill : refills) {
      for (const std::optional<double>& factor : factors) {
        if (!factor && refill < 1) continue;
        for (const OrderRule order : {OrderRule::most_loaded_link, OrderRule::longest_ending}) {
          try_rule({&by_path, order, factor, refill, {}});
          if (other) try_rule({&by_destination, order, factor, refill, {}});
        }
      }
    }
    const Rule taken = chosen_ ? judged_[*chosen_].rule : base;
    use(*taken.placed);
    plan = make(taken);
    check(plan.has_value(), "a schedule that was forecast can be made again");
    if (chosen_) write(judged_[*chosen_].forecast, *plan);
    plan->schedule = taken.text();
    plan->schedules_compared = compared_;
    plan->least_makespan = taken.placed->bound.time;
    plan->bounded_by = bounded_by(taken.placed->bound);
    return plan;
  }

  static void write(const Forecast& forecast, Plan& plan) {
    for (PlannedMove& move : plan.moves) {
      move.predicted_start = forecast.moves[move.move].start;
      move.predicted_end = forecast.moves[move.move].end;
    }
    plan.predicted_makespan = forecast.makespan;
    plan.predicted_downtime = forecast.mean_downtime;
  }

 private:
  /// Gives the instance the moves of this placement.
  void use(const Placed& placed) {
    instance_.moves.erase(instance_.moves.begin() + static_cast<std::ptrdiff_t>(asked_),
                          instance_.moves.end());
    instance_.moves.insert(instance_.moves.end(), placed.detours.begin(), placed.detours.end());
  }

  tl::expected<void, std::string> place(Placed& placed, const PlacementOptions& options) {
    use(placed);
    std::vector<std::size_t> order = order_of_moves(instance_);
    if (options.by_destination) {
      // The largest find the emptiest hosts. Those that are dealt out in their order keep it.
      std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        const MoveSpec& first = instance_.moves[a];
        const MoveSpec& second = instance_.moves[b];
        if (first.at.at != second.at.at) return first.at.at < second.at.at;
        const bool keep = first.place == Place::in_order || second.place == Place::in_order;
        if (keep) return first.place == Place::in_order && second.place != Place::in_order;
        return instance_.vms[first.vm.index].memory > instance_.vms[second.vm.index].memory;
      });
    }
    auto moves = place_moves(instance_, scenario_.platform, *links_, order, options);
    if (!moves) return tl::unexpected(moves.error());
    placed.moves = std::move(*moves);
    placed.detours.assign(instance_.moves.begin() + static_cast<std::ptrdiff_t>(asked_),
                          instance_.moves.end());
    placed.planned.resize(instance_.moves.size());
    placed.loads.resize(instance_.moves.size());
    for (const PlacedMove& move : placed.moves) {
      const MoveSpec& spec = instance_.moves[move.move];
      placed.order.push_back(move.move);
      placed.planned[move.move] = {
          .move = move.move,
          .from = move.from,
          .to = move.to,
          .predicted_total = predict_total(instance_, scenario_.platform, spec),
          .predicted_start = {},
          .predicted_end = {}};
      placed.loads[move.move] =
          load_of(instance_, scenario_.platform, *links_, spec, move.from, move.to);
    }
    placed.bound = lower_bound(*links_, placed.loads);
    return {};
  }

  [[nodiscard]] std::string bounded_by(const LowerBound& bound) const {
    return bound.link ? fmt::format("which {} takes", links_->name(*bound.link, instance_))
                      : "which its longest move takes";
  }

  /// `use` was called for its placement.
  tl::expected<Plan, std::string> make(const Rule& rule) {
    Plan plan;
    plan.order = scenario_.schedule.order;
    plan.limits = scenario_.schedule.limits;
    plan.stagger = scenario_.schedule.stagger;
    plan.links = links_;
    plan.moves = rule.placed->planned;
    if (rule.cap) {
      lower(plan.limits.host_out, *rule.cap);
      lower(plan.limits.host_in, *rule.cap);
    }
    std::vector<std::size_t> order = rule.placed->order;
    if (rule.order) {
      order = *rule.order == OrderRule::most_loaded_link
                  ? order_by_load(*links_, rule.placed->loads, order)
                  : order_by_ending(rule.placed->loads, order);
      // Starts are kept; within one VM and time, so is the order of its moves.
      keep_turns(instance_, rule.placed->moves, order);
    }
    plan.waves = form_waves(scenario_.schedule.batch, instance_, order);
    if (rule.factor) {
      plan.link_slots = link_slots(*links_, rule.placed->loads, {.factor = *rule.factor});
      plan.link_refill = Ratio(rule.refill);
      widen_slots(plan, instance_);
    }
    if (auto kept = keep_precedence(instance_, rule.placed->moves, true, plan.waves); !kept) {
      return tl::unexpected(kept.error());
    }
    return plan;
  }

  /// Adds the forecast of a schedule to `judged_`, unless it was given up.
  void judge(const Rule& rule, const Plan& plan) {
    if (work_ >= most_work) return;
    std::optional<Forecaster>& forecaster = rule.placed->forecaster;
    if (!forecaster) {
      forecaster.emplace(instance_, scenario_.platform, *links_, rule.placed->planned);
    }
    ForecastOptions options{.resolution = {}, .most = longest_, .most_work = most_work - work_};
    if (instance_.moves.size() > exact_moves) {
      options.resolution = rule.placed->bound.time * (1 / shares_in_bound);
    }
    Forecast forecast = forecaster->run(plan, options);
    work_ += forecast.work;
    ++compared_;
    if (forecast.complete) judged_.push_back({rule, std::move(forecast)});
  }

  void try_rule(const Rule& rule) {
    if (work_ >= most_work) return;
    use(*rule.placed);
    if (const auto plan = make(rule)) {
      judge(rule, *plan);
      choose_again();
    }
  }

  /// What the scenario's limits, and each uniform cap, would do by themselves.
  void compare_references(const Placed& placed) {
    const std::size_t first = judged_.size();
    const auto add = [&](std::optional<std::uint32_t> cap) {
      const Rule rule{&placed, std::nullopt, std::nullopt, 1, cap};
      use(placed);
      if (const auto plan = make(rule)) judge(rule, *plan);
    };
    add(std::nullopt);
    for (const std::uint32_t cap : uniform_caps) add(cap);
    std::size_t fewest = instance_.moves.size();
    for (const Judged& judged : judged_) fewest = std::min(fewest, judged.forecast.failed);
    std::optional<std::size_t> best_cap;
    for (std::size_t i = first; i < judged_.size(); ++i) {
      const Judged& judged = judged_[i];
      if (judged.forecast.failed > fewest) continue;  // it does not do the same work
      if (!judged.rule.cap) {
        shortest_ = std::min(shortest_, judged.forecast.makespan);
        least_downtime_ = std::min(least_downtime_, judged.forecast.mean_downtime);
      } else if (!best_cap || judged.forecast.makespan < judged_[*best_cap].forecast.makespan) {
        best_cap = i;
      }
    }
    if (best_cap) {
      shortest_ = std::min(shortest_, judged_[*best_cap].forecast.makespan);
      least_downtime_ = std::min(least_downtime_, judged_[*best_cap].forecast.mean_downtime);
    }
    choose_again();
  }

  /// How far a forecast is from what the references do: moves that fail, then makespan and downtime
  /// that are longer than theirs.
  [[nodiscard]] auto rank(const Forecast& forecast) const {
    const bool late = forecast.makespan > shortest_;
    const bool pauses_longer = forecast.mean_downtime > least_downtime_;
    return std::tuple(forecast.failed, late, late ? forecast.makespan : Duration::zero(),
                      pauses_longer, pauses_longer ? forecast.mean_downtime : Duration::zero(),
                      forecast.makespan, forecast.mean_downtime);
  }

  void choose_again() {
    for (std::size_t i = chosen_ ? *chosen_ + 1 : 0; i < judged_.size(); ++i) {
      if (!chosen_ || rank(judged_[i].forecast) < rank(judged_[*chosen_].forecast)) chosen_ = i;
    }
    if (!chosen_) return;
    const Forecast& best = judged_[*chosen_].forecast;
    if (best.failed > 0) return;
    const bool good = best.makespan <= shortest_ && best.mean_downtime <= least_downtime_;
    longest_ = good || shortest_ == Duration::max() ? best.makespan : shortest_;
  }

  const Scenario& scenario_;
  Instance& instance_;
  std::size_t asked_;  ///< moves without detours
  std::shared_ptr<LinkMap> links_;
  std::vector<Judged> judged_;
  std::optional<std::size_t> chosen_;  ///< in `judged_`
  Duration shortest_ = Duration::max();        ///< of the references
  Duration least_downtime_ = Duration::max();  ///< of the references
  Duration longest_ = Duration::max();         ///< longer ones are given up
  std::uint64_t work_ = 0;
  std::size_t compared_ = 0;
};

}  // namespace

tl::expected<Plan, std::string> plan_by_forecast(const Scenario& scenario, Instance& instance) {
  return Portfolio(scenario, instance).choose();
}

void predict(const Scenario& scenario, const Instance& instance, Plan& plan) {
  const Forecaster forecaster(instance, scenario.platform, *plan.links, plan.moves);
  ForecastOptions options;
  if (instance.moves.size() > exact_moves) {
    Duration longest;
    for (const PlannedMove& move : plan.moves) longest = std::max(longest, move.predicted_total);
    options.resolution = longest * (1 / shares_in_bound);
  }
  Portfolio::write(forecaster.run(plan, options), plan);
}

}  // namespace ferry
