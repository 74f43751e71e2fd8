// Functions of libvirt that its `test` driver does not have, answered as a test says.
#pragma once

#include <libvirt/libvirt.h>

#include <functional>
#include <string>

namespace ferry {

/// While there is one, its functions that are set take the place of libvirt's; they are called in
/// the threads of calls. It outlives the world. -1 stands for a failure that has no reason.
struct ScriptedLibvirt {
  ScriptedLibvirt();
  ~ScriptedLibvirt();
  ScriptedLibvirt(const ScriptedLibvirt&) = delete;
  ScriptedLibvirt& operator=(const ScriptedLibvirt&) = delete;

  std::function<int(virDomainPtr, const std::string& xml)> attach;
  /// Then a downtime limit is taken as well.
  std::function<int()> migrate;
  std::function<bool(virDomainPtr)> job_under_way;
  std::function<int(virDomainPtr)> abort_job;
  /// Then streams are none: they carry nothing, and are only aborted.
  std::function<int()> open_channel;
  std::function<void()> stream_aborted;
};

}  // namespace ferry
