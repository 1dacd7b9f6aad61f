#pragma once
#include <source_location>
#include <span>
#include <vector>

#include "core/tensor.h"
#include "core/trace.h"

namespace vitrine {

namespace detail {
[[noreturn]] void unbound_slot(const char* name, DeviceType device);
void note_binding(const char* slot, DeviceType device, const char* file);

inline const Tensor* first_tensor() { return nullptr; }
template <class A, class... Rest>
const Tensor* first_tensor(const A& a, const Rest&... rest) {
  if constexpr (std::is_same_v<A, Tensor>) {
    if (a.defined()) return &a;
  } else if constexpr (std::is_convertible_v<const A&, std::span<const Tensor>>) {
    for (const Tensor& t : std::span<const Tensor>(a))
      if (t.defined()) return &t;
  }
  return first_tensor(rest...);
}
}  // namespace detail

/// One kernel of an op: a function pointer per kind of device, bound by the files that implement it (Bind). A call runs
/// where its first defined Tensor (or first of a span of Tensors) lives. @throws NotImplemented if that device has no
/// kernel in this build
template <class Signature>
class KernelSlot;
template <class... A>
class KernelSlot<void(A...)> {
 public:
  using Function = void (*)(A...);
  explicit constexpr KernelSlot(const char* name) : name_(name) {}
  KernelSlot(const KernelSlot&) = delete;

  void operator()(A... arguments) const {
    const DeviceType device = detail::first_tensor(arguments...)->device().type;
    const Function f = functions_[int(device)];
    if (!f) detail::unbound_slot(name_, device);
    if (trace::observing()) {
      const trace::KernelScope scope(name_, device);
      f(arguments...);
    } else {
      f(arguments...);
    }
  }
  bool bound(DeviceType device) const { return functions_[int(device)] != nullptr; }
  const char* name() const { return name_; }
  void bind(DeviceType device, Function f) { functions_[int(device)] = f; }

 private:
  const char* name_;
  Function functions_[kDeviceTypes] = {};
};

/// A namespace-scope object that binds a kernel to its slot for one kind of device.
struct Bind {
  template <class... A>
  Bind(KernelSlot<void(A...)>& slot, DeviceType device, std::type_identity_t<void (*)(A...)> f,
       std::source_location where = std::source_location::current()) {
    slot.bind(device, f);
    detail::note_binding(slot.name(), device, where.file_name());
  }
};

/// Every binding in this program, for completeness tests and `vitrine ops`.
struct Binding {
  std::string slot;
  DeviceType device;
  std::string file;  ///< as the compiler was given it
};
const std::vector<Binding>& bindings();  ///< in the order in which they were made

}  // namespace vitrine
