#include <cmath>

#include "core/elementwise.h"
#include "core/vector_math.h"
#include "ops/binary/binary_kernels.h"

namespace vitrine::ops::binary {
namespace {

struct Math {
  template <class A>
  static A pow(A x, A y) {
    return std::pow(x, y);
  }
  template <class A>
  static A log(A x) {
    return vm::log(x);
  }
};

template <class E>
struct Pointwise {
  template <class... A>
  auto operator()(A... x) const {
    return E().template f<Math>(x...);
  }
};

template <class... E>
bool bind_functions(List<E...>) {
  (Bind(kernel<E>, DeviceType::cpu,
        [](const Tensor& a, const Tensor& b, Tensor& y) {
          dispatch_floating(y.dtype(), [&]<class T>() { elementwise<T, T, T>(Pointwise<E>(), y, a, b); });
        }),
   ...);
  return true;
}
template <class... E>
bool bind_gradients(List<E...>) {
  (Bind(gradient_kernel<E>, DeviceType::cpu,
        [](const Tensor& dy, const Tensor& a, const Tensor& b, Tensor& d) {
          dispatch_floating(d.dtype(), [&]<class T>() { elementwise<T, T, T, T>(Pointwise<E>(), d, dy, a, b); });
        }),
   ...);
  return true;
}
const bool bound = bind_functions(Functions()) && bind_gradients(GradientFunctions());

}  // namespace
}  // namespace vitrine::ops::binary
