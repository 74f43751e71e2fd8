// A control link between two tasks of one process.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "core/ports/control.hpp"
#include "core/ports/executor.hpp"

namespace ferry::agent {

/// Both ends; open from the start.
[[nodiscard]] std::pair<std::unique_ptr<Control>, std::unique_ptr<Control>> make_in_process_control(
    Executor& executor);

/// What becomes of a message.
enum class Fate { delivered, dropped, repeated };

/// An end whose messages, sent and received, meet with `fate`. `inner` outlives it. The hook is
/// called by the tasks that send and receive.
[[nodiscard]] std::unique_ptr<Control> make_faulty_control(
    Control& inner, std::function<Fate(bool sent, std::span<const std::byte> message)> fate);

}  // namespace ferry::agent
