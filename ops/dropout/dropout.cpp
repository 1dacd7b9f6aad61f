#include "ops/dropout/dropout.h"

#include "core/autograd.h"
#include "ops/dropout/dropout_kernels.h"

namespace vitrine::ops {
namespace {

Attributes attributes_of(double p, const RandomDraw& draw) {
  return {{"p", p}, {"seed", int64_t(draw.seed)}, {"offset", int64_t(draw.offset)}};
}

struct Dropout {
  static constexpr const char* name = "dropout";
  double p;
  RandomDraw draw;
  Attributes attributes() const { return attributes_of(p, draw); }

  Tensor masked(const Tensor& x) const {
    Tensor y = empty_like(x);
    dropout_kernel(x.contiguous(), y, DropMask(p, draw));
    return y;
  }
  Tensor forward(Saver&, const Tensor& x) const { return masked(x); }
  // dx = the same mask and scale on dy
  Gradients vjp(const Saved&, const Tensor& dy) const { return {masked(dy)}; }
};

struct DropPath {
  static constexpr const char* name = "drop_path";
  double p;
  RandomDraw draw;
  Attributes attributes() const { return attributes_of(p, draw); }

  Tensor masked(const Tensor& x) const {
    Tensor y = empty_like(x);
    drop_path_kernel(x.contiguous(), y, DropMask(p, draw));
    return y;
  }
  Tensor forward(Saver&, const Tensor& x) const { return masked(x); }
  // dx = the same mask and scale on dy
  Gradients vjp(const Saved&, const Tensor& dy) const { return {masked(dy)}; }
};

void check_arguments(const char* op, const Tensor& x, double p) {
  check_floating(op, "x", x);
  check<ValueError>(p >= 0 && p <= 1, "{}: p {} is not in [0, 1]", op, p);
}

}  // namespace

Tensor dropout(const Tensor& x, double p, RandomDraw draw) {
  check_arguments("dropout", x, p);
  return apply(Dropout{p, draw}, x);
}
Tensor drop_path(const Tensor& x, double p, RandomDraw draw) {
  check_arguments("drop_path", x, p);
  check(x.dim() > 0, "drop_path: x must have a sample dim, got {}", x);
  return apply(DropPath{p, draw}, x);
}

}  // namespace vitrine::ops
