#include "ops/bias_gelu/bias_gelu.h"

#include <algorithm>

#include "core/autograd.h"
#include "core/kernels/kernels.h"
#include "ops/bias_gelu/bias_gelu_kernels.h"

namespace vitrine::ops {
namespace {

/// Groups of rows that sum the bias gradient apart: enough of them for every processor, few enough that their sums are
/// small beside x.
int64_t groups_of(int64_t rows) {
  const int64_t in_group = std::clamp<int64_t>(rows / 256, 8, 128);
  return (rows + in_group - 1) / in_group;
}

struct BiasGelu {
  static constexpr const char* name = "bias_gelu";

  Tensor forward(Saver& save, const Tensor& x, const Tensor& bias) const {
    const Tensor rows = x.contiguous(), b = bias.contiguous();
    Tensor y = empty_like(rows);
    bias_gelu_forward(rows, b, y);
    save(rows, b);
    return y;
  }
  // dx = dy gelu'(x + bias), dbias = sum of dx over all dims but the last
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    const Tensor &x = saved[0], &bias = saved[1];
    const int64_t n = bias.numel(), rows = n ? x.numel() / n : 0;
    Tensor dx = empty_like(x);
    Tensor partial = empty({groups_of(rows), n}, {x.dtype() == Dtype::f64 ? Dtype::f64 : Dtype::f32, x.device()});
    bias_gelu_backward(x, bias, dy.contiguous(), dx, partial);
    return {dx, saved.needs(1) ? sum_to(partial, {n}).to(bias.dtype()) : Tensor()};
  }
};

}  // namespace

Tensor bias_gelu(const Tensor& x, const Tensor& bias) {
  check_floating("bias_gelu", "x", x);
  check_defined("bias_gelu", "bias", bias);
  check_same_dtype("bias_gelu", {{"x", &x}, {"bias", &bias}});
  check_same_device("bias_gelu", {{"x", &x}, {"bias", &bias}});
  check(x.dim() > 0 && bias.dim() == 1 && bias.size(0) == x.size(-1),
        "bias_gelu: bias {} must have the size of the last dim of x {}", bias, x);
  return apply(BiasGelu{}, x, bias);
}

}  // namespace vitrine::ops
