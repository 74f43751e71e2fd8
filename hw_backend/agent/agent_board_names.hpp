// Names of environment variables that a rank process finds, beside its own arguments.
#pragma once

namespace ferry::agent {

inline constexpr const char* folder_variable = "FERRY_JOB_FOLDER";  ///< absolute
inline constexpr const char* rank_variable = "FERRY_RANK";
inline constexpr const char* ranks_variable = "FERRY_RANKS";      ///< of the job
inline constexpr const char* watched_variable = "FERRY_WATCHED";  ///< 1: says when it computes

}  // namespace ferry::agent
