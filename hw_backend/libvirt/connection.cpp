#include "hw_backend/libvirt/connection.hpp"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <cstdlib>
#include <mutex>

#include "hw_backend/libvirt/refusals.hpp"

namespace ferry {
namespace {

constexpr int keep_alive_seconds = 5;
constexpr unsigned keep_alive_count = 3;

/// What a callback of libvirt gets; freed by libvirt when the callback is gone.
struct Listener {
  std::shared_ptr<EventBoard> board;
  HostId host;

  void post(DomainEvent::Kind kind, virDomainPtr domain) const {
    DomainEvent event;
    event.kind = kind;
    post(event, domain);
  }
  void post(DomainEvent event, virDomainPtr domain) const {
    event.host = host;
    if (domain != nullptr) event.domain = virDomainGetName(domain);
    board->post(std::move(event));
  }
};

/// libvirt hands listeners from thread to thread under locks of its own, which thread sanitizers do
/// not see; this one they do.
std::mutex handover;

const Listener& listener(void* opaque) {
  const std::lock_guard taken(handover);
  return *static_cast<const Listener*>(opaque);
}
void* make_listener(const std::shared_ptr<EventBoard>& board, HostId host) {
  const std::lock_guard given(handover);
  return new Listener{board, host};
}
void free_listener(void* opaque) {
  const std::lock_guard taken(handover);
  delete static_cast<Listener*>(opaque);
}

void device_event(DomainEvent::Kind kind, virDomainPtr domain, const char* alias, void* opaque) {
  DomainEvent event;
  event.kind = kind;
  event.alias = alias == nullptr ? "" : alias;
  listener(opaque).post(event, domain);
}

void on_removed(virConnectPtr, virDomainPtr domain, const char* alias, void* opaque) {
  device_event(DomainEvent::Kind::device_removed, domain, alias, opaque);
}
void on_removal_failed(virConnectPtr, virDomainPtr domain, const char* alias, void* opaque) {
  device_event(DomainEvent::Kind::device_removal_failed, domain, alias, opaque);
}
void on_iteration(virConnectPtr, virDomainPtr domain, int iteration, void* opaque) {
  DomainEvent event;
  event.kind = DomainEvent::Kind::iteration;
  event.iteration = iteration;
  listener(opaque).post(event, domain);
}
void on_job_completed(virConnectPtr, virDomainPtr domain, virTypedParameterPtr parameters,
                      int count, void* opaque) {
  DomainEvent event;
  event.kind = DomainEvent::Kind::job_completed;
  event.statistics = read_statistics(parameters, count);
  listener(opaque).post(event, domain);
}
int on_lifecycle(virConnectPtr, virDomainPtr domain, int, int, void* opaque) {
  listener(opaque).post(DomainEvent::Kind::state_changed, domain);
  return 0;
}
void on_agent(virConnectPtr, virDomainPtr domain, int, int, void* opaque) {
  listener(opaque).post(DomainEvent::Kind::agent_changed, domain);
}
void on_close(virConnectPtr, int, void* opaque) {
  listener(opaque).post(DomainEvent::Kind::connection_lost, nullptr);
}

/// Credentials come from libvirt's auth.conf; nobody is there to be asked.
int no_credentials(virConnectCredentialPtr, unsigned, void*) { return -1; }

}  // namespace

Failure last_error(const std::string& what) {
  const virErrorPtr error = virGetLastError();
  if (error == nullptr) return {FailureKind::failed, what + ": libvirt gives no reason"};
  return explained_error(error->code, what, error->message == nullptr ? "" : error->message);
}

Result<std::shared_ptr<Connection>> Connection::open(const std::string& uri) {
  const EventLoopUser loop;  // before the connection, and with no gap to its own
  // Not VIR_CRED_USERNAME: whom to act for is whom one is, and libvirt would ask for it.
  static std::array<int, 5> answered = {VIR_CRED_AUTHNAME, VIR_CRED_PASSPHRASE, VIR_CRED_ECHOPROMPT,
                                        VIR_CRED_NOECHOPROMPT, VIR_CRED_REALM};
  virConnectAuth auth{answered.data(), answered.size(), no_credentials, nullptr};
  virConnectPtr connection = virConnectOpenAuth(uri.c_str(), &auth, 0);
  if (connection == nullptr) return tl::unexpected(last_error(uri));
  std::shared_ptr<Connection> result(new Connection(connection));
  // Refused by drivers without a daemon, which need none.
  virConnectSetKeepAlive(connection, keep_alive_seconds, keep_alive_count);
  return result;
}

bool Connection::alive() const { return virConnectIsAlive(connection_) == 1; }

void Connection::tell(const std::shared_ptr<EventBoard>& board, HostId host) {
  const auto listen = [&](int id, virConnectDomainEventGenericCallback callback) {
    void* const opaque = make_listener(board, host);
    const int registered =
        virConnectDomainEventRegisterAny(connection_, nullptr, id, callback, opaque, free_listener);
    if (registered < 0) {
      free_listener(opaque);
    } else {
      callbacks_.push_back(registered);
    }
  };
  listen(VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, VIR_DOMAIN_EVENT_CALLBACK(on_removed));
  listen(VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, VIR_DOMAIN_EVENT_CALLBACK(on_removal_failed));
  listen(VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, VIR_DOMAIN_EVENT_CALLBACK(on_iteration));
  listen(VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, VIR_DOMAIN_EVENT_CALLBACK(on_job_completed));
  listen(VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle));
  listen(VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_agent));
  // Kept here: drivers without a daemon accept the callback, and then neither keep nor free it.
  close_listener_ = std::shared_ptr<void>(make_listener(board, host), free_listener);
  watched_ =
      virConnectRegisterCloseCallback(connection_, on_close, close_listener_.get(), nullptr) == 0;
}

Connection::~Connection() {
  for (const int callback : callbacks_) virConnectDomainEventDeregisterAny(connection_, callback);
  if (watched_) virConnectUnregisterCloseCallback(connection_, on_close);
  virConnectClose(connection_);
}

Result<std::shared_ptr<Connection>> HostConnections::open() {
  auto opened = Connection::open(uri_);
  if (opened) return opened;
  return failure(opened.error().kind, name_ + " cannot be reached: " + opened.error().reason);
}

Result<std::shared_ptr<Connection>> HostConnections::listening() {
  const Time asked = std::chrono::steady_clock::now();
  const auto usable = [this] {
    const std::lock_guard guard(mutex_);
    return listening_ && listening_->alive() ? listening_ : nullptr;
  };
  if (auto found = usable()) return found;
  const std::lock_guard one_opens(opening_);
  if (auto found = usable()) return found;
  if (last_failure_ && failed_at_ > asked) return tl::unexpected(*last_failure_);
  auto opened = open();
  if (!opened) {
    last_failure_ = opened.error();
    failed_at_ = std::chrono::steady_clock::now();
    return opened;
  }
  last_failure_.reset();
  (*opened)->tell(board_, host_);
  std::shared_ptr<Connection> broken = *opened;
  const std::lock_guard guard(mutex_);
  listening_.swap(broken);
  return opened;
}

std::shared_ptr<Connection> HostConnections::lend(const std::shared_ptr<Lent>& chosen) {
  chosen->in_use = true;
  return {chosen->connection.get(), [chosen](Connection*) { chosen->in_use = false; }};
}

std::shared_ptr<Connection> HostConnections::idle() {
  std::list<std::shared_ptr<Lent>> broken;  // closed when nothing is locked
  const std::lock_guard guard(mutex_);
  for (auto each = calling_.begin(); each != calling_.end();) {
    const auto here = each++;
    if ((*here)->in_use) continue;
    if ((*here)->connection->alive()) return lend(*here);
    broken.splice(broken.end(), calling_, here);
  }
  return nullptr;
}

Result<std::shared_ptr<Connection>> HostConnections::calling() {
  if (auto heard = listening(); !heard) return heard;
  if (auto found = idle()) return found;
  auto opened = open();
  if (!opened) return opened;
  const std::lock_guard guard(mutex_);
  return lend(calling_.emplace_back(std::make_shared<Lent>(std::move(*opened))));
}

Result<> HostConnections::open_ahead(std::size_t count, std::chrono::nanoseconds patience) {
  const Time limit = std::chrono::steady_clock::now() + patience;
  if (const auto heard = listening(); !heard) return tl::unexpected(heard.error());
  while (calling_connections() < count && std::chrono::steady_clock::now() < limit) {
    auto opened = open();
    if (!opened) return tl::unexpected(opened.error());
    const std::lock_guard guard(mutex_);
    calling_.push_back(std::make_shared<Lent>(std::move(*opened)));
  }
  return {};
}

std::size_t HostConnections::calling_connections() const {
  const std::lock_guard guard(mutex_);
  return calling_.size();
}

std::string taken(char* text) {
  if (text == nullptr) return {};
  std::string result(text);
  std::free(text);
  return result;
}

}  // namespace ferry
