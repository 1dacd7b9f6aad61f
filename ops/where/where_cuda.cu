#include "core/cuda/elementwise.h"
#include "ops/where/where_kernels.h"

namespace vitrine::ops {
namespace {

void forward(const Tensor& condition, const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch_all(a.dtype(), [&]<class T>() { cuda::elementwise<T, bool, T, T>("where", Choose(), y, condition, a, b); });
}
void backward(const Tensor& condition, const Tensor& dy, bool side, Tensor& d) {
  dispatch_floating(dy.dtype(),
                    [&]<class T>() { cuda::elementwise<T, bool, T>("where_backward", Keep{side}, d, condition, dy); });
}
const Bind bind_forward(where_forward, cuda::kKernelDevice, forward);
const Bind bind_backward(where_backward, cuda::kKernelDevice, backward);

}  // namespace
}  // namespace vitrine::ops
