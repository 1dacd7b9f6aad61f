#include <cmath>

#include "core/elementwise.h"
#include "core/vector_math.h"
#include "ops/unary/unary_kernels.h"

namespace vitrine::ops::unary {
namespace {

/// f32 functions that loops vectorize, except sin, cos and pow, which are the C library's.
struct Math {
  template <class A>
  static A exp(A x) {
    return vm::exp(x);
  }
  template <class A>
  static A log(A x) {
    return vm::log(x);
  }
  template <class A>
  static A log1p(A x) {
    return vm::log1p(x);
  }
  template <class A>
  static A tanh(A x) {
    return vm::tanh(x);
  }
  template <class A>
  static A sigmoid(A x) {
    return vm::sigmoid(x);
  }
  template <class A>
  static A erf(A x) {
    return vm::erf(x);
  }
  template <class A>
  static A gelu(A x) {
    return vm::gelu(x);
  }
  template <class A>
  static A gelu_slope(A x) {
    return vm::gelu_slope(x);
  }
  template <class A>
  static A abs(A x) {
    return std::fabs(x);
  }
  template <class A>
  static A sqrt(A x) {
    return std::sqrt(x);
  }
  template <class A>
  static A sin(A x) {
    return std::sin(x);
  }
  template <class A>
  static A cos(A x) {
    return std::cos(x);
  }
  template <class A>
  static A pow(A x, A y) {
    return std::pow(x, y);
  }
  template <class A>
  static A floor(A x) {
    return std::floor(x);
  }
  template <class A>
  static A ceil(A x) {
    return std::ceil(x);
  }
  template <class A>
  static A round_even(A x) {
    return std::nearbyint(x);
  }
};

template <class E>
struct Forward {
  E entry;
  template <class A>
  A operator()(A x) const {
    return entry.template f<Math>(x);
  }
};
template <class E>
struct Backward {
  E entry;
  template <class A>
  A operator()(A v, A dy) const {
    return dy * entry.template df<Math>(v);
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
