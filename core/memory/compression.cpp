#include "core/memory/compression.hpp"

#include <algorithm>

namespace ferry {

Compressor::Compressor(Compression method, const CompressionCosts& costs, Bytes first_pass,
                       Bytes headers, Bytes working_set)
    : method_(method), costs_(costs), working_set_(working_set) {
  if (method_ != Compression::zstd || first_pass == Bytes(0)) return;
  const auto all = static_cast<double>(first_pass.count());
  const double zero = static_cast<double>(headers.count()) / all;
  factor_ = costs_.ratio.value() * (1 - zero) + zero;
}

void Compressor::round_done(Bytes guest) {
  switch (method_) {
    case Compression::none: return;
    case Compression::zstd: factor_ = costs_.ratio.value(); return;
    case Compression::xbzrle: break;
  }
  const auto set = static_cast<double>(working_set_.count());
  if (started_) {
    const double hit = static_cast<double>(cached_.count()) / std::max(set, 1.0);
    cached_ = std::min({cached_ + guest * (1 - hit), xbzrle_cache, working_set_});
  }
  started_ = true;
  const double hit = static_cast<double>(cached_.count()) / std::max(set, 1.0);
  factor_ = 1 - hit + hit * costs_.ratio.value();
  if (hit > 0) most_ = costs_.speed * (factor_ / hit);
}

}  // namespace ferry
