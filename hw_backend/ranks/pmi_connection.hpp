// A rank's connection with its launcher.
#pragma once

#include <optional>
#include <string>

#include "core/ports/result.hpp"
#include "hw_backend/ranks/pmi_message.hpp"

namespace ferry::ranks {

class PmiConnection {
 public:
  /// Takes over the descriptor of a stream.
  explicit PmiConnection(int file) : file_(file) {}
  ~PmiConnection();
  PmiConnection(PmiConnection&& other) noexcept;
  PmiConnection& operator=(PmiConnection&&) = delete;

  /// Sends `question` and reads the answer, which must be `answer`. Blocks as long as the launcher
  /// does. `lost`: it is gone; `failed`: it says something else, or `rc` of its answer is not 0.
  Result<PmiMessage> ask(const PmiMessage& question, std::string_view answer);
  Result<> tell(const PmiMessage& message);
  /// The next line.
  Result<PmiMessage> read();

 private:
  int file_;
  std::string read_;  ///< and not taken yet
};

/// `address` is HOST:PORT as in PMI_PORT, `id` PMI_ID; the launcher then says `rank` and `size`.
[[nodiscard]] Result<PmiConnection> connect_to_pmi(const std::string& address, int id,
                                                   std::optional<int>& rank,
                                                   std::optional<int>& size);

}  // namespace ferry::ranks
