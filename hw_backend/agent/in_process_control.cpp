#include "hw_backend/agent/in_process_control.hpp"

#include <optional>

#include "hw_backend/agent/control_inbox.hpp"

namespace ferry::agent {
namespace {

class InProcessControl final : public Control {
 public:
  InProcessControl(std::shared_ptr<ControlInbox> to, std::shared_ptr<ControlInbox> from)
      : to_(std::move(to)), from_(std::move(from)) {}
  bool send(std::span<const std::byte> message) override {
    if (message.empty() || message.size() > largest_control_message) return false;
    return to_->put({message.begin(), message.end()});
  }
  Received receive(TimePoint deadline) override { return from_->next(deadline); }
  void notify() override { from_->notify(); }
  [[nodiscard]] std::uint64_t openings() const override { return from_->openings(); }

 private:
  std::shared_ptr<ControlInbox> to_;
  std::shared_ptr<ControlInbox> from_;
};

class FaultyControl final : public Control {
 public:
  using Hook = std::function<Fate(bool, std::span<const std::byte>)>;
  FaultyControl(Control& inner, Hook hook) : inner_(inner), fate_(std::move(hook)) {}
  bool send(std::span<const std::byte> message) override {
    switch (fate_(true, message)) {
      case Fate::dropped: return true;
      case Fate::repeated: (void)inner_.send(message); break;
      case Fate::delivered: break;
    }
    return inner_.send(message);
  }
  Received receive(TimePoint deadline) override {
    if (again_) {
      Received received{Wake::ready, std::move(*again_)};
      again_.reset();
      return received;
    }
    for (;;) {
      Received received = inner_.receive(deadline);
      if (received.message.empty()) return received;
      switch (fate_(false, received.message)) {
        case Fate::dropped: continue;
        case Fate::repeated: again_ = received.message; return received;
        case Fate::delivered: return received;
      }
    }
  }
  void notify() override { inner_.notify(); }
  [[nodiscard]] std::uint64_t openings() const override { return inner_.openings(); }

 private:
  Control& inner_;
  Hook fate_;
  std::optional<std::vector<std::byte>> again_;
};

}  // namespace

std::pair<std::unique_ptr<Control>, std::unique_ptr<Control>> make_in_process_control(
    Executor& executor) {
  const auto one = std::make_shared<ControlInbox>(executor);
  const auto other = std::make_shared<ControlInbox>(executor);
  one->opened();
  other->opened();
  return {std::make_unique<InProcessControl>(one, other),
          std::make_unique<InProcessControl>(other, one)};
}

std::unique_ptr<Control> make_faulty_control(
    Control& inner, std::function<Fate(bool sent, std::span<const std::byte> message)> fate) {
  return std::make_unique<FaultyControl>(inner, std::move(fate));
}

}  // namespace ferry::agent
