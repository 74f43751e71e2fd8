// What the program's exit status means.
#pragma once

namespace ferry {

enum class ExitStatus : int {
  done = 0,
  failed = 1,     ///< it ran, and a migration failed, a claim was missed or runs differ
  bad_input = 2,  ///< a file, an argument or a place to write to is not right; nothing was written
  no_world = 3,   ///< the world, or a program that is needed, is not available or broke
  interrupted = 130,  ///< by Ctrl-C; what ran is on disk
};

}  // namespace ferry
