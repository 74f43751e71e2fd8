#include "controller/admission.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/ports/randomness.hpp"
#include "tests/contract/small_cluster.hpp"

namespace ferry {
namespace {

constexpr HostId a{0}, b{1}, c{2}, d{3};
const TimePoint start;

/// Waves over a small cluster, of which tests say what they need.
class AdmissionTest : public testing::Test {
 protected:
  void make(const Limits& limits) {
    limiter.emplace(cluster.instance, limits);
    inventory.emplace(cluster.instance);
    admission.emplace(cluster.instance, *limiter, *inventory,
                      [this](std::size_t wave) { return waves[wave]; });
  }
  /// A wave of VMs that move to `to`; returns its number.
  std::size_t wave(std::vector<std::uint32_t> vms, HostId to, TimePoint not_before = start) {
    std::vector<AdmissionMove> moves;
    for (const std::uint32_t vm : vms) {
      MoveSpec spec;
      spec.vm = VmId{vm};
      cluster.instance.moves.push_back(spec);
      moves.push_back({.move = cluster.instance.moves.size() - 1,
                       .from = cluster.instance.vms[vm].host,
                       .to = to});
    }
    waves.push_back(std::move(moves));
    admission->add(waves.size() - 1, not_before);
    return waves.size() - 1;
  }
  std::vector<std::size_t> open_all(TimePoint now = start) {
    std::vector<std::size_t> opened;
    while (const auto wave = admission->next(now)) opened.push_back(*wave);
    return opened;
  }
  void end(std::size_t wave) {
    for (const AdmissionMove& move : waves[wave]) {
      const MoveSpec& spec = cluster.instance.moves[move.move];
      inventory->release(spec.vm, move.from);
      limiter->give(spec, move.from, move.to);
      admission->move_ended(spec, move.from, move.to);
    }
  }

  /// 24 VMs, six on each of four hosts with room for eight.
  static SmallCluster four_hosts() {
    SmallCluster cluster = small_cluster();
    Instance& instance = cluster.instance;
    const VmSpec vm = instance.vms[0];
    HostSpec host = instance.hosts[0];
    host.memory = vm.memory * 8;
    host.cores = 1000;
    host.virtual_functions = 100;
    host.ivshmem = vm.ivshmem * 100;
    instance.hosts.assign(4, host);
    instance.vms.assign(24, vm);
    instance.moves.clear();
    for (std::uint32_t i = 0; i < 24; ++i) instance.vms[i].host = HostId{i / 6};
    return cluster;
  }

  SmallCluster cluster = four_hosts();
  std::vector<std::vector<AdmissionMove>> waves;
  std::optional<Limiter> limiter;
  std::optional<Inventory> inventory;
  std::optional<Admission> admission;
};

using Opened = std::vector<std::size_t>;

TEST_F(AdmissionTest, opens_in_the_order_of_numbers_whatever_can_open) {
  make({.cluster = {}, .host_out = 1, .host_in = {}, .link = {}});
  wave({0}, b);  // 0
  wave({1}, c);  // 1: a sends one already
  wave({6}, c);  // 2
  EXPECT_EQ(open_all(), (Opened{0, 2}));
  EXPECT_EQ(open_all(), (Opened{}));
  end(2);
  EXPECT_EQ(open_all(), (Opened{}));
  end(0);
  EXPECT_EQ(open_all(), (Opened{1}));
}

TEST_F(AdmissionTest, a_wave_is_all_or_nothing) {
  make({.cluster = 2, .host_out = {}, .host_in = {}, .link = {}});
  wave({0}, b);
  wave({1, 2}, c);
  wave({3}, d);
  EXPECT_EQ(open_all(), (Opened{0, 2}));
  end(0);
  EXPECT_EQ(open_all(), (Opened{}));
  EXPECT_FALSE(inventory->holds(VmId{1}, c));
  end(2);
  EXPECT_EQ(open_all(), (Opened{1}));
}

TEST_F(AdmissionTest, waits_for_its_time) {
  make({});
  const TimePoint later = start + Duration::seconds(2);
  wave({0}, b, later);
  EXPECT_EQ(open_all(), (Opened{}));
  EXPECT_EQ(admission->next_time(), later);
  EXPECT_FALSE(admission->has_candidates(start));
  EXPECT_TRUE(admission->has_candidates(later));
  EXPECT_EQ(open_all(later), (Opened{0}));
  EXPECT_EQ(admission->next_time(), TimePoint::never());
}

TEST_F(AdmissionTest, room_that_a_leaving_vm_gives_back_is_offered) {
  make({});
  wave({6}, a);
  wave({7}, a);
  wave({8}, a);  // a is full: six and two more
  wave({0}, d);
  EXPECT_EQ(open_all(), (Opened{0, 1, 3}));
  end(3);
  EXPECT_EQ(open_all(), (Opened{2}));
}

TEST_F(AdmissionTest, a_vm_that_moves_twice_takes_its_turn) {
  make({});
  wave({0}, b);
  wave({0}, c);
  waves[1][0].waits_for = cluster.instance.moves[waves[1][0].move].vm;
  EXPECT_EQ(open_all(), (Opened{0}));
  waves[1][0] = {.move = waves[1][0].move, .from = b, .to = c};
  end(0);
  EXPECT_EQ(open_all(), (Opened{1}));
}

/// The rule said plainly: look at every wave that has not opened, from the lowest number on.
class PlainAdmission {
 public:
  explicit PlainAdmission(Limiter& limiter, Inventory& inventory)
      : limiter_(limiter), inventory_(inventory) {}
  bool take(const Instance& instance, const std::vector<AdmissionMove>& moves) {
    std::size_t taken = 0;
    for (; taken < moves.size(); ++taken) {
      const AdmissionMove& move = moves[taken];
      const MoveSpec& spec = instance.moves[move.move];
      if (!limiter_.admits(spec, move.from, move.to) || !inventory_.fits(spec.vm, move.to)) break;
      limiter_.take(spec, move.from, move.to);
      inventory_.reserve(spec.vm, move.to);
    }
    if (taken == moves.size()) return true;
    for (std::size_t i = 0; i < taken; ++i) {
      const MoveSpec& spec = instance.moves[moves[i].move];
      limiter_.give(spec, moves[i].from, moves[i].to);
      inventory_.release(spec.vm, moves[i].to);
    }
    return false;
  }

 private:
  Limiter& limiter_;
  Inventory& inventory_;
};

TEST_F(AdmissionTest, opens_what_looking_at_every_wave_would_open) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    RandomStream random(seed, "admission");
    const auto limit = [&](std::uint64_t most) -> Limit {
      const auto value = static_cast<std::uint32_t>(random.next_below(most + 1));
      return value == 0 ? Limit{} : Limit{value};
    };
    const Limits limits{
        .cluster = limit(5), .host_out = limit(3), .host_in = limit(3), .link = limit(3)};
    cluster = four_hosts();
    waves.clear();
    make(limits);
    std::vector<std::uint32_t> vms(24);
    for (std::uint32_t i = 0; i < 24; ++i) vms[i] = i;
    for (std::size_t i = 24; i > 1; --i) std::swap(vms[i - 1], vms[random.next_below(i)]);
    for (std::size_t i = 0; i < vms.size();) {
      const std::size_t size = std::min<std::size_t>(1 + random.next_below(3), vms.size() - i);
      wave({vms.begin() + static_cast<std::ptrdiff_t>(i),
            vms.begin() + static_cast<std::ptrdiff_t>(i + size)},
           HostId{static_cast<std::uint32_t>(random.next_below(4))});
      i += size;
    }
    // VMs that already are where they should go need no second reservation: leave them out.
    for (std::vector<AdmissionMove>& moves : waves) {
      std::erase_if(moves, [](const AdmissionMove& move) { return move.from == move.to; });
    }

    Limiter plain_limiter(cluster.instance, limits);
    Inventory plain_inventory(cluster.instance);
    PlainAdmission plain(plain_limiter, plain_inventory);
    std::vector<bool> opened(waves.size());
    std::vector<std::size_t> running;
    for (;;) {
      Opened expected;
      for (std::size_t i = 0; i < waves.size(); ++i) {
        if (opened[i] || !plain.take(cluster.instance, waves[i])) continue;
        opened[i] = true;
        expected.push_back(i);
      }
      ASSERT_EQ(open_all(), expected) << "seed " << seed;
      running.insert(running.end(), expected.begin(), expected.end());
      if (running.empty()) break;
      const std::size_t which = random.next_below(running.size());
      const std::size_t ended = running[which];
      running.erase(running.begin() + static_cast<std::ptrdiff_t>(which));
      end(ended);
      for (const AdmissionMove& move : waves[ended]) {
        const MoveSpec& spec = cluster.instance.moves[move.move];
        plain_inventory.release(spec.vm, move.from);
        plain_limiter.give(spec, move.from, move.to);
      }
    }
  }
}

}  // namespace
}  // namespace ferry
