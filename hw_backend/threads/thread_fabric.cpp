#include "hw_backend/threads/thread_fabric.hpp"

#include <deque>
#include <string>
#include <tuple>
#include <utility>

#include "core/units/check.hpp"

namespace ferry {
namespace {

/// Messages that wait at one receiver before its senders block.
constexpr std::size_t longest_queue = 256;

std::string endpoint_name(EndpointAddress address) {
  return "endpoint " + std::to_string(address.value);
}

Failure ended(Wake wake, const std::string& what) {
  return wake == Wake::cancelled ? Failure{FailureKind::cancelled, what + " was cancelled"}
                                 : Failure{FailureKind::timed_out, what + " passed its deadline"};
}

}  // namespace

/// The receiving half of an endpoint. It outlives the endpoint while senders still block on it.
class ThreadFabric::Inbox {
 public:
  explicit Inbox(Executor& executor)
      : mutex_(executor.make_mutex()),
        has_message_(executor.make_condition()),
        has_room_(executor.make_condition()) {}

  Result<> push(EndpointAddress to, Message message, TimePoint deadline) {
    const Lock lock(*mutex_);
    while (!closed_ && queue_.size() >= longest_queue) {
      const Wake wake = has_room_->wait_until(*mutex_, deadline);
      if (wake != Wake::ready) {
        return tl::unexpected(ended(wake, "a message to " + endpoint_name(to)));
      }
    }
    if (closed_) {
      return failure(FailureKind::refused, endpoint_name(to) + " is closed");
    }
    // Numbered and queued under one lock: the order of posting is the order of arrival.
    message.sequence = next_sequence_[message.from]++;
    queue_.push_back(std::move(message));
    has_message_->notify_one();
    return {};
  }

  Result<Message> pop(EndpointAddress self, TimePoint deadline) {
    const Lock lock(*mutex_);
    while (queue_.empty()) {
      const Wake wake = has_message_->wait_until(*mutex_, deadline);
      if (wake != Wake::ready) {
        return tl::unexpected(ended(wake, "a receive at " + endpoint_name(self)));
      }
    }
    Message message = std::move(queue_.front());
    queue_.pop_front();
    has_room_->notify_one();
    return message;
  }

  void close() {
    const Lock lock(*mutex_);
    closed_ = true;
    queue_.clear();
    has_room_->notify_all();
  }

 private:
  std::unique_ptr<Mutex> mutex_;
  std::unique_ptr<Condition> has_message_;
  std::unique_ptr<Condition> has_room_;
  std::deque<Message> queue_;
  std::map<EndpointAddress, std::uint64_t> next_sequence_;
  bool closed_ = false;
};

/// Who is there. Shared with the endpoints, which may be destroyed after the fabric.
class ThreadFabric::Directory {
 public:
  explicit Directory(Executor& executor) : executor_(executor), mutex_(executor.make_mutex()) {}

  std::pair<EndpointAddress, std::shared_ptr<Inbox>> add() {
    auto inbox = std::make_shared<Inbox>(executor_);
    const Lock lock(*mutex_);
    const EndpointAddress address{next_address_++};
    inboxes_.emplace(address, inbox);
    return {address, std::move(inbox)};
  }
  void remove(EndpointAddress address) {
    const Lock lock(*mutex_);
    inboxes_.erase(address);
  }
  std::shared_ptr<Inbox> find(EndpointAddress address) const {
    const Lock lock(*mutex_);
    const auto found = inboxes_.find(address);
    return found == inboxes_.end() ? nullptr : found->second;
  }

 private:
  Executor& executor_;
  std::unique_ptr<Mutex> mutex_;
  std::map<EndpointAddress, std::shared_ptr<Inbox>> inboxes_;
  std::uint32_t next_address_ = 1;
};

class ThreadFabric::QueueEndpoint final : public Endpoint {
 public:
  explicit QueueEndpoint(std::shared_ptr<Directory> directory) : directory_(std::move(directory)) {
    std::tie(address_, inbox_) = directory_->add();
  }
  ~QueueEndpoint() override {
    directory_->remove(address_);
    inbox_->close();
  }

  [[nodiscard]] EndpointAddress address() const override { return address_; }

  Result<> post(EndpointAddress to, Bytes size, std::vector<std::byte> payload,
                TimePoint deadline) override {
    check(payload.empty() || payload.size() == size.count(),
          "a message's payload is empty or of the message's size");
    const std::shared_ptr<Inbox> inbox = directory_->find(to);
    if (!inbox) return failure(FailureKind::refused, "there is no " + endpoint_name(to));
    return inbox->push(to, Message{address_, 0, size, std::move(payload)}, deadline);
  }

  Result<Message> receive(TimePoint deadline) override { return inbox_->pop(address_, deadline); }

 private:
  std::shared_ptr<Directory> directory_;
  EndpointAddress address_;
  std::shared_ptr<Inbox> inbox_;
};

ThreadFabric::ThreadFabric(Executor& executor)
    : directory_(std::make_shared<Directory>(executor)) {}
ThreadFabric::~ThreadFabric() = default;

std::unique_ptr<Endpoint> ThreadFabric::open(HostId /*host*/, const TransportProfile& /*profile*/) {
  return std::make_unique<QueueEndpoint>(directory_);
}

}  // namespace ferry
