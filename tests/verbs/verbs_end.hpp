// One rank process with a verbs endpoint, of two or more that find each other over TCP.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "core/ports/fabric.hpp"
#include "hw_backend/bootstrap/tcp_bootstrap.hpp"
#include "hw_backend/verbs/verbs_fabric.hpp"

namespace ferry::verbs {

[[noreturn]] inline void give_up(const std::string& why) {
  fmt::print(stderr, "{}\n", why);
  std::fflush(nullptr);
  _exit(1);
}

/// With the addresses (HOST:PORT) of all ranks.
class VerbsEnd {
 public:
  VerbsEnd(std::uint32_t rank, std::vector<std::string> addresses, const VerbsSettings& settings,
           const LookLimits& limits = {})
      : set(clock, limits) {
    TcpBootstrapSettings tcp;
    const std::string& mine = addresses[rank];
    tcp.listen_on = mine.substr(0, mine.rfind(':'));
    tcp.port = static_cast<std::uint16_t>(std::stoi(mine.substr(mine.rfind(':') + 1)));
    auto listening =
        TcpBootstrap::listen(RankId{rank}, static_cast<std::uint32_t>(addresses.size()), tcp);
    if (!listening) give_up(listening.error().reason);
    bootstrap = std::move(*listening);
    // Asked for until the bootstrap ends, which is after the endpoint: these addresses are its own.
    bootstrap->start([addresses = std::move(addresses)](RankId of) -> Result<std::string> {
      return addresses[of.index];
    });
    end = make_verbs_endpoint(settings, *bootstrap, set);
    set.watch(*end);
    open();
  }
  ~VerbsEnd() { set.forget(*end); }
  VerbsEnd(const VerbsEnd&) = delete;
  VerbsEnd& operator=(const VerbsEnd&) = delete;

  void open() {
    if (const Result<> opened = end->open_device(); !opened) give_up(opened.error().reason);
  }
  void post(std::uint32_t to, const PacketHeader& header, ConstSlice body = {}) {
    while (!end->post(EndpointAddress{to}, Channel::sriov, header, {&body, 1})) {
      static_cast<void>(set.wait(TimePoint::never()));
    }
  }
  const Arrival& receive(bool for_ever = false) {
    for (;;) {
      if (const Arrival* const arrival = end->poll()) return *arrival;
      const TimePoint deadline =
          for_ever ? TimePoint::never() : clock.now() + Duration::milliseconds(120'000);
      if (set.wait(deadline) == Wake::timed_out) {
        give_up("nothing came for two minutes; " + end->problem());
      }
    }
  }

  ThreadClock clock{1.0};
  EventWaitSet set;
  std::unique_ptr<TcpBootstrap> bootstrap;
  std::unique_ptr<VerbsEndpoint> end;
};

}  // namespace ferry::verbs
