#include "core/cuda/elementwise.h"
#include "core/cuda/math.h"
#include "ops/binary_cross_entropy/binary_cross_entropy_kernels.h"

// A thread for each pack of neighbours; no thread waits for another.
namespace vitrine::ops {
namespace {

void forward(const Tensor& x, const Tensor& target, Tensor& losses) {
  dispatch_floating(x.dtype(), [&]<class T>() {
    cuda::elementwise<accumulate_t<T>, T, T>("binary_cross_entropy_forward", LogisticLoss<cuda::Math>(), losses, x,
                                             target);
  });
}
void backward(const Tensor& dy, const Tensor& x, const Tensor& target, Tensor& dx) {
  dispatch_floating(x.dtype(), [&]<class T>() {
    cuda::elementwise<T, accumulate_t<T>, T, T>("binary_cross_entropy_backward", LogisticSlope<cuda::Math>(), dx, dy, x,
                                                target);
  });
}
void target_gradient(const Tensor& dy, const Tensor& x, Tensor& dtarget) {
  dispatch_floating(x.dtype(), [&]<class T>() {
    cuda::elementwise<T, accumulate_t<T>, T>("binary_cross_entropy_target", LogisticTargetSlope(), dtarget, dy, x);
  });
}

const Bind bind_forward(binary_cross_entropy_forward, cuda::kKernelDevice, forward);
const Bind bind_backward(binary_cross_entropy_backward, cuda::kKernelDevice, backward);
const Bind bind_target(binary_cross_entropy_target, cuda::kKernelDevice, target_gradient);

}  // namespace
}  // namespace vitrine::ops
