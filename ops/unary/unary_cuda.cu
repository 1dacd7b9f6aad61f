#include "core/cuda/elementwise.h"
#include "core/cuda/math.h"
#include "ops/unary/unary_kernels.h"

namespace vitrine::ops::unary {
namespace {

template <class E>
struct Forward {
  E entry;
  template <class A>
  __device__ A operator()(A x) const {
    return entry.template f<cuda::Math>(x);
  }
};
template <class E>
struct Backward {
  E entry;
  template <class A>
  __device__ A operator()(A v, A dy) const {
    return dy * entry.template df<cuda::Math>(v);
  }
};

template <class E>
void forward(const Tensor& x, Tensor& y, const E& entry) {
  dispatch_floating(x.dtype(), [&]<class T>() { cuda::elementwise<T, T>(E::name, Forward<E>{entry}, y, x); });
}
template <class E>
void backward(const Tensor& v, const Tensor& dy, Tensor& dx, const E& entry) {
  dispatch_floating(dy.dtype(), [&]<class T>() {
    cuda::elementwise<T, T, T>(backward_kernel<E>.name(), Backward<E>{entry}, dx, v, dy);
  });
}

template <class E>
void bind() {
  Bind(forward_kernel<E>, cuda::kKernelDevice, forward<E>);
  if constexpr (kHasBackward<E>) Bind(backward_kernel<E>, cuda::kKernelDevice, backward<E>);
}

template <class... E>
bool bind_all(List<E...>) {
  (bind<E>(), ...);
  return true;
}
const bool bound = bind_all(PlainEntries()) && bind_all(EntriesWithAttributes());

}  // namespace
}  // namespace vitrine::ops::unary
