#include "core/cuda/elementwise.h"
#include "ops/unary/unary_kernels.h"

namespace vitrine::ops::unary {
namespace {

struct Math {
  template <class A>
  static VITRINE_HD A exp(A x) {
    return ::exp(x);
  }
  template <class A>
  static VITRINE_HD A log(A x) {
    return ::log(x);
  }
  template <class A>
  static VITRINE_HD A log1p(A x) {
    return ::log1p(x);
  }
  template <class A>
  static VITRINE_HD A tanh(A x) {
    return ::tanh(x);
  }
  template <class A>
  static VITRINE_HD A sigmoid(A x) {
    return 1 / (1 + ::exp(-x));
  }
  template <class A>
  static VITRINE_HD A erf(A x) {
    return ::erf(x);
  }
  template <class A>
  static VITRINE_HD A abs(A x) {
    return ::fabs(x);
  }
  template <class A>
  static VITRINE_HD A sqrt(A x) {
    return ::sqrt(x);
  }
  template <class A>
  static VITRINE_HD A sin(A x) {
    return ::sin(x);
  }
  template <class A>
  static VITRINE_HD A cos(A x) {
    return ::cos(x);
  }
  template <class A>
  static VITRINE_HD A pow(A x, A y) {
    return ::pow(x, y);
  }
  template <class A>
  static VITRINE_HD A floor(A x) {
    return ::floor(x);
  }
  template <class A>
  static VITRINE_HD A ceil(A x) {
    return ::ceil(x);
  }
  template <class A>
  static VITRINE_HD A round_even(A x) {
    return ::rint(x);
  }
};

template <class E>
struct Forward {
  E entry;
  template <class A>
  __device__ A operator()(A x) const {
    return entry.template f<Math>(x);
  }
};
template <class E>
struct Backward {
  E entry;
  template <class A>
  __device__ A operator()(A v, A dy) const {
    return dy * entry.template df<Math>(v);
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
