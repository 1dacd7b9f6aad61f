#include "core/kernel_slot.h"

namespace vitrine {
namespace {
std::vector<Binding>& mutable_bindings() {
  static std::vector<Binding>& list = *new std::vector<Binding>;
  return list;
}
}  // namespace

void detail::unbound_slot(const char* name, DeviceType device) {
  throw NotImplemented(format("{}: no {} kernel in this build", name, name_of(device)));
}
void detail::note_binding(const char* slot, DeviceType device, const char* file) {
  mutable_bindings().push_back({slot, device, file});
}
const std::vector<Binding>& bindings() { return mutable_bindings(); }

}  // namespace vitrine
