#include "core/elementwise.h"
#include "core/vector_math.h"
#include "ops/binary_cross_entropy/binary_cross_entropy_kernels.h"

namespace vitrine::ops {
namespace {

struct Math {
  template <class A>
  static A exp(A x) {
    return vm::exp(x);
  }
  template <class A>
  static A log1p(A x) {
    return vm::log1p(x);
  }
  template <class A>
  static A sigmoid(A x) {
    return vm::sigmoid(x);
  }
};

void forward(const Tensor& x, const Tensor& target, Tensor& losses) {
  dispatch_floating(x.dtype(),
                    [&]<class T>() { elementwise<accumulate_t<T>, T, T>(LogisticLoss<Math>(), losses, x, target); });
}
void backward(const Tensor& dy, const Tensor& x, const Tensor& target, Tensor& dx) {
  dispatch_floating(
      x.dtype(), [&]<class T>() { elementwise<T, accumulate_t<T>, T, T>(LogisticSlope<Math>(), dx, dy, x, target); });
}
void target_gradient(const Tensor& dy, const Tensor& x, Tensor& dtarget) {
  dispatch_floating(x.dtype(),
                    [&]<class T>() { elementwise<T, accumulate_t<T>, T>(LogisticTargetSlope(), dtarget, dy, x); });
}

const Bind bind_forward(binary_cross_entropy_forward, DeviceType::cpu, forward);
const Bind bind_backward(binary_cross_entropy_backward, DeviceType::cpu, backward);
const Bind bind_target(binary_cross_entropy_target, DeviceType::cpu, target_gradient);

}  // namespace
}  // namespace vitrine::ops
