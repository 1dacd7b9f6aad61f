#include "ops/layer_norm/layer_norm.h"

#include "core/autograd.h"
#include "ops/layer_norm/layer_norm_kernels.h"

namespace vitrine::ops {
namespace {

Tensor rows_of(const Tensor& x) { return x.defined() ? x.contiguous() : x; }

/// One statistic of each row of x.
Tensor statistic(const Tensor& x) {
  return empty({row_count(x)}, {.dtype = x.dtype() == Dtype::f64 ? Dtype::f64 : Dtype::f32, .device = x.device()});
}

struct NormGradients {
  Tensor dx, dweight, dbias;
};
/// With n_c = (x_c - mean) * rstd and g_c = dy_c * weight_c:  dx_c = rstd * (g_c - mean(g) - n_c * mean(g * n)),
/// dweight_c = sum over rows of dy_c * n_c, dbias_c = sum over rows of dy_c.
/// Saved from index `first`: x, weight, mean, rstd. `add`, if defined, is added to dx. `at` is the index of the input
/// weight; bias follows it.
NormGradients norm_gradients(const Saved& saved, const Tensor& dy, const Tensor& add, size_t at) {
  const Tensor &x = saved[0], &weight = saved[1], &mean = saved[2], &rstd = saved[3];
  NormGradients g{empty_like(x), {}, {}};
  Tensor parts;
  if (saved.needs(at) || saved.needs(at + 1))
    parts = empty({RowGroups(row_count(x)).count, 2, x.size(-1)}, mean.options());
  layer_norm_backward(rows_of(dy), x, weight, mean, rstd, rows_of(add), g.dx, parts);
  if (saved.needs(at)) g.dweight = empty({x.size(-1)}, x.options());
  if (saved.needs(at + 1)) g.dbias = empty({x.size(-1)}, x.options());
  if (parts.defined()) layer_norm_sum_parts(parts, g.dweight, g.dbias);
  return g;
}

struct LayerNorm {
  static constexpr const char* name = "layer_norm";
  double eps;
  Attributes attributes() const { return {{"eps", eps}}; }

  Tensor forward(Saver& save, const Tensor& x, const Tensor& weight, const Tensor& bias) const {
    const Tensor rows = rows_of(x), scale = rows_of(weight);
    Tensor y = empty_like(rows), mean = statistic(rows), rstd = statistic(rows);
    layer_norm_forward(rows, scale, rows_of(bias), eps, y, mean, rstd);
    save(rows, scale, mean, rstd);
    return y;
  }
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    const NormGradients g = norm_gradients(saved, dy, {}, 1);
    return {g.dx, g.dweight, g.dbias};
  }
};

struct AddLayerNorm {
  static constexpr const char* name = "add_layer_norm";
  double eps;
  Attributes attributes() const { return {{"eps", eps}}; }

  std::array<Tensor, 2> forward(Saver& save, const Tensor& x, const Tensor& residual, const Tensor& weight,
                                const Tensor& bias) const {
    const Tensor rows = rows_of(x), scale = rows_of(weight);
    Tensor sum = empty_like(rows), y = empty_like(rows), mean = statistic(rows), rstd = statistic(rows);
    add_layer_norm_forward(rows, rows_of(residual), scale, rows_of(bias), eps, sum, y, mean, rstd);
    save(sum, scale, mean, rstd);
    return {sum, y};
  }
  // dx = dresidual = dsum + the gradient that the normalisation hands to the sum
  Gradients vjp(const Saved& saved, const Tensor& dsum, const Tensor& dy) const {
    const NormGradients g = norm_gradients(saved, dy, dsum, 2);
    return {g.dx, g.dx, g.dweight, g.dbias};
  }
};

void check_arguments(const char* op, const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  check(x.dim() >= 1, "{}: x needs at least one dim, got {}", op, x);
  const Shape columns{x.size(-1)};
  check(!weight.defined() || weight.shape() == columns, "{}: weight {} does not match the last dim of x {}", op, weight,
        x);
  check(!bias.defined() || bias.shape() == columns, "{}: bias {} does not match the last dim of x {}", op, bias, x);
  check<ValueError>(eps > 0, "{}: eps must be positive, got {}", op, eps);
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  check_floating("layer_norm", "x", x);
  check_same_device("layer_norm", {{"x", &x}, {"weight", &weight}, {"bias", &bias}});
  check_same_dtype("layer_norm", {{"x", &x}, {"weight", &weight}, {"bias", &bias}});
  check_arguments("layer_norm", x, weight, bias, eps);
  return apply(LayerNorm{.eps = eps}, x, weight, bias);
}

std::array<Tensor, 2> add_layer_norm(const Tensor& x, const Tensor& residual, const Tensor& weight, const Tensor& bias,
                                     double eps) {
  check_floating("add_layer_norm", "x", x);
  check_defined("add_layer_norm", "residual", residual);
  check_same_device("add_layer_norm", {{"x", &x}, {"residual", &residual}, {"weight", &weight}, {"bias", &bias}});
  check_same_dtype("add_layer_norm", {{"x", &x}, {"residual", &residual}, {"weight", &weight}, {"bias", &bias}});
  check(x.shape() == residual.shape(), "add_layer_norm: x {} and residual {} have different shapes", x, residual);
  check_arguments("add_layer_norm", x, weight, bias, eps);
  return apply(AddLayerNorm{.eps = eps}, x, residual, weight, bias);
}

}  // namespace vitrine::ops
