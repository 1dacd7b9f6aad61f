#pragma once
#include <atomic>

namespace vitrine::apps {

/// From now on the first Ctrl-C (or SIGTERM) sets the result, which asks training to stop after its step; the second
/// ends the program.
const std::atomic<bool>& stop_on_interrupt();

}  // namespace vitrine::apps
