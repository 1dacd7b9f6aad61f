#include "core/cuda/emulator/recording.h"

#include "core/backend.h"
#include "core/cuda/emulator/emulator.h"

namespace vitrine::emulator {
namespace {

thread_local Recording* in_force = nullptr;

}  // namespace

RecordScope::RecordScope(Recording& recording) { in_force = &recording; }
RecordScope::~RecordScope() { in_force = nullptr; }

void perform(std::function<void()> step) {
  if (in_force) {
    in_force->add(std::move(step));
  } else {
    step();
  }
}

bool recording() { return in_force != nullptr; }

}  // namespace vitrine::emulator
