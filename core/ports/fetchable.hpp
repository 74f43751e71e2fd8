// What a task will touch when it goes on, for worlds with more tasks than the processor's caches
// hold.
#pragma once

namespace ferry {

class Fetchable {
 public:
  virtual ~Fetchable() = default;
  /// Begins to fetch that memory into the caches, in steps from 0 to `last_step`, each of which may
  /// follow pointers that the one before it began to fetch. Changes nothing.
  virtual void fetch(int step) const = 0;
  static constexpr int last_step = 2;
};

}  // namespace ferry
