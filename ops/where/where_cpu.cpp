#include "core/elementwise.h"
#include "ops/where/where_kernels.h"

namespace vitrine::ops {
namespace {

void forward(const Tensor& condition, const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch_all(a.dtype(), [&]<class T>() { elementwise<T, bool, T, T>(Choose(), y, condition, a, b); });
}
void backward(const Tensor& condition, const Tensor& dy, bool side, Tensor& d) {
  dispatch_floating(dy.dtype(), [&]<class T>() { elementwise<T, bool, T>(Keep{side}, d, condition, dy); });
}
const Bind bind_forward(where_forward, DeviceType::cpu, forward);
const Bind bind_backward(where_backward, DeviceType::cpu, backward);

}  // namespace
}  // namespace vitrine::ops
