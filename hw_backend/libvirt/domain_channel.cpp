#include "hw_backend/libvirt/domain_channel.hpp"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <utility>
#include <vector>

#include "hw_backend/agent/frames.hpp"

namespace ferry {
namespace {

constexpr Duration between_tries = Duration::milliseconds(200);
/// So often a VM is looked for where it should be before every host is asked.
constexpr unsigned tries_where_expected = 5;
/// A daemon that does not close a stream by then is dead, and its migrations fail by themselves.
constexpr Duration close_patience = Duration::milliseconds(3'000);
constexpr std::size_t most_waiting = std::size_t{8} << 20U;
constexpr Duration torn_after = Duration::milliseconds(2'000);
constexpr int would_block = -2;  ///< of virStreamSend and virStreamRecv

/// And not the shell that a migration fills.
bool is_the_vm(const DomainState& state) { return state.active && !state.receives; }

}  // namespace

/// One opening of a channel. Its callback comes from the event loop's thread.
class ChannelStream : public std::enable_shared_from_this<ChannelStream> {
 public:
  static Result<std::shared_ptr<ChannelStream>> open(HostConnections& host,
                                                     const std::string& domain,
                                                     const std::string& channel,
                                                     std::shared_ptr<agent::ControlInbox> inbox) {
    Result<std::shared_ptr<Connection>> connection = host.listening();
    if (!connection) return tl::unexpected(connection.error());
    const virDomainPtr found = virDomainLookupByName((*connection)->get(), domain.c_str());
    if (found == nullptr) return tl::unexpected(last_error("domain " + domain));
    auto made = std::make_shared<ChannelStream>(*connection, std::move(inbox));
    made->stream_ = virStreamNew((*connection)->get(), VIR_STREAM_NONBLOCK);
    const bool opened =
        made->stream_ != nullptr &&
        virDomainOpenChannel(found, channel.c_str(), made->stream_, VIR_DOMAIN_CHANNEL_FORCE) == 0;
    const Failure why = opened ? Failure() : last_error("channel " + channel + " of " + domain);
    virDomainFree(found);
    if (!opened) return tl::unexpected(why);
    auto* const holder = new std::shared_ptr<ChannelStream>(made);
    const int added = virStreamEventAddCallback(
        made->stream_, VIR_STREAM_EVENT_READABLE, on_event, holder,
        [](void* opaque) { delete static_cast<std::shared_ptr<ChannelStream>*>(opaque); });
    if (added < 0) {
      delete holder;
      return tl::unexpected(last_error("channel " + channel + " of " + domain));
    }
    made->has_callback_ = true;
    return made;
  }
  ChannelStream(std::shared_ptr<Connection> connection, std::shared_ptr<agent::ControlInbox> inbox)
      : connection_(std::move(connection)), inbox_(std::move(inbox)) {}
  ~ChannelStream() {
    if (stream_ != nullptr) virStreamFree(stream_);
  }
  ChannelStream(const ChannelStream&) = delete;
  ChannelStream& operator=(const ChannelStream&) = delete;

  /// May ask the daemon: in a thread of `Calls`. Nothing comes after that.
  void close() {
    const std::lock_guard guard(mutex_);
    broken_ = true;
    remove_callback();
    if (stream_ == nullptr) return;
    virStreamAbort(stream_);
    virStreamFree(stream_);
    stream_ = nullptr;
    // libvirt may keep the callback, and with it this, longer than the connection should last.
    connection_.reset();
  }
  [[nodiscard]] bool is_broken() const { return broken_.load(); }

  bool send(std::span<const std::byte> message) {
    const std::lock_guard guard(mutex_);
    if (broken_ || output_.size() + message.size() > most_waiting) return false;
    const std::vector<std::byte> frame = agent::make_frame(message);
    output_.insert(output_.end(), frame.begin(), frame.end());
    want(true);
    return true;
  }
  /// A message whose end does not come is given up.
  void look_behind_torn(TimePoint now) {
    std::vector<std::vector<std::byte>> found;
    {
      const std::lock_guard guard(mutex_);
      if (!reader_.waits() || bytes_ != seen_bytes_) {
        seen_bytes_ = bytes_;
        seen_at_ = now;
        return;
      }
      if (now - seen_at_ < torn_after) return;
      while (reader_.waits()) reader_.give_up();
      found = whole_messages();
    }
    deliver(std::move(found));
  }

 private:
  static void on_event(virStreamPtr /*stream*/, int events, void* opaque) {
    // A copy: the callback may be removed, and its holder freed, meanwhile.
    const std::shared_ptr<ChannelStream> self =
        *static_cast<std::shared_ptr<ChannelStream>*>(opaque);
    self->handle(events);
  }

  void handle(int events) {
    std::vector<std::vector<std::byte>> found;
    {
      const std::lock_guard guard(mutex_);
      if (broken_) return;
      bool good = (events & (VIR_STREAM_EVENT_ERROR | VIR_STREAM_EVENT_HANGUP)) == 0;
      if ((events & VIR_STREAM_EVENT_READABLE) != 0) good = read() && good;
      if (good && (events & VIR_STREAM_EVENT_WRITABLE) != 0) good = write();
      found = whole_messages();
      if (!good) {
        broken_ = true;
        remove_callback();
      }
    }
    deliver(std::move(found));
    if (broken_) inbox_->notify();
  }
  bool read() {
    std::array<char, 65536> bytes;
    for (;;) {
      const int count = virStreamRecv(stream_, bytes.data(), bytes.size());
      if (count == would_block) return true;
      if (count <= 0) return false;
      bytes_ += static_cast<std::uint64_t>(count);
      reader_.take(std::as_bytes(std::span(bytes)).first(static_cast<std::size_t>(count)));
    }
  }
  bool write() {
    std::size_t written = 0;
    bool good = true;
    while (written < output_.size()) {
      const int count =
          virStreamSend(stream_, reinterpret_cast<const char*>(output_.data()) + written,
                        std::min<std::size_t>(output_.size() - written, 65536));
      if (count == would_block) break;
      good = count >= 0;
      if (!good) break;
      written += static_cast<std::size_t>(count);
    }
    output_.erase(output_.begin(), output_.begin() + static_cast<std::ptrdiff_t>(written));
    if (good && output_.empty()) want(false);
    return good;
  }
  void want(bool to_write) {
    if (wants_to_write_ == to_write || !has_callback_) return;
    wants_to_write_ = to_write;
    virStreamEventUpdateCallback(
        stream_, VIR_STREAM_EVENT_READABLE | (to_write ? VIR_STREAM_EVENT_WRITABLE : 0));
  }
  void remove_callback() {
    if (std::exchange(has_callback_, false)) virStreamEventRemoveCallback(stream_);
  }
  std::vector<std::vector<std::byte>> whole_messages() {
    std::vector<std::vector<std::byte>> all;
    while (auto message = reader_.next()) all.push_back(std::move(*message));
    return all;
  }
  void deliver(std::vector<std::vector<std::byte>> messages) {
    for (std::vector<std::byte>& message : messages) {
      if (!message.empty()) (void)inbox_->put(std::move(message));
    }
  }

  std::shared_ptr<Connection> connection_;  ///< of the stream
  std::shared_ptr<agent::ControlInbox> inbox_;
  std::mutex mutex_;
  virStreamPtr stream_ = nullptr;
  bool has_callback_ = false;
  bool wants_to_write_ = false;
  std::atomic<bool> broken_ = false;
  agent::FrameReader reader_;
  std::vector<std::byte> output_;
  std::uint64_t bytes_ = 0;  ///< ever read
  std::uint64_t seen_bytes_ = 0;
  TimePoint seen_at_;
};

/// Of one opening, whose task may leave it before its call ends: who of the two comes last then
/// closes the stream, which would keep its connection for ever.
class ChannelOpening {
 public:
  /// By the call's thread, with what it has made.
  void made(const std::shared_ptr<ChannelStream>& stream) {
    stream_ = stream;
    if (state_.exchange(State::made) == State::abandoned) stream->close();
  }
  /// By the task, instead of taking the stream. What it has to close, if anything.
  std::shared_ptr<ChannelStream> abandon() {
    return state_.exchange(State::abandoned) == State::made ? stream_ : nullptr;
  }

 private:
  enum class State { pending, made, abandoned };
  std::atomic<State> state_ = State::pending;
  std::shared_ptr<ChannelStream> stream_;  ///< written before `made`
};

DomainChannel::DomainChannel(ClusterLink& link, const Whereabouts& whereabouts, VmId vm,
                             std::string channel)
    : link_(link),
      whereabouts_(whereabouts),
      vm_(vm),
      host_(whereabouts.last_known(vm)),
      channel_(std::move(channel)),
      inbox_(std::make_shared<agent::ControlInbox>(link.executor())),
      mutex_(link.executor().make_mutex()),
      released_(link.executor().make_condition()) {
  link_.channels().add(vm_, *this);
  task_ = link_.executor().spawn("channel of " + link_.name(vm_), [this] { keep_open(); });
}

DomainChannel::~DomainChannel() {
  link_.channels().remove(vm_);
  task_->cancel();
  task_.reset();
  if (const std::shared_ptr<ChannelStream> open = stream()) close(open);
}

void DomainChannel::close(const std::shared_ptr<ChannelStream>& stream) {
  link_.start(vm_, host_, "close the channel of " + link_.name(vm_),
              [stream](HostConnections&) { stream->close(); });
}

std::shared_ptr<ChannelStream> DomainChannel::stream() const {
  const Lock lock(*mutex_);
  return stream_;
}

std::string DomainChannel::trouble() const {
  const Lock lock(*mutex_);
  return stream_ == nullptr ? trouble_ : std::string();
}

bool DomainChannel::send(std::span<const std::byte> message) {
  if (message.empty() || message.size() > largest_control_message) return false;
  const std::shared_ptr<ChannelStream> open = stream();
  return open != nullptr && open->send(message);
}

/// The host where the VM's domain runs; none that is known. Where it should be is asked first, and
/// again before all are: what all say is known only when each of them has answered, and one may be
/// dead; and a VM that has just moved will be said to be where it is.
std::optional<HostId> DomainChannel::look_for_vm() {
  const HostId expected = whereabouts_.last_known(vm_);
  if (is_on(expected)) return expected;
  if (host_ != expected && is_on(host_)) return host_;
  if (++misses_ % tries_where_expected != 0) return std::nullopt;
  const auto answers = link_.ask_all<DomainState>(
      "looking for " + link_.name(vm_), link_.clock().now() + answer_patience,
      [domain = link_.domain(vm_)](HostConnections& host, HostId) {
        return look_at(host, domain);
      });
  for (std::uint32_t i = 0; i < answers.size(); ++i) {
    if (answers[i] && is_the_vm(*answers[i])) return HostId{i};
  }
  return std::nullopt;
}

bool DomainChannel::is_on(HostId host) {
  const Result<DomainState> answer = link_.ask_uncounted<DomainState>(
      host, "looking for " + link_.name(vm_), link_.clock().now() + answer_patience,
      [domain = link_.domain(vm_)](HostConnections& there) { return look_at(there, domain); });
  return answer && is_the_vm(*answer);
}

void DomainChannel::hold() {
  std::shared_ptr<ChannelStream> open;
  HostId host;
  {
    const Lock lock(*mutex_);
    holds_ += 1;
    open = std::exchange(stream_, nullptr);
    host = stream_host_;
  }
  if (open == nullptr) return;
  (void)link_.ask_uncounted<void>(host, "closing the channel of " + link_.name(vm_),
                                  link_.clock().now() + close_patience,
                                  [open](HostConnections&) -> Result<> {
                                    open->close();
                                    return {};
                                  });
}

void DomainChannel::release() {
  const Lock lock(*mutex_);
  holds_ -= 1;
  released_->notify_all();
}

bool DomainChannel::is_held() const {
  const Lock lock(*mutex_);
  return holds_ > 0;
}

void DomainChannel::open_where_the_vm_is() {
  const std::optional<HostId> host = look_for_vm();
  if (!host) return;
  host_ = *host;
  const auto opening = std::make_shared<ChannelOpening>();
  const Result<std::shared_ptr<ChannelStream>> made =
      link_.ask_uncounted<std::shared_ptr<ChannelStream>>(
          host_, "opening the channel of " + link_.name(vm_), link_.clock().now() + answer_patience,
          [domain = link_.domain(vm_), channel = channel_, inbox = inbox_,
           opening](HostConnections& connections) {
            auto stream = ChannelStream::open(connections, domain, channel, inbox);
            if (stream) opening->made(*stream);
            return stream;
          });
  if (!made) {
    if (const auto left = opening->abandon()) close(left);
    const Lock lock(*mutex_);
    trouble_ = made.error().reason;
  } else if (take(*made)) {
    inbox_->opened();
  } else {
    close(*made);
  }
}

/// False: the channel is held since.
bool DomainChannel::take(const std::shared_ptr<ChannelStream>& stream) {
  const Lock lock(*mutex_);
  if (holds_ > 0) return false;
  trouble_.clear();
  stream_ = stream;
  stream_host_ = host_;
  return true;
}

void DomainChannel::drop(const std::shared_ptr<ChannelStream>& broken) {
  {
    const Lock lock(*mutex_);
    if (stream_ == broken) stream_ = nullptr;
  }
  close(broken);
}

void DomainChannel::keep_open() {
  Clock& clock = link_.clock();
  for (;;) {
    const std::shared_ptr<ChannelStream> open = stream();
    if (open != nullptr && !open->is_broken()) {
      open->look_behind_torn(clock.now());
    } else {
      if (open != nullptr) drop(open);
      if (!is_held()) open_where_the_vm_is();
    }
    const Lock lock(*mutex_);
    if (released_->wait_until(*mutex_, clock.now() + between_tries) == Wake::cancelled) return;
  }
}

}  // namespace ferry
