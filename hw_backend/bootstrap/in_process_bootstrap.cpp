#include "hw_backend/bootstrap/in_process_bootstrap.hpp"

#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <random>
#include <utility>

#include "core/units/check.hpp"

namespace ferry {

struct BootstrapHub::State {
  explicit State(std::uint32_t ranks) : size(ranks) {}
  const std::uint32_t size;
  std::mutex mutex;
  std::condition_variable published;
  std::map<RankId, std::shared_ptr<Mailbox>> boxes;
  std::map<std::pair<RankId, std::string>, std::string> values;
  std::uint32_t next = 0;
  double lost_share = 0;
  std::mt19937_64 random;
};

class BootstrapHub::End final : public Bootstrap {
 public:
  End(std::shared_ptr<BootstrapHub> hub, RankId rank, std::shared_ptr<Mailbox> box)
      : hub_(std::move(hub)), rank_(rank), box_(std::move(box)) {}
  ~End() override {
    const std::lock_guard guard(hub_->state_->mutex);
    hub_->state_->boxes.erase(rank_);
  }
  End(const End&) = delete;
  End& operator=(const End&) = delete;
  [[nodiscard]] RankId rank() const override { return rank_; }
  [[nodiscard]] std::uint32_t size() const override { return hub_->state_->size; }

  void publish(std::string key, std::string value) override {
    State& state = *hub_->state_;
    const std::lock_guard guard(state.mutex);
    state.values[{rank_, std::move(key)}] = std::move(value);
    state.published.notify_all();
  }

  [[nodiscard]] Result<std::string> lookup(RankId of, std::string_view key,
                                           Duration patience) override {
    State& state = *hub_->state_;
    std::unique_lock lock(state.mutex);
    const std::pair wanted(of, std::string(key));
    const auto is_there = [&] { return state.values.contains(wanted); };
    const std::chrono::nanoseconds most(patience.count_nanoseconds());
    if (state.published.wait_for(lock, most, is_there)) return state.values[wanted];
    return failure(FailureKind::timed_out, fmt::format("rank {} has not published '{}' within {}",
                                                       of.index, key, to_text(patience)));
  }

  void send(RankId to, BootstrapTopic topic, std::span<const std::byte> message) override {
    check(message.size() <= largest_bootstrap_message, "a message of the bootstrap is small");
    const std::shared_ptr<Mailbox> box = box_of(to);
    if (box != nullptr) box->put(topic, {rank_, {message.begin(), message.end()}});
  }
  [[nodiscard]] std::optional<BootstrapMessage> receive(BootstrapTopic topic) override {
    return box_->take(topic);
  }
  void notify_of(BootstrapTopic topic, WaitSet* wait_set) override {
    box_->notify_of(topic, wait_set);
  }

 private:
  [[nodiscard]] std::shared_ptr<Mailbox> box_of(RankId to) {
    State& state = *hub_->state_;
    const std::lock_guard guard(state.mutex);
    const auto found = state.boxes.find(to);
    if (found == state.boxes.end()) return nullptr;
    const bool lost = state.lost_share > 0 &&
                      std::generate_canonical<double, 53>(state.random) < state.lost_share;
    return lost ? nullptr : found->second;
  }

  std::shared_ptr<BootstrapHub> hub_;
  RankId rank_;
  std::shared_ptr<Mailbox> box_;
};

BootstrapHub::BootstrapHub(std::uint32_t size) : state_(std::make_unique<State>(size)) {}
BootstrapHub::~BootstrapHub() = default;

std::shared_ptr<BootstrapHub> BootstrapHub::make(std::uint32_t size) {
  return std::shared_ptr<BootstrapHub>(new BootstrapHub(size));
}

std::unique_ptr<Bootstrap> BootstrapHub::join(RankId rank) {
  const auto box = std::make_shared<Mailbox>();
  const std::lock_guard guard(state_->mutex);
  check(rank.index < state_->size, "a rank beyond those that the hub was made for");
  check(state_->boxes.emplace(rank, box).second, "a rank has one end of the bootstrap");
  state_->next = std::max(state_->next, rank.index + 1);
  return std::make_unique<End>(shared_from_this(), rank, box);
}

std::unique_ptr<Bootstrap> BootstrapHub::join_next() {
  RankId rank;
  {
    const std::lock_guard guard(state_->mutex);
    rank.index = state_->next++;
  }
  return join(rank);
}

void BootstrapHub::lose(double share, std::uint64_t seed) {
  const std::lock_guard guard(state_->mutex);
  state_->lost_share = share;
  state_->random.seed(seed);
}

}  // namespace ferry
