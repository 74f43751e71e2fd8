// What compression makes of guest memory on its way. Pure; what QEMU does not fix (how far pages
// shrink and how fast) is the platform's.
#pragma once

#include <algorithm>

#include "core/ports/types.hpp"
#include "core/scenario/platform.hpp"
#include "core/units/units.hpp"

namespace ferry {

/// QEMU's default xbzrle-cache-size (docs/xbzrle.txt).
inline constexpr Bytes xbzrle_cache = Bytes::mebi(64);

/// One migration's compression, round by round.
///
/// `zstd`: each page that is not zero shrinks by the platform's ratio. Zero pages cost what they
/// cost without compression. How fast the streams compress is in `stream_bandwidth`.
///
/// `xbzrle` (docs/xbzrle.txt, migration/ram.c): from the second round on a page whose former
/// content is in the cache is sent as its difference; another is sent in full and put into the
/// cache while there is room. The guest dirties its working set evenly, so of a round's pages the
/// share cached / working set is there. Not modelled: collisions and ages of cached pages. The
/// migration thread compresses, as fast as the platform says, beside the sending.
class Compressor {
 public:
  /// `first_pass`: what round 1 sends without compression, of which `headers` are zero pages'.
  Compressor(Compression method, const CompressionCosts& costs, Bytes first_pass, Bytes headers,
             Bytes working_set);

  /// On the network, of `guest` bytes in the present round.
  [[nodiscard]] Bytes on_network(Bytes guest) const {
    if (factor_ == 1 || guest == Bytes(0)) return guest;
    return std::max(guest * factor_, Bytes(1));
  }
  /// Bytes on the network for one of the guest, in the present round.
  [[nodiscard]] double factor() const { return factor_; }
  /// The most that comes out of the migration thread in the present round.
  [[nodiscard]] Bandwidth most() const { return most_; }
  /// The present round is over; it sent `guest` bytes.
  void round_done(Bytes guest);
  /// What follows is sent as it is: QEMU's post-copy does not look into the cache.
  void stop() {
    method_ = Compression::none;
    factor_ = 1;
    most_ = Bandwidth::unlimited();
  }

 private:
  Compression method_;
  CompressionCosts costs_;
  Bytes working_set_;
  Bytes cached_;
  bool started_ = false;  ///< xbzrle: the first round is over
  double factor_ = 1;
  Bandwidth most_ = Bandwidth::unlimited();
};

}  // namespace ferry
