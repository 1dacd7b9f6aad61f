#include "core/elementwise.h"
#include "core/host_math.h"
#include "ops/binary_cross_entropy/binary_cross_entropy_kernels.h"

namespace vitrine::ops {
namespace {

void forward(const Tensor& x, const Tensor& target, Tensor& losses) {
  dispatch_floating(
      x.dtype(), [&]<class T>() { elementwise<accumulate_t<T>, T, T>(LogisticLoss<HostMath>(), losses, x, target); });
}
void backward(const Tensor& dy, const Tensor& x, const Tensor& target, Tensor& dx) {
  dispatch_floating(x.dtype(), [&]<class T>() {
    elementwise<T, accumulate_t<T>, T, T>(LogisticSlope<HostMath>(), dx, dy, x, target);
  });
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
