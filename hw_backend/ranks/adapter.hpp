// A rank's adapter or virtual function, in builds that have verbs and in those that have not.
#pragma once

#include <memory>
#include <string>

#include "core/ports/bootstrap.hpp"
#include "core/ports/fabric.hpp"
#include "core/ports/result.hpp"
#include "core/units/units.hpp"
#include "hw_backend/waiting/event_wait_set.hpp"

namespace ferry::ranks {

/// An endpoint whose device can be closed and opened again.
class Adapter {
 public:
  virtual ~Adapter() = default;
  [[nodiscard]] virtual Endpoint& endpoint() = 0;
  /// What waits look at.
  [[nodiscard]] virtual EventSource& source() = 0;
  virtual void close_device() = 0;
  /// Blocks until its port is active, so long at most; on failure it stays closed.
  [[nodiscard]] virtual Result<> open_device(Duration patience) = 0;
  [[nodiscard]] virtual bool device_is_open() const = 0;
  /// What made messages slower than they would be, for people; empty: nothing did.
  [[nodiscard]] virtual std::string remark() const = 0;
};

/// Whether this machine has a device that `choice` (see `verbs::parse_device_choice`; `none`: not
/// wanted) fits and whose port is usable now. The failure is for people.
[[nodiscard]] Result<> adapter_is_there(const std::string& choice);
/// What one packet carries by it, the same on all machines.
[[nodiscard]] Bytes largest_adapter_body();
/// Opens it. `bootstrap` and `wait_set` outlive it.
[[nodiscard]] Result<std::unique_ptr<Adapter>> open_adapter(const std::string& choice,
                                                            Bootstrap& bootstrap,
                                                            EventWaitSet& wait_set);

}  // namespace ferry::ranks
