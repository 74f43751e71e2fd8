#include <fmt/format.h>

#include <utility>

#include "hw_backend/ranks/adapter.hpp"
#include "hw_backend/verbs/device_search.hpp"
#include "hw_backend/verbs/verbs_fabric.hpp"

namespace ferry::ranks {
namespace {

class VerbsAdapter final : public Adapter {
 public:
  VerbsAdapter(const verbs::VerbsSettings& settings, Bootstrap& bootstrap, EventWaitSet& wait_set)
      : wait_set_(wait_set), endpoint_(verbs::make_verbs_endpoint(settings, bootstrap, wait_set)) {
    wait_set_.watch(*endpoint_);
  }
  ~VerbsAdapter() override { wait_set_.forget(*endpoint_); }
  Endpoint& endpoint() override { return *endpoint_; }
  EventSource& source() override { return *endpoint_; }
  void close_device() override { endpoint_->close_device(); }
  Result<> open_device(Duration patience) override {
    return endpoint_->open_device_within(patience);
  }
  bool device_is_open() const override { return endpoint_->device_is_open(); }
  std::string remark() const override {
    const std::string why = endpoint_->refused_registration();
    if (why.empty()) return why;
    return fmt::format(
        "memory of messages went in packets and by buffers, not by RDMA ({} times): {}",
        endpoint_->counts().registrations_refused, why);
  }

 private:
  EventWaitSet& wait_set_;
  std::unique_ptr<verbs::VerbsEndpoint> endpoint_;
};

}  // namespace

Result<> adapter_is_there(const std::string& choice) {
  if (choice == "none") return failure(FailureKind::refused, "no adapter is wanted");
  const auto parsed = verbs::parse_device_choice(choice.empty() ? "any" : choice);
  if (!parsed) return tl::unexpected<Failure>(parsed.error());
  const auto port = verbs::find_usable_port(*parsed);
  if (!port) return tl::unexpected<Failure>(port.error());
  return {};
}

Bytes largest_adapter_body() { return Bytes(verbs::VerbsSettings{}.largest_body); }

Result<std::unique_ptr<Adapter>> open_adapter(const std::string& choice, Bootstrap& bootstrap,
                                              EventWaitSet& wait_set) {
  auto parsed = verbs::parse_device_choice(choice.empty() ? "any" : choice);
  if (!parsed) return tl::unexpected<Failure>(parsed.error());
  verbs::VerbsSettings settings;
  settings.device = std::move(*parsed);
  auto adapter = std::make_unique<VerbsAdapter>(settings, bootstrap, wait_set);
  if (Result<> opened = adapter->open_device(settings.patience); !opened) {
    return tl::unexpected<Failure>(opened.error());
  }
  return adapter;
}

}  // namespace ferry::ranks
