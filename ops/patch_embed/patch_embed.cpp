#include "ops/patch_embed/patch_embed.h"

#include "core/autograd.h"
#include "ops/linear/linear.h"
#include "ops/patch_embed/patch_embed_kernels.h"

namespace vitrine::ops {
namespace {

struct Patchify {
  static constexpr const char* name = "patchify";
  int64_t size;
  int64_t height, width;
  Attributes attributes() const { return {{"size", size}}; }

  Tensor forward(Saver&, const Tensor& x) const {
    Tensor y = empty({x.size(0), height / size * (width / size), x.size(1) * size * size}, x.options());
    patchify_forward(x.contiguous(), size, y);
    return y;
  }
  Gradients vjp(const Saved&, const Tensor& dy) const {
    Tensor dx = empty({dy.size(0), dy.size(2) / (size * size), height, width}, dy.options());
    patchify_backward(dy.contiguous(), size, dx);
    return {dx};
  }
};

Tensor run(const char* op, const Tensor& x, int64_t size) {
  check(x.dim() == 4, "{}: x must be [B, C, H, W], got {}", op, x);
  check(size >= 1 && x.size(2) % size == 0 && x.size(3) % size == 0, "{}: patches of {} do not tile x {}", op, size, x);
  return apply(Patchify{.size = size, .height = x.size(2), .width = x.size(3)}, x);
}

}  // namespace

Tensor patchify(const Tensor& x, int64_t size) {
  check_floating("patchify", "x", x);
  return run("patchify", x, size);
}

Tensor patch_embed(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  constexpr const char* op = "patch_embed";
  check_floating(op, "x", x);
  check_defined(op, "weight", weight);
  check_same_device(op, {{"x", &x}, {"weight", &weight}, {"bias", &bias}});
  check_same_dtype(op, {{"x", &x}, {"weight", &weight}, {"bias", &bias}});
  check(weight.dim() == 4 && weight.size(2) == weight.size(3), "{}: weight must be [D, C, P, P], got {}", op, weight);
  check(x.dim() != 4 || x.size(1) == weight.size(1), "{}: x {} and weight {} have different channels", op, x, weight);
  check(!bias.defined() || bias.shape() == Shape{weight.size(0)}, "{}: bias {} does not match weight {}", op, bias,
        weight);
  return linear(run(op, x, weight.size(3)), weight.flatten(1), bias);
}

}  // namespace vitrine::ops
