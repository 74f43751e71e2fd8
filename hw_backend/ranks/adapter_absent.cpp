#include "hw_backend/ranks/adapter.hpp"

namespace ferry::ranks {
namespace {

constexpr const char* not_built_in =
    "this ferry-rank was built without libibverbs (Debian: libibverbs-dev), so it uses no adapters";

}  // namespace

Result<> adapter_is_there(const std::string& /*choice*/) {
  return failure(FailureKind::refused, not_built_in);
}

Bytes largest_adapter_body() { return Bytes::kibi(64); }

Result<std::unique_ptr<Adapter>> open_adapter(const std::string& /*choice*/,
                                              Bootstrap& /*bootstrap*/,
                                              EventWaitSet& /*wait_set*/) {
  return failure(FailureKind::refused, not_built_in);
}

}  // namespace ferry::ranks
