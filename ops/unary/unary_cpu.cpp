#include <cmath>

#include "core/elementwise.h"
#include "core/host_math.h"
#include "ops/unary/unary_kernels.h"

namespace vitrine::ops::unary {
namespace {

template <class E>
struct Forward {
  E entry;
  template <class A>
  A operator()(A x) const {
    return entry.template f<HostMath>(x);
  }
};
template <class E>
struct Backward {
  E entry;
  template <class A>
  A operator()(A v, A dy) const {
    return dy * entry.template df<HostMath>(v);
  }
};

template <class E>
void bind() {
  Bind(forward_kernel<E>, DeviceType::cpu, [](const Tensor& x, Tensor& y, const E& entry) {
    dispatch_floating(x.dtype(), [&]<class T>() { elementwise<T, T>(Forward<E>{entry}, y, x); });
  });
  if constexpr (kHasBackward<E>) {
    Bind(backward_kernel<E>, DeviceType::cpu, [](const Tensor& v, const Tensor& dy, Tensor& dx, const E& entry) {
      dispatch_floating(dy.dtype(), [&]<class T>() { elementwise<T, T, T>(Backward<E>{entry}, dx, v, dy); });
    });
  }
}

template <class... E>
bool bind_all(List<E...>) {
  (bind<E>(), ...);
  return true;
}
const bool bound = bind_all(PlainEntries()) && bind_all(EntriesWithAttributes());

}  // namespace
}  // namespace vitrine::ops::unary
