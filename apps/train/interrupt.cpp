#include "apps/train/interrupt.h"

#include <csignal>
#include <cstdlib>

#include "apps/cli.h"

namespace vitrine::apps {
namespace {

std::atomic<bool> stop_requested{false};

void on_interrupt(int) {
  if (stop_requested.exchange(true)) std::_Exit(kInterrupted);
}

}  // namespace

const std::atomic<bool>& stop_on_interrupt() {
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  return stop_requested;
}

}  // namespace vitrine::apps
