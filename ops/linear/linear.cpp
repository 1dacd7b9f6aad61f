#include "ops/linear/linear.h"

#include "core/autograd.h"
#include "core/kernels/kernels.h"
#include "ops/matmul/product.h"

namespace vitrine::ops {
namespace {

/// x as [rows, features].
Tensor as_rows(const Tensor& x) {
  const int64_t features = x.size(-1);
  int64_t rows = 1;
  for (int64_t d = 0; d + 1 < x.dim(); ++d) rows *= x.size(d);
  return x.reshape({rows, features});
}

struct Linear {
  static constexpr const char* name = "linear";
  PackedFactor* packed;

  Tensor forward(Saver& save, const Tensor& x, const Tensor& weight, const Tensor& bias) const {
    save(x, weight);
    Shape shape = x.shape();
    shape[shape.size() - 1] = weight.size(0);
    const Tensor dense_bias = bias.defined() ? bias.contiguous() : bias;
    PackedFactor* const keep = save.on() ? nullptr : packed;
    return product(as_rows(x), weight.transpose(0, 1), dense_bias, keep).view(shape);
  }
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    const Tensor &x = saved[0], &weight = saved[1];
    const Tensor rows = as_rows(dy);
    return {saved.needs(0) ? product(rows, weight).view(x.shape()) : Tensor(),
            saved.needs(1) ? product(rows.transpose(0, 1), as_rows(x)) : Tensor(),
            saved.needs(2) ? sum_to(rows, {weight.size(0)}) : Tensor()};
  }
};

}  // namespace

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, PackedFactor* packed) {
  check_floating("linear", "x", x);
  check_floating("linear", "weight", weight);
  check_same_dtype("linear", {{"x", &x}, {"weight", &weight}, {"bias", &bias}});
  check_same_device("linear", {{"x", &x}, {"weight", &weight}, {"bias", &bias}});
  check(x.dim() >= 1 && weight.dim() == 2 && x.size(-1) == weight.size(1),
        "linear: x {} and weight {} disagree on in_features", x, weight);
  check(!bias.defined() || bias.shape() == Shape{weight.size(0)},
        "linear: bias {} and weight {} disagree on out_features", bias, weight);
  return apply(Linear{packed}, x, weight, bias);
}

}  // namespace vitrine::ops
