#include "hw_backend/threads/thread_fabric.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <tuple>
#include <utility>
#include <vector>

#include "core/units/check.hpp"
#include "hw_backend/threads/thread_wait_set.hpp"

namespace ferry {
namespace {

std::optional<DeviceKind> device_of(Channel channel) {
  switch (channel) {
    case Channel::sriov:
    case Channel::sriov_loopback:
    case Channel::passthrough: return DeviceKind::virtual_function;
    case Channel::ivshmem: return DeviceKind::ivshmem;
    case Channel::shm:
    case Channel::cma:
    case Channel::native: break;
  }
  return std::nullopt;
}

template <class AnySlice>
std::size_t total_size(std::span<const AnySlice> slices) {
  std::size_t size = 0;
  for (const AnySlice& slice : slices) size += slice.size;
  return size;
}

/// Copies from `offset` of one list of pieces on into another; phantom bytes are passed over.
void copy(std::span<const ConstSlice> from, std::size_t offset, std::span<const Slice> into) {
  std::size_t piece = 0;
  for (const Slice& target : into) {
    for (std::size_t done = 0; done < target.size;) {
      while (offset >= from[piece].size) offset -= from[piece++].size;
      const std::size_t size = std::min(target.size - done, from[piece].size - offset);
      if (target.data != nullptr && from[piece].data != nullptr) {
        std::memcpy(target.data + done, from[piece].data + offset, size);
      }
      done += size;
      offset += size;
    }
  }
}

}  // namespace

/// The receiving half of an endpoint. It outlives the endpoint while senders still use it.
class ThreadFabric::Inbox {
 public:
  struct Item {
    Arrival arrival;
    std::vector<std::byte> body;
  };

  Inbox(const RankPlace& its_place, ThreadWaitSet& wait_set)
      : place(its_place), wait_set_(&wait_set) {
    wait_set.add(size_);
  }

  /// False: no room; then `sender` is told when there is some.
  bool push(Item item, const std::shared_ptr<Inbox>& sender) {
    const std::lock_guard guard(mutex_);
    if (wait_set_ == nullptr) return true;
    if (item.arrival.kind == Arrival::Kind::packet) {
      Line& line = lines_[{item.arrival.from, item.arrival.channel}];
      if (line.size == room) {
        line.sender = sender;
        return false;
      }
      ++line.size;
    }
    items_.push_back(std::move(item));
    size_ = items_.size();
    wait_set_->notify();
    return true;
  }

  [[nodiscard]] bool pop(Item& item) {
    std::shared_ptr<Inbox> waiting;
    {
      const std::lock_guard guard(mutex_);
      if (items_.empty()) return false;
      item = std::move(items_.front());
      items_.pop_front();
      size_ = items_.size();
      waiting = give_place(item);
    }
    if (waiting) waiting->notify();
    return true;
  }

  void drop_packets(EndpointAddress from, Channel channel) {
    std::shared_ptr<Inbox> waiting;
    {
      const std::lock_guard guard(mutex_);
      std::erase_if(items_, [&](const Item& item) {
        return item.arrival.kind == Arrival::Kind::packet && item.arrival.from == from &&
               item.arrival.channel == channel;
      });
      size_ = items_.size();
      Line& line = lines_[{from, channel}];
      line.size = 0;
      waiting = std::exchange(line.sender, nullptr);
    }
    if (waiting) waiting->notify();
  }

  void notify() {
    const std::lock_guard guard(mutex_);
    if (wait_set_ != nullptr) wait_set_->notify();
  }

  void close() {
    std::vector<std::shared_ptr<Inbox>> waiting;
    {
      const std::lock_guard guard(mutex_);
      wait_set_->remove(size_);
      wait_set_ = nullptr;
      items_.clear();
      for (auto& [from, line] : lines_) {
        if (line.sender) waiting.push_back(std::move(line.sender));
      }
      lines_.clear();
    }
    for (const auto& sender : waiting) sender->notify();
  }

  const RankPlace place;

 private:
  struct Line {  // from one sender by one channel
    std::size_t size = 0;
    std::shared_ptr<Inbox> sender;  // that found no room
  };
  std::shared_ptr<Inbox> give_place(const Item& item) {
    if (item.arrival.kind != Arrival::Kind::packet) return nullptr;
    Line& line = lines_[{item.arrival.from, item.arrival.channel}];
    --line.size;
    return std::exchange(line.sender, nullptr);
  }

  std::mutex mutex_;  // held while the wait set is notified, never the other way round
  ThreadWaitSet* wait_set_;
  std::atomic<std::size_t> size_ = 0;
  std::deque<Item> items_;
  std::map<std::pair<EndpointAddress, Channel>, Line> lines_;
};

/// Who is there, and what may be read. Shared with the endpoints, which may be destroyed after the
/// fabric.
class ThreadFabric::Directory {
 public:
  Directory(const Hypervisor& hypervisor, ChannelProfiles of_world)
      : profiles(std::move(of_world)), hypervisor_(hypervisor) {}

  EndpointAddress add(const std::shared_ptr<Inbox>& inbox) {
    const std::lock_guard guard(mutex_);
    const EndpointAddress address{next_address_++};
    inboxes_.emplace(address, inbox);
    return address;
  }
  void remove(EndpointAddress address) {
    const std::lock_guard guard(mutex_);
    inboxes_.erase(address);
    std::erase_if(exposures_, [&](const auto& entry) { return entry.second.owner == address; });
  }
  std::shared_ptr<Inbox> find(EndpointAddress address) const {
    const std::lock_guard guard(mutex_);
    const auto found = inboxes_.find(address);
    return found == inboxes_.end() ? nullptr : found->second;
  }

  MemoryKey expose(EndpointAddress owner, std::span<const ConstSlice> memory) {
    const std::lock_guard guard(mutex_);
    const MemoryKey key{next_key_++};
    exposures_.emplace(key.value, Exposure{owner, {memory.begin(), memory.end()}});
    return key;
  }
  void withdraw(MemoryKey key) {
    const std::lock_guard guard(mutex_);
    exposures_.erase(key.value);
  }
  /// Under the lock that `withdraw` takes: the memory stays until it has been read.
  bool read(EndpointAddress owner, MemoryKey key, std::size_t offset,
            std::span<const Slice> into) const {
    const std::lock_guard guard(mutex_);
    const auto found = exposures_.find(key.value);
    if (found == exposures_.end() || found->second.owner != owner) return false;
    const std::span<const ConstSlice> memory(found->second.memory);
    if (offset + total_size(into) > total_size(memory)) return false;
    copy(memory, offset, into);
    return true;
  }

  [[nodiscard]] bool has_device_of(Channel channel, const RankPlace& place) const {
    const std::optional<DeviceKind> kind = device_of(channel);
    if (!place.vm || !kind) return true;
    const VmInspection now = hypervisor_.inspect(*place.vm);
    return *kind == DeviceKind::ivshmem ? now.ivshmem : now.virtual_function;
  }

  const ChannelProfiles profiles;

 private:
  struct Exposure {
    EndpointAddress owner;
    std::vector<ConstSlice> memory;
  };
  const Hypervisor& hypervisor_;
  mutable std::mutex mutex_;
  std::map<EndpointAddress, std::shared_ptr<Inbox>> inboxes_;
  std::map<std::uint64_t, Exposure> exposures_;
  std::uint32_t next_address_ = 1;
  std::uint64_t next_key_ = 1;
};

class ThreadFabric::QueueEndpoint final : public Endpoint {
 public:
  QueueEndpoint(std::shared_ptr<Directory> directory, const RankPlace& place,
                ThreadWaitSet& wait_set)
      : directory_(std::move(directory)),
        inbox_(std::make_shared<Inbox>(place, wait_set)),
        address_(directory_->add(inbox_)) {}
  ~QueueEndpoint() override {
    directory_->remove(address_);
    inbox_->close();
  }
  QueueEndpoint(const QueueEndpoint&) = delete;
  QueueEndpoint& operator=(const QueueEndpoint&) = delete;

  [[nodiscard]] EndpointAddress address() const override { return address_; }

  [[nodiscard]] bool post(EndpointAddress to, Channel channel, const PacketHeader& header,
                          std::span<const ConstSlice> body) override {
    const std::size_t size = total_size(body);
    check(size <= largest_body(channel), "a packet's body is no larger than its channel carries");
    const std::shared_ptr<Inbox> receiver = directory_->find(to);
    if (!receiver || !reaches(channel, *receiver)) return true;  // lost
    Inbox::Item item;
    item.arrival.channel = channel;
    item.arrival.from = address_;
    item.arrival.header = header;
    item.arrival.body_size = size;
    const bool phantom = std::ranges::any_of(
        body, [](const ConstSlice& slice) { return slice.data == nullptr && slice.size > 0; });
    for (const ConstSlice& slice : body) {
      if (!phantom) item.body.insert(item.body.end(), slice.data, slice.data + slice.size);
    }
    return receiver->push(std::move(item), inbox_);
  }

  [[nodiscard]] std::size_t largest_body(Channel channel) const override {
    return profile_of(channel).largest_packet.count();
  }

  [[nodiscard]] const Arrival* poll() override {
    while (inbox_->pop(polled_)) {
      Arrival& arrival = polled_.arrival;
      if (!directory_->has_device_of(arrival.channel, inbox_->place)) {
        if (arrival.kind == Arrival::Kind::packet) continue;
        arrival.kind = Arrival::Kind::read_failed;
      }
      arrival.body = polled_.body;
      return &arrival;
    }
    return nullptr;
  }

  [[nodiscard]] MemoryKey expose(Channel channel, std::span<const ConstSlice> memory) override {
    check(profile_of(channel).reads, "memory is exposed only by channels that read");
    return directory_->expose(address_, memory);
  }
  void withdraw(MemoryKey key) override { directory_->withdraw(key); }

  void read(EndpointAddress from, Channel channel, MemoryKey key, std::size_t offset,
            std::span<const Slice> into, std::uint64_t cookie) override {
    check(profile_of(channel).reads, "a channel reads only if its profile says so");
    const std::shared_ptr<Inbox> owner = directory_->find(from);
    Inbox::Item item;
    item.arrival.channel = channel;
    item.arrival.from = from;
    item.arrival.cookie = cookie;
    item.arrival.body_size = total_size(into);
    const bool done =
        owner && reaches(channel, *owner) && directory_->read(from, key, offset, into);
    item.arrival.kind = done ? Arrival::Kind::read_done : Arrival::Kind::read_failed;
    static_cast<void>(inbox_->push(std::move(item), inbox_));
  }

  void connect(EndpointAddress /*to*/, Channel /*channel*/) override {}
  void disconnect(EndpointAddress to, Channel channel) override {
    inbox_->drop_packets(to, channel);
  }

 private:
  [[nodiscard]] const TransportProfile& profile_of(Channel channel) const {
    const TransportProfile* const profile = directory_->profiles.find(channel, false);
    check(profile != nullptr, "only channels are used for which the world has a profile");
    return *profile;
  }
  [[nodiscard]] bool reaches(Channel channel, const Inbox& other) const {
    return directory_->has_device_of(channel, inbox_->place) &&
           directory_->has_device_of(channel, other.place);
  }

  std::shared_ptr<Directory> directory_;
  std::shared_ptr<Inbox> inbox_;
  EndpointAddress address_;
  Inbox::Item polled_;
};

ThreadFabric::ThreadFabric(ThreadExecutor& executor, const Hypervisor& hypervisor,
                           ChannelProfiles profiles)
    : directory_(std::make_shared<Directory>(hypervisor, std::move(profiles))),
      executor_(executor) {}
ThreadFabric::~ThreadFabric() = default;

std::unique_ptr<WaitSet> ThreadFabric::make_wait_set() {
  return std::make_unique<ThreadWaitSet>(executor_);
}

std::unique_ptr<Endpoint> ThreadFabric::open(const RankPlace& place, WaitSet& wait_set) {
  auto* const ours = dynamic_cast<ThreadWaitSet*>(&wait_set);
  check(ours != nullptr, "an endpoint's wait set is of the same fabric");
  return std::make_unique<QueueEndpoint>(directory_, place, *ours);
}

const TransportProfile* ThreadFabric::profile(Channel channel, bool same_socket) const {
  return directory_->profiles.find(channel, same_socket);
}

}  // namespace ferry
