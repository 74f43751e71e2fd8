#include "tests/unit/hw_backend/scripted_libvirt.hpp"

#include <dlfcn.h>

#include <atomic>
#include <mutex>
#include <utility>

namespace ferry {
namespace {

std::atomic<ScriptedLibvirt*> script = nullptr;

/// What a callback of a stream leaves to be freed; tests have one stream at a time.
std::mutex callback_mutex;
void* callback_data = nullptr;
virFreeCallback free_callback = nullptr;

template <class Function>
Function own(Function /*like*/, const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

}  // namespace

ScriptedLibvirt::ScriptedLibvirt() { script = this; }
ScriptedLibvirt::~ScriptedLibvirt() { script = nullptr; }

}  // namespace ferry

// The linker takes these of the test's program before those of the library.
using ferry::script;

int virDomainAttachDeviceFlags(virDomainPtr domain, const char* xml, unsigned int flags) {
  if (script != nullptr && script.load()->attach) {
    return script.load()->attach(domain, xml);
  }
  return ferry::own(&virDomainAttachDeviceFlags, "virDomainAttachDeviceFlags")(domain, xml, flags);
}

int virDomainMigrateSetMaxDowntime(virDomainPtr domain, unsigned long long downtime,
                                   unsigned int flags) {
  if (script != nullptr && script.load()->migrate) return 0;
  return ferry::own(&virDomainMigrateSetMaxDowntime, "virDomainMigrateSetMaxDowntime")(
      domain, downtime, flags);
}

int virDomainMigrateToURI3(virDomainPtr domain, const char* destination,
                           virTypedParameterPtr parameters, unsigned int count,
                           unsigned int flags) {
  if (script != nullptr && script.load()->migrate) return script.load()->migrate();
  return ferry::own(&virDomainMigrateToURI3, "virDomainMigrateToURI3")(domain, destination,
                                                                       parameters, count, flags);
}

int virDomainGetJobInfo(virDomainPtr domain, virDomainJobInfoPtr info) {
  if (script != nullptr && script.load()->job_under_way) {
    const bool under_way = script.load()->job_under_way(domain);
    info->type = under_way ? VIR_DOMAIN_JOB_UNBOUNDED : VIR_DOMAIN_JOB_NONE;
    return 0;
  }
  return ferry::own(&virDomainGetJobInfo, "virDomainGetJobInfo")(domain, info);
}

int virDomainAbortJob(virDomainPtr domain) {
  if (script != nullptr && script.load()->abort_job) return script.load()->abort_job(domain);
  return ferry::own(&virDomainAbortJob, "virDomainAbortJob")(domain);
}

int virDomainOpenChannel(virDomainPtr domain, const char* name, virStreamPtr stream,
                         unsigned int flags) {
  if (script != nullptr && script.load()->open_channel) return script.load()->open_channel();
  return ferry::own(&virDomainOpenChannel, "virDomainOpenChannel")(domain, name, stream, flags);
}

int virStreamEventAddCallback(virStreamPtr stream, int events, virStreamEventCallback callback,
                              void* opaque, virFreeCallback free) {
  if (script != nullptr && script.load()->open_channel) {
    const std::lock_guard guard(ferry::callback_mutex);
    ferry::callback_data = opaque;
    ferry::free_callback = free;
    return 0;
  }
  return ferry::own(&virStreamEventAddCallback, "virStreamEventAddCallback")(
      stream, events, callback, opaque, free);
}

int virStreamEventRemoveCallback(virStreamPtr stream) {
  if (script != nullptr && script.load()->open_channel) {
    void* data = nullptr;
    {
      const std::lock_guard guard(ferry::callback_mutex);
      data = std::exchange(ferry::callback_data, nullptr);
    }
    if (data != nullptr) ferry::free_callback(data);
    return 0;
  }
  return ferry::own(&virStreamEventRemoveCallback, "virStreamEventRemoveCallback")(stream);
}

int virStreamAbort(virStreamPtr stream) {
  if (script != nullptr && script.load()->stream_aborted) {
    script.load()->stream_aborted();
    return 0;
  }
  return ferry::own(&virStreamAbort, "virStreamAbort")(stream);
}
