#include "core/cuda/elementwise.h"
#include "core/cuda/math.h"
#include "ops/binary/binary_kernels.h"

namespace vitrine::ops::binary {
namespace {

template <class E>
struct Pointwise {
  template <class... A>
  __device__ auto operator()(A... x) const {
    return E().template f<cuda::Math>(x...);
  }
};

template <class E>
void run(const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch_floating(y.dtype(), [&]<class T>() { cuda::elementwise<T, T, T>(E::name, Pointwise<E>(), y, a, b); });
}
template <class E>
void run_gradient(const Tensor& dy, const Tensor& a, const Tensor& b, Tensor& d) {
  dispatch_floating(d.dtype(), [&]<class T>() { cuda::elementwise<T, T, T, T>(E::name, Pointwise<E>(), d, dy, a, b); });
}

template <class... E>
bool bind_functions(List<E...>) {
  (Bind(kernel<E>, cuda::kKernelDevice, run<E>), ...);
  return true;
}
template <class... E>
bool bind_gradients(List<E...>) {
  (Bind(gradient_kernel<E>, cuda::kKernelDevice, run_gradient<E>), ...);
  return true;
}
const bool bound = bind_functions(Functions()) && bind_gradients(GradientFunctions());

}  // namespace
}  // namespace vitrine::ops::binary
